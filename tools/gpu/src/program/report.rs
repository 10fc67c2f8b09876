//! Everything that a run found, as JSON.

use super::checks::Outcome;
use super::parity::Comparison;
use super::roofs::Roofs;
use super::times::{ScanTime, Step};
use serde::Serialize;
use std::path::Path;

/// The result of a run; parts that were not run are empty, and `skipped` says why.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) device: String,
    pub(crate) compute_capability: String,
    pub(crate) kernels: String,
    pub(crate) multiprocessors: u32,
    pub(crate) checks: Vec<Outcome>,
    pub(crate) parity: Vec<Comparison>,
    pub(crate) roofs: Option<Roofs>,
    pub(crate) scans: Vec<ScanTime>,
    pub(crate) steps: Vec<Step>,
    /// Milliseconds from the start of a process to its first result.
    pub(crate) first_result_ms: Vec<f64>,
    /// What PyTorch took, as `peers.py` wrote it.
    pub(crate) peers: Vec<serde_json::Value>,
    /// Parts that did not run to their end, each with the reason.
    pub(crate) broken: Vec<String>,
    /// Parts that were left out, each with the reason.
    pub(crate) skipped: Vec<String>,
    pub(crate) seconds: f64,
}

impl Report {
    /// Checks and comparisons that failed, and parts that broke.
    pub(crate) fn failures(&self) -> usize {
        let checks = self.checks.iter().filter(|outcome| outcome.failure.is_some()).count();
        checks + self.parity.iter().filter(|comparison| !comparison.passed).count() + self.broken.len()
    }
}

/// Writes `value` as indented JSON.
pub(crate) fn write_json(file: &Path, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())? + "\n";
    write(file, &text)
}

/// Writes text, and makes the folder.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}
