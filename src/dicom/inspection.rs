//! Everything found under the PATHs as one value that can be written as JSON.

use super::choose::choice_rules;
use super::study::StudyOutcome;
use super::summary::SeriesSummary;
use crate::{Error, Finding};
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole of it. Keys may be added, none is renamed.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// `radnet-inspection/1`.
    pub schema: &'static str,
    /// What lies under each PATH.
    pub sources: Vec<SourceInspection>,
    /// Each study with its series.
    pub studies: Vec<StudyInspection>,
    /// What the choice among series prefers, in the order it asks.
    pub choice_rules: Vec<&'static str>,
}

/// The files under one PATH.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SourceInspection {
    /// The PATH.
    pub source: String,
    /// DICOM images.
    pub images: usize,
    /// Other files, by what they are.
    pub ignored: BTreeMap<String, usize>,
    /// Files and folders that could not be read.
    pub problems: Vec<Problem>,
}

/// An error as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The stable code.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// The file or folder, where one is to blame.
    pub path: Option<String>,
}

impl From<&Error> for Problem {
    fn from(e: &Error) -> Self {
        Self { code: e.kind().code(), message: e.message().to_owned(), path: e.path().map(|p| p.display().to_string()) }
    }
}

/// One study under one PATH.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StudyInspection {
    /// The PATH.
    pub source: String,
    /// (0020,000D).
    pub study_instance_uid: Option<String>,
    /// The series that would be read.
    pub chosen_series: Option<String>,
    /// Why none would be.
    pub error: Option<Problem>,
    /// What a result would carry about the headers.
    pub findings: Vec<Finding>,
    /// Every series, by number.
    pub series: Vec<SeriesSummary>,
}

impl Inspection {
    pub(super) fn new(sources: &[SourceInspection], outcomes: &[StudyOutcome]) -> Self {
        let study = |o: &StudyOutcome| StudyInspection {
            source: o.source.display().to_string(),
            study_instance_uid: o.study_instance_uid.clone(),
            chosen_series: o.result.as_ref().ok().map(|s| s.series_instance_uid().to_owned()),
            error: o.result.as_ref().err().map(Problem::from),
            findings: o.result.as_ref().map(|s| s.findings().to_vec()).unwrap_or_default(),
            series: o.series.clone(),
        };
        Self {
            schema: "radnet-inspection/1",
            sources: sources.to_vec(),
            studies: outcomes.iter().map(study).collect(),
            choice_rules: choice_rules().collect(),
        }
    }
}
