//! What the model said: result documents of `radnet predict`, or a CSV of scores, as one score per identifier and class.

use super::labels::{Row, Table, canonical_class, cq500_id, malformed};
use crate::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// Which identifier of a result the labels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// StudyInstanceUID.
    Study,
    /// SeriesInstanceUID.
    Series,
    /// SOPInstanceUID: one case per slice, by its probability.
    Sop,
    /// Name of the folder or file that was read; CQ500's folder names match its label file.
    Folder,
}

impl FromStr for IdKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "study" => Ok(Self::Study),
            "series" => Ok(Self::Series),
            "sop" => Ok(Self::Sop),
            "folder" => Ok(Self::Folder),
            _ => Err(format!("`{text}` is none of study, series, sop, folder")),
        }
    }
}

/// Scores by identifier, then class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// By identifier, then class.
    pub by_id: BTreeMap<String, BTreeMap<String, f64>>,
    /// The model's threshold per class, where results carry it.
    pub thresholds: BTreeMap<String, f64>,
    /// The model's own words, where results carry them.
    pub intended_use: Option<String>,
    /// Results that are errors: identifier as far as known, and why.
    pub failed: Vec<(String, String)>,
}

/// The parts of `radnet-result/1` that evaluation reads.
#[derive(Deserialize)]
struct Document {
    schema: String,
    model: ModelPart,
    results: Vec<ResultPart>,
}

#[derive(Deserialize)]
struct ModelPart {
    intended_use: Option<String>,
}

#[derive(Deserialize)]
struct ResultPart {
    status: String,
    #[serde(default)]
    study_instance_uid: Option<String>,
    #[serde(default)]
    series_instance_uid: Option<String>,
    source: String,
    #[serde(default)]
    scan: BTreeMap<String, ClassPart>,
    #[serde(default)]
    slices: Vec<SlicePart>,
    #[serde(default)]
    error: Option<ErrorPart>,
}

#[derive(Deserialize)]
struct ClassPart {
    score: f64,
    threshold: f64,
}

#[derive(Deserialize)]
struct SlicePart {
    sop_instance_uid: Option<String>,
    probability: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct ErrorPart {
    code: String,
    message: String,
}

impl Scores {
    /// Adds a result document.
    ///
    /// # Errors
    /// `io`, or `corrupt_file` for a document of another schema, a result without the identifier, or one that is there twice.
    pub fn add_document(&mut self, path: &Path, id: IdKind) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        self.add_bytes(&bytes, id).map_err(|e| e.in_file(path))
    }

    /// Adds a result document from memory, also one line of many.
    ///
    /// # Errors
    /// As [`Scores::add_document`].
    pub fn add_bytes(&mut self, bytes: &[u8], id: IdKind) -> Result<()> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|e| malformed(format!("no radnet-result document: {e}")).caused_by(e))?;
        if document.schema != "radnet-result/1" {
            return Err(malformed(format!("schema `{}` is not radnet-result/1", document.schema)));
        }
        self.intended_use = self.intended_use.take().or(document.model.intended_use);
        for result in document.results {
            self.add_result(result, id)?;
        }
        Ok(())
    }

    fn add_result(&mut self, result: ResultPart, kind: IdKind) -> Result<()> {
        if result.status != "ok" {
            let why = result.error.as_ref().map_or_else(|| result.status.clone(), |e| format!("{}: {}", e.code, e.message));
            let id = identifier(&result, kind).unwrap_or_else(|| result.source.clone());
            self.failed.push((id, why));
            return Ok(());
        }
        for (class, part) in &result.scan {
            let known = *self.thresholds.entry(class.clone()).or_insert(part.threshold);
            if known != part.threshold {
                return Err(malformed(format!("the results were made with two thresholds for `{class}`: {known} and {}", part.threshold)));
            }
        }
        if kind == IdKind::Sop {
            for slice in result.slices {
                let id = slice.sop_instance_uid.ok_or_else(|| malformed("a slice has no sop_instance_uid"))?;
                self.insert(id, slice.probability)?;
            }
            return Ok(());
        }
        let id = identifier(&result, kind).ok_or_else(|| malformed(format!("the result of `{}` has no such identifier", result.source)))?;
        self.insert(id, result.scan.into_iter().map(|(class, part)| (class, part.score)).collect())
    }

    fn insert(&mut self, id: String, scores: BTreeMap<String, f64>) -> Result<()> {
        if let Some((class, p)) = scores.iter().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
            return Err(malformed(format!("the score of `{id}` for `{class}` is {p}, not a probability")));
        }
        if self.by_id.insert(id.clone(), scores).is_some() {
            return Err(malformed(format!("`{id}` has two results")));
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
            let p = row.probability(score)?;
            let key = row.id(id)?.to_owned();
            let of_case = scores.by_id.entry(key.clone()).or_default();
            if of_case.insert(canonical_class(class).to_owned(), p).is_some() {
                return Err(row.error(format_args!("`{key}` is there twice")));
            }
        }
        if scores.by_id.is_empty() {
            return Err(Error::new(ErrorKind::CorruptFile, "there are no scores"));
        }
        Ok(scores)
    }
}

fn identifier(result: &ResultPart, kind: IdKind) -> Option<String> {
    match kind {
        IdKind::Study | IdKind::Sop => result.study_instance_uid.clone(),
        IdKind::Series => result.series_instance_uid.clone(),
        IdKind::Folder => Path::new(&result.source).file_name().map(|name| cq500_id(&name.to_string_lossy())),
    }
}
