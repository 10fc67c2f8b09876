//! Where a calibration comes from: what a calibrated model file says of itself under `radnet.calibration`.

use super::temperature::Temperature;
use super::threshold::{Choice, Target};
use crate::evaluate::stats::Estimate;
use serde::Serialize;

/// The schema's name.
pub const SCHEMA: &str = "radnet-calibration/1";

/// One calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// When, as the caller says.
    pub date: String,
    /// Version of this library.
    pub radnet: &'static str,
    /// The class calibrated.
    pub class: String,
    /// SHA-256 of the model file that was calibrated.
    pub source_sha256: String,
    /// The truth.
    pub labels: LabelsFile,
    /// What the labels name: `study`, `series`, `folder` are scans, `sop` is slices.
    pub id: &'static str,
    /// The arithmetic that made the results.
    pub precision: String,
    /// Cases.
    pub n: usize,
    /// Cases that are positive in truth.
    pub positives: usize,
    /// Cases left out because they were only labelled or only scored.
    pub left_out: usize,
    /// None when it was not asked for.
    pub temperature: Option<Temperature>,
    /// What was wanted of the threshold.
    pub target: Target,
    /// The class's threshold.
    pub threshold: Thresholds,
    /// On the same cases, Wilson.
    pub sensitivity: Estimate,
    /// On the same cases, Wilson.
    pub specificity: Estimate,
    /// True positives.
    pub tp: usize,
    /// False positives.
    pub fp: usize,
    /// False negatives.
    #[serde(rename = "fn")]
    pub fn_: usize,
    /// True negatives.
    pub tn: usize,
    /// Resamples of the threshold's interval.
    pub bootstrap: usize,
    /// Of the bootstrap.
    pub seed: u64,
}

/// A file of labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelsFile {
    /// Its name, without folders.
    pub name: String,
    /// Of the whole file, lower-case hex.
    pub sha256: String,
}

/// The threshold, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// The old one, for scores before the temperature.
    pub before: f64,
    /// The new one, for scores after the temperature.
    pub after: f64,
    /// The neighbouring scores that it lies midway between.
    pub between: [f64; 2],
    /// By bootstrap, the temperature kept.
    pub ci95: Option<[f64; 2]>,
}

impl Record {
    /// Takes in the chosen threshold.
    #[must_use]
    pub fn with_choice(mut self, choice: &Choice) -> Self {
        self.threshold.after = choice.threshold;
        self.threshold.between = choice.between;
        self.threshold.ci95 = choice.threshold_ci95;
        (self.sensitivity, self.specificity) = (choice.sensitivity, choice.specificity);
        let c = choice.confusion;
        (self.tp, self.fp, self.fn_, self.tn) = (c.tp, c.fp, c.fn_, c.tn);
        self
    }
}
