//! A CSV file with a header, read row by row with line numbers: byte-order marks, quotes and pandas' unnamed index column tolerated.

use super::malformed;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// An opened CSV file.
pub(crate) struct Table {
    reader: csv::Reader<Box<dyn Read>>,
    headers: Vec<String>,
}

/// One row with its line.
pub(crate) struct Row {
    record: csv::StringRecord,
    line: u64,
}

impl Table {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Self::new(Box::new(BufReader::new(file))).map_err(|e| e.in_file(path))
    }

    pub(crate) fn new(source: Box<dyn Read>) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(source);
        let headers = reader.headers().map_err(csv_error)?;
        let headers = headers.iter().map(|h| h.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        Ok(Self { reader, headers })
    }

    pub(crate) fn headers(&self) -> &[String] {
        &self.headers
    }

    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|h| h.eq_ignore_ascii_case(name))
    }

    pub(crate) fn exact_column(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|h| h == name)
    }

    pub(crate) fn required_column(&self, name: &str) -> Result<usize> {
        self.column(name).ok_or_else(|| malformed(format!("line 1: there is no column `{name}`")))
    }

    /// Every row that is not blank.
    pub(crate) fn rows(self) -> impl Iterator<Item = Result<Row>> {
        let columns = self.headers.len();
        self.reader.into_records().filter_map(move |record| {
            let record = match record {
                Ok(record) => record,
                Err(e) => return Some(Err(csv_error(e))),
            };
            let line = record.position().map_or(0, csv::Position::line);
            if record.iter().all(str::is_empty) {
                return None;
            }
            if record.len() != columns {
                return Some(Err(malformed(format!("line {line}: {} fields, but the header has {columns}", record.len()))));
            }
            Some(Ok(Row { record, line }))
        })
    }
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
    text.chars().take(40).collect()
}

fn csv_error(error: csv::Error) -> Error {
    let line = error.position().map_or_else(String::new, |p| format!("line {}: ", p.line()));
    malformed(format!("{line}not readable as CSV: {error}")).caused_by(error)
}
