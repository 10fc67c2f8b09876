//! The readers beside the model, and beside each other.

use super::stats::Estimate;
use super::stats::agreement::{cohen_kappa, fleiss_kappa, mcnemar_exact};
use super::stats::bootstrap::Bootstrap;
use super::stats::confusion::Confusion;
use serde::Serialize;

/// One reader against the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReaderSummary {
    /// As the label file names them.
    pub name: String,
    /// Wilson.
    pub accuracy: Estimate,
    /// Wilson.
    pub sensitivity: Estimate,
    /// Wilson.
    pub specificity: Estimate,
    /// Wilson.
    pub ppv: Estimate,
    /// Wilson.
    pub npv: Estimate,
    /// Bootstrap.
    pub f1: Estimate,
    /// The reader's correctness against the model's at the threshold, exact and two-sided.
    pub mcnemar_p: f64,
    /// Cohen's, between the reader and the model; null when chance alone would always agree.
    pub kappa: Option<f64>,
}

/// Agreement among readers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReaderKappa {
    /// Over all readers; null with fewer than two.
    pub fleiss: Option<f64>,
    /// Cohen's, for each pair.
    pub pairs: Vec<Pairwise>,
}

/// Cohen's kappa of two readers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pairwise {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Null when chance alone would always agree.
    pub kappa: Option<f64>,
}

pub(super) fn reader(name: &str, reads: &[bool], truth: &[bool], model: &[bool], bootstrap: &Bootstrap) -> ReaderSummary {
    let table = Confusion::count(truth.iter().copied().zip(reads.iter().copied()));
    let only = |right: &[bool], wrong: &[bool]| (0..truth.len()).filter(|&i| right[i] == truth[i] && wrong[i] != truth[i]).count();
    ReaderSummary {
        name: name.to_owned(),
        accuracy: table.accuracy(),
        sensitivity: table.sensitivity(),
        specificity: table.specificity(),
        ppv: table.ppv(),
        npv: table.npv(),
        f1: table.f1_estimate(bootstrap),
        mcnemar_p: mcnemar_exact(only(reads, model), only(model, reads)),
        kappa: cohen_kappa(reads, model),
    }
}

pub(super) fn reader_kappa(names: &[String], reads: &[Vec<bool>]) -> ReaderKappa {
    let mut pairs = Vec::new();
    for i in 0..names.len() {
        for j in i + 1..names.len() {
            pairs.push(Pairwise { a: names[i].clone(), b: names[j].clone(), kappa: cohen_kappa(&reads[i], &reads[j]) });
        }
    }
    ReaderKappa { fleiss: fleiss_kappa(&reads.iter().map(Vec::as_slice).collect::<Vec<_>>()), pairs }
}
