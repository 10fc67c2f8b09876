//! Two measurements side by side: `--compare BEFORE.json AFTER.json`.

use crate::console::{Emphasis, Paint};
use comfy_table::{CellAlignment, Table, presets};
use radnet::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a measurement's document must have to be compared or put into a table.
#[derive(Deserialize)]
pub(crate) struct Measured {
    pub(crate) median_ms: f64,
    pub(crate) min_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) device_ms: Option<f64>,
    pub(crate) load_ms: f64,
    pub(crate) first_result_ms: f64,
    pub(crate) peak_rss_mb: Option<f64>,
    pub(crate) slices: usize,
    pub(crate) size: usize,
    pub(crate) device: String,
    pub(crate) isa: String,
    pub(crate) precision: String,
    pub(crate) threads: usize,
    /// Absent in documents of earlier versions.
    #[serde(default)]
    pub(crate) gflop_per_s: Option<f64>,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    name: String,
    median_ms: f64,
}

/// One figure of both measurements; what only one of them has is null in the other.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    name: String,
    before: Option<f64>,
    after: Option<f64>,
    /// before / after: above 1 where the second is better.
    ratio: Option<f64>,
}

/// The comparison; also the document of `--json`.
#[derive(Serialize)]
pub(crate) struct Comparison {
    before: PathBuf,
    after: PathBuf,
    /// What was not measured alike.
    differences: Vec<String>,
    figures: Vec<Line>,
    stages: Vec<Line>,
}

impl Comparison {
    /// Reads both documents.
    ///
    /// # Errors
    /// `io`, and `corrupt_file` when a file is none of this program's documents.
    pub(crate) fn read(before: &Path, after: &Path) -> Result<Self> {
        let (a, b) = (measured(before)?, measured(after)?);
        let figures = [
            line("median ms", Some(a.median_ms), Some(b.median_ms)),
            line("min ms", Some(a.min_ms), Some(b.min_ms)),
            line("p90 ms", Some(a.p90_ms), Some(b.p90_ms)),
            line("p99 ms", Some(a.p99_ms), Some(b.p99_ms)),
            line("device ms", a.device_ms, b.device_ms),
            line("load ms", Some(a.load_ms), Some(b.load_ms)),
            line("first result ms", Some(a.first_result_ms), Some(b.first_result_ms)),
            line("peak memory MB", a.peak_rss_mb, b.peak_rss_mb),
        ];
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
            differences: differences(&a, &b),
            figures: figures.into_iter().filter(|l| l.before.is_some() || l.after.is_some()).collect(),
            stages: stages(&a.stages, &b.stages),
        })
    }

    /// For a person.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut text = format!("{} against {}\n", self.after.display(), self.before.display());
        for difference in &self.differences {
            text.push_str(&format!("  {} {difference}\n", paint.text(Emphasis::Bold, "not alike:")));
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(["", "before", "after", "before / after"]);
        for line in self.figures.iter().chain(&self.stages) {
            let figure = |x: Option<f64>| x.map_or("-".to_owned(), |x| if x < 10.0 { format!("{x:.3}") } else { format!("{x:.1}") });
            let ratio = line.ratio.map_or("-".to_owned(), |r| format!("{r:.3}"));
            table.add_row([line.name.clone(), figure(line.before), figure(line.after), ratio]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.lines().for_each(|line| text.push_str(&format!(" {}\n", line.trim_end())));
        text
    }
}

fn measured(path: &Path) -> Result<Measured> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let message = format!("not a measurement of radnet-bench (made with --json): {e}");
        Error::new(ErrorKind::CorruptFile, message).in_file(path).caused_by(e)
    })
}

fn line(name: &str, before: Option<f64>, after: Option<f64>) -> Line {
    let ratio = before.zip(after).filter(|(_, after)| *after > 0.0).map(|(before, after)| before / after);
    Line { name: name.to_owned(), before, after, ratio }
}

fn differences(a: &Measured, b: &Measured) -> Vec<String> {
    let pairs = [
        ("slices", a.slices.to_string(), b.slices.to_string()),
        ("size", a.size.to_string(), b.size.to_string()),
        ("device", a.device.clone(), b.device.clone()),
        ("isa", a.isa.clone(), b.isa.clone()),
        ("precision", a.precision.clone(), b.precision.clone()),
        ("threads", a.threads.to_string(), b.threads.to_string()),
    ];
    pairs.into_iter().filter(|(_, a, b)| a != b).map(|(name, a, b)| format!("{name} {a} before, {b} after")).collect()
}

/// Stages of both, in the order of the first; those that only the second has come last.
fn stages(before: &[Stage], after: &[Stage]) -> Vec<Line> {
    let of = |stages: &[Stage], name: &str| stages.iter().find(|s| s.name == name).map(|s| s.median_ms);
    let known = before.iter().map(|s| line(&s.name, Some(s.median_ms), of(after, &s.name)));
    let new = after.iter().filter(|s| of(before, &s.name).is_none()).map(|s| line(&s.name, None, Some(s.median_ms)));
    known.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_matched_by_name() {
        let stage = |name: &str, median_ms| Stage { name: name.to_owned(), median_ms };
        let lines = stages(&[stage("stem", 4.0), stage("old", 1.0)], &[stage("new", 3.0), stage("stem", 2.0)]);
        assert_eq!(lines[0], line("stem", Some(4.0), Some(2.0)));
        assert_eq!(lines[0].ratio, Some(2.0));
        assert_eq!((lines[1].ratio, lines[2].ratio), (None, None));
        assert_eq!(lines[2].name, "new");
    }
}
