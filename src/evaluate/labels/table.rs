//! A CSV file with a header, read row by row with line numbers: byte-order marks, quotes and pandas' unnamed index column tolerated.

use super::malformed;
use crate::{Error, Result};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// An opened CSV file.
pub(crate) struct Table {
    reader: csv::Reader<Watched>,
    watch: Rc<Watch>,
    headers: Vec<String>,
}

/// One row with its line.
pub(crate) struct Row {
    record: csv::StringRecord,
    line: u64,
}

/// A row may not be longer: a quote that is never closed would otherwise take the rest of the file into memory.
const MAX_ROW_BYTES: usize = 1 << 20;

/// What has gone through the input.
#[derive(Default)]
struct Watch {
    /// Bytes that the row being read may still take.
    allowance: Cell<usize>,
    last: Cell<u8>,
    ended: Cell<bool>,
}

/// Ends the input with an error when a row takes more bytes than are allowed. The carriage return of a Windows line end becomes a space,
/// which is trimmed: the reader ends a row on it, and would count the line later.
struct Watched {
    source: Box<dyn Read>,
    watch: Rc<Watch>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        match self.watch.allowance.get().checked_sub(n) {
            Some(left) => self.watch.allowance.set(left),
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "a row is longer than 1 MiB; is a quote not closed?")),
        }
        buffer[..n].iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b' ');
        match buffer[..n].last() {
            Some(&last) => self.watch.last.set(last),
            None => self.watch.ended.set(true),
        }
        Ok(n)
    }
}

impl Watch {
    /// Whether the row just read ended with the file, not with a line feed.
    fn row_is_open(&self) -> bool {
        self.ended.get() && self.last.get() != b'\n'
    }
}

impl Table {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Self::new(Box::new(BufReader::new(file))).map_err(|e| e.in_file(path))
    }

    pub(crate) fn new(source: Box<dyn Read>) -> Result<Self> {
        let watch = Rc::new(Watch { allowance: Cell::new(MAX_ROW_BYTES), ..Watch::default() });
        let watched = Watched { source, watch: Rc::clone(&watch) };
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(watched);
        let headers = match reader.headers() {
            Ok(headers) => headers.iter().map(|h| h.trim_start_matches('\u{feff}').trim().to_owned()).collect::<Vec<_>>(),
            Err(e) => return Err(csv_error(&e, 1)),
        };
        if headers.iter().all(String::is_empty) {
            return Err(malformed("the file is empty"));
        }
        for (i, header) in headers.iter().enumerate() {
            if !header.is_empty() && headers[..i].contains(header) {
                return Err(malformed(format!("line 1: there are two columns `{}`", clip(header))));
            }
        }
        Ok(Self { reader, watch, headers })
    }

    pub(crate) fn headers(&self) -> &[String] {
        &self.headers
    }

    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.exact_column(name).or_else(|| self.headers.iter().position(|h| h.eq_ignore_ascii_case(name)))
    }

    pub(crate) fn exact_column(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|h| h == name)
    }

    pub(crate) fn required_column(&self, name: &str) -> Result<usize> {
        self.column(name).ok_or_else(|| malformed(format!("line 1: there is no column `{name}` in `{}`", self.header_line())))
    }

    /// The header, for a message.
    pub(crate) fn header_line(&self) -> String {
        printable(&self.headers.join(","), 200)
    }

    /// Every row that is not blank.
    pub(crate) fn rows(self) -> impl Iterator<Item = Result<Row>> {
        let Self { mut reader, watch, headers } = self;
        let mut stopped = false;
        std::iter::from_fn(move || {
            while !stopped {
                watch.allowance.set(MAX_ROW_BYTES);
                let mut record = csv::StringRecord::with_capacity(64, headers.len());
                let before = reader.position().line();
                match reader.read_record(&mut record) {
                    Ok(true) if record.iter().all(str::is_empty) => {}
                    Ok(true) => return Some(row(record, reader.position().line() + u64::from(watch.row_is_open()), headers.len())),
                    Ok(false) => stopped = true,
                    Err(e) => {
                        stopped = true;
                        return Some(Err(csv_error(&e, before)));
                    }
                }
            }
            None
        })
    }
}

/// `next` is the line after the row: the reader's own start of a row comes before the blank lines that it skips.
fn row(record: csv::StringRecord, next: u64, columns: usize) -> Result<Row> {
    let inside = record.as_slice().bytes().filter(|b| *b == b'\n').count() as u64;
    let line = next.saturating_sub(1 + inside).max(1);
    if record.len() != columns {
        return Err(malformed(format!("line {line}: {} fields, but the header has {columns}", record.len())));
    }
    Ok(Row { record, line })
}

impl Row {
    pub(crate) fn text(&self, column: usize) -> &str {
        &self.record[column]
    }

    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Error {
        malformed(format!("line {}: {what}", self.line))
    }

    pub(crate) fn id(&self, column: usize) -> Result<&str> {
        match self.text(column) {
            "" => Err(self.error("the identifier is empty")),
            id => Ok(id),
        }
    }

    /// 0 or 1, also written 0.0 and 1.0 as pandas does.
    pub(crate) fn label(&self, column: usize) -> Result<bool> {
        match self.text(column) {
            "0" | "0.0" => Ok(false),
            "1" | "1.0" => Ok(true),
            other => Err(self.error(format_args!("`{}` is no label (0 or 1)", clip(other)))),
        }
    }

    /// A number in [0, 1].
    pub(crate) fn probability(&self, column: usize) -> Result<f64> {
        let text = self.text(column);
        match text.parse::<f64>() {
            Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
            _ => Err(self.error(format_args!("`{}` is no probability (0 to 1)", clip(text)))),
        }
    }
}

/// The beginning of a value, for a message.
pub(crate) fn clip(text: &str) -> String {
    printable(text, 40)
}

fn printable(text: &str, characters: usize) -> String {
    text.chars().take(characters).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `line` is where the reader was, for errors without a place of their own.
fn csv_error(error: &csv::Error, line: u64) -> Error {
    let line = error.position().map_or(line, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::InvalidData => e.to_string(),
        csv::ErrorKind::Io(e) => return Error::new(crate::ErrorKind::Io, format!("line {line}: {e}")),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text".to_owned(),
        _ => format!("not readable as CSV: {error}"),
    };
    malformed(format!("line {line}: {what}"))
}
