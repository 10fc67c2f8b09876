//! What the model said: result documents of `radnet predict`, or a CSV of scores, as one score per identifier and class.

mod document;

pub use document::{Acquisition, IdKind, ModelIdentity};

use super::labels::{Row, Table, canonical_class, case_id, malformed};
use crate::{Error, ErrorKind, Result};
use document::Document;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Scores of many cases: scans, or single slices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Canonical names of the classes seen, in the order of their first score.
    classes: Vec<String>,
    /// Position of each identifier in the columns.
    index: HashMap<Box<str>, u32>,
    /// Per class, per case; NaN where a case has no score for the class.
    columns: Vec<Vec<f64>>,
    /// Per case, into `acquisitions`.
    acquired: Vec<u32>,
    /// The first one stands for "unknown".
    acquisitions: Vec<Acquisition>,
    /// The model's threshold per class, where results carry it.
    thresholds: BTreeMap<String, f64>,
    model: Option<ModelIdentity>,
    failed: Vec<FailedResult>,
}

/// A result that is an error.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FailedResult {
    /// Identifier, as far as it is known, else the source.
    pub id: String,
    /// The stable code.
    pub code: String,
    /// Why.
    pub message: String,
}

/// One line of a `.jsonl` file, or the whole of a `.json` file, is refused beyond this.
const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

impl Scores {
    /// Adds the result documents of a file: one or several; with the extension `.jsonl` or `.ndjson` they are read line by line, and errors
    /// name the line.
    ///
    /// # Errors
    /// `io`, or `corrupt_file` for a document of another schema or another model, a result without the identifier, or one that is there
    /// twice.
    pub fn add_file(&mut self, path: &Path, id: IdKind) -> Result<()> {
        for_each_document(path, &mut |bytes| self.add_bytes(bytes, id))
    }

    /// Adds result documents from memory: one, or several one after the other.
    ///
    /// # Errors
    /// As [`Scores::add_file`].
    pub fn add_bytes(&mut self, bytes: &[u8], id: IdKind) -> Result<()> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Document>().peekable();
        if documents.peek().is_none() {
            return Err(malformed("no radnet-result document: there is nothing in it"));
        }
        for document in documents {
            document.map_err(|e| malformed(format!("no radnet-result document: {e}")).caused_by(e))?.add_to(self, id)?;
        }
        Ok(())
    }

    /// Reads `id,score` (scores of `class`) or `id,class,score`.
    ///
    /// # Errors
    /// `io`, or `corrupt_file` naming the line.
    pub fn read_csv(path: &Path, class: &str) -> Result<Self> {
        Table::open(path).and_then(|table| Self::from_table(table, class)).map_err(|e| e.in_file(path))
    }

    fn from_table(table: Table, class: &str) -> Result<Self> {
        let (id, score) = (table.required_column("id")?, table.required_column("score")?);
        let class_column = table.column("class");
        let mut scores = Self::default();
        for row in table.rows() {
            let row: Row = row?;
            let class = class_column.map_or(class, |c| row.text(c));
            if class.is_empty() {
                return Err(row.error("the class is empty"));
            }
            let p = row.probability(score)?;
            scores.insert(&case_id(row.id(id)?), class, p).map_err(|e| row.error(e.message()))?;
        }
        if scores.is_empty() {
            return Err(malformed("there are no scores"));
        }
        Ok(scores)
    }

    /// Adds one score.
    ///
    /// # Errors
    /// `corrupt_file` when it is no probability, or when the case has one for the class.
    pub fn insert(&mut self, id: &str, class: &str, p: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&p) {
            return Err(malformed(format!("the score of `{id}` for `{class}` is {p}, not a probability")));
        }
        let column = self.column_of(class);
        let case = self.case_of(id)?;
        let slot = &mut self.columns[column][case];
        if !slot.is_nan() {
            return Err(malformed(format!("`{id}` is there twice for the class `{class}`")));
        }
        *slot = p;
        Ok(())
    }

    fn column_of(&mut self, class: &str) -> usize {
        let class = canonical_class(class);
        self.classes.iter().position(|c| c == class).unwrap_or_else(|| {
            self.classes.push(class.to_owned());
            self.columns.push(vec![f64::NAN; self.acquired.len()]);
            self.classes.len() - 1
        })
    }

    fn case_of(&mut self, id: &str) -> Result<usize> {
        if let Some(&case) = self.index.get(id) {
            return Ok(case as usize);
        }
        let case = u32::try_from(self.acquired.len()).map_err(|_| Error::new(ErrorKind::TooLarge, "there are more than 2³² cases"))?;
        self.index.insert(id.into(), case);
        self.columns.iter_mut().for_each(|c| c.push(f64::NAN));
        self.acquired.push(0);
        Ok(case as usize)
    }

    /// Says how the scan of a case was made.
    fn set_acquisition(&mut self, id: &str, acquisition: &Acquisition) {
        let Some(&case) = self.index.get(id) else { return };
        if self.acquisitions.is_empty() {
            self.acquisitions.push(Acquisition::default());
        }
        if self.acquisitions.last() != Some(acquisition) {
            self.acquisitions.push(acquisition.clone());
        }
        self.acquired[case as usize] = (self.acquisitions.len() - 1) as u32;
    }

    /// Cases.
    pub fn len(&self) -> usize {
        self.acquired.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.acquired.is_empty()
    }

    /// Whether the case has a score for any class.
    pub fn contains(&self, id: &str) -> bool {
        self.index.contains_key(id)
    }

    /// The score of a case.
    pub fn score(&self, id: &str, class: &str) -> Option<f64> {
        let column = self.class_index(class)?;
        self.index.get(id).map(|&case| self.columns[column][case as usize]).filter(|p| !p.is_nan())
    }

    /// How the scan of a case was made, where its result says so.
    pub fn acquisition(&self, id: &str) -> Option<&Acquisition> {
        self.place(id).and_then(|place| self.acquisition_at(place))
    }

    pub(super) fn acquisition_at(&self, place: u32) -> Option<&Acquisition> {
        self.acquisitions.get(self.acquired[place as usize] as usize).filter(|a| **a != Acquisition::default())
    }

    /// Where a case is in the columns.
    pub(super) fn place(&self, id: &str) -> Option<u32> {
        self.index.get(id).copied()
    }

    /// The column of a class; NaN where a case has no score for it.
    pub(super) fn of_class(&self, class: &str) -> Option<&[f64]> {
        self.class_index(class).map(|column| &*self.columns[column])
    }

    /// Identifiers, in no order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(|id| &**id)
    }

    /// Canonical names of the classes seen.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    fn class_index(&self, class: &str) -> Option<usize> {
        let class = canonical_class(class);
        self.classes.iter().position(|c| c == class)
    }

    /// The model's threshold for a class, where results carry it.
    pub fn threshold(&self, class: &str) -> Option<f64> {
        self.thresholds.get(canonical_class(class)).copied()
    }

    /// The model that made the results, where they say.
    pub fn model(&self) -> Option<&ModelIdentity> {
        self.model.as_ref()
    }

    /// Results that are errors.
    pub fn failed(&self) -> &[FailedResult] {
        &self.failed
    }
}

/// Gives `take` the documents of a file: the whole of it, or with the extension `.jsonl` or `.ndjson` each line.
///
/// # Errors
/// `io`, `too_large`, and what `take` gives back; with the file, and with the line where it has lines.
pub fn for_each_document(path: &Path, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let by_line = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl") || e.eq_ignore_ascii_case("ndjson"));
    let read = if by_line { for_each_line(path, take) } else { whole(path, take) };
    read.map_err(|e| e.in_file(path))
}

fn whole(path: &Path, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    bounded(&bytes)?;
    take(&bytes)
}

fn for_each_line(path: &Path, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut reader = BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?);
    let mut bytes = Vec::new();
    for line in 1_u64.. {
        bytes.clear();
        let n = (&mut reader).take(MAX_DOCUMENT_BYTES + 1).read_until(b'\n', &mut bytes).map_err(|e| Error::io(path, e))?;
        if n == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        bounded(&bytes).and_then(|()| take(&bytes)).map_err(|e| malformed(format!("line {line}: {}", e.message())))?;
    }
    Ok(())
}

fn bounded(bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(Error::new(ErrorKind::TooLarge, format!("a document of more than {} MiB is not read", MAX_DOCUMENT_BYTES >> 20)));
    }
    Ok(())
}
