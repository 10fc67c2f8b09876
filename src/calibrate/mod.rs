//! Calibration of a model on labelled scans: a temperature that makes its probabilities fit, and a threshold for a wanted sensitivity or
//! specificity. The result is a new model file: the temperature is folded into the classifier's row of the class, the threshold is in the
//! configuration, and `radnet.calibration` says where both come from.

mod answers;
mod record;
mod rewrite;
pub mod temperature;
pub mod threshold;

pub use answers::Answers;
pub use record::{LabelsFile, Record, SCHEMA, Thresholds};
pub use rewrite::{Change, calibrated, next_version};

use crate::decision::{score, sigmoid};
use crate::model::config::ScanRule;

/// A labelled case: a scan with the logits of its slices, inferior to superior, or a single slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case<'a> {
    /// Positive in truth.
    pub truth: bool,
    /// At least one.
    pub logits: &'a [f64],
}

/// The case's score under a temperature, by the same arithmetic as the engine's: p = σ(z / T) per slice, then the model's rule.
pub fn score_at(logits: &[f64], rule: ScanRule, temperature: f64, memory: &mut Vec<f64>) -> f64 {
    memory.clear();
    memory.extend(logits.iter().map(|z| sigmoid(z / temperature)));
    score(rule, memory)
}
