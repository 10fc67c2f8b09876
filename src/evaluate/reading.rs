//! Labels against scores: one reading of the model, in the vocabulary of a diagnostic accuracy study.

use super::join::{Cases, join};
use super::labels::{Labels, RSNA_CLASSES, canonical_class};
use super::readers::{ReaderKappa, ReaderSummary, reader, reader_kappa};
use super::scores::{FailedResult, ModelIdentity, Scores};
use super::stats::Estimate;
use super::stats::bootstrap::Bootstrap;
use super::stats::calibration::{Calibration, brier, calibration, log_loss};
use super::stats::confusion::Confusion;
use super::stats::curves::{OperatingRow, PrPoint, RocPoint, operating_table, precision_recall, roc};
use super::stats::ranked::{Auc, Ranked};
use super::subgroups::{Subgroups, subgroups};
use crate::Result;
use serde::Serialize;
use std::sync::Arc;

/// The schema's name.
pub const SCHEMA: &str = "radnet-evaluation/1";

/// How to judge.
#[derive(Clone, Debug)]
pub struct Options {
    /// The class judged.
    pub class: String,
    /// Scores at or above are positive; none means the model's threshold, else 0.5.
    pub threshold: Option<f64>,
    /// Resamples of the bootstrap intervals.
    pub bootstrap: usize,
    /// Of the bootstrap.
    pub seed: u64,
    /// Leaves out identifiers that one side lacks, and counts them, instead of refusing.
    pub allow_missing: bool,
    /// Where the bootstrap runs; on the calling thread without one. Results do not depend on it.
    pub pool: Option<Arc<rayon::ThreadPool>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { class: "any".to_owned(), threshold: None, bootstrap: 2000, seed: 0, allow_missing: false, pool: None }
    }
}

/// The judgement; the order of fields is the order of keys in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Which model made the results, in its own words; null for scores that do not say.
    pub model: Option<ModelIdentity>,
    /// The class judged.
    pub class: String,
    /// Scores at or above were called positive.
    pub threshold: f64,
    /// `option`, `model` or `default`.
    pub threshold_from: &'static str,
    /// Cases.
    pub n: usize,
    /// Cases that are positive in truth.
    pub positives: usize,
    /// True positives.
    pub tp: usize,
    /// False positives.
    pub fp: usize,
    /// False negatives.
    #[serde(rename = "fn")]
    pub fn_: usize,
    /// True negatives.
    pub tn: usize,
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
    /// Log method.
    pub lr_positive: Estimate,
    /// Log method.
    pub lr_negative: Estimate,
    /// DeLong.
    pub auc: Auc,
    /// Bootstrap.
    pub average_precision: Estimate,
    /// Of the class; with RSNA's six classes on both sides, the challenge's weighted mean.
    pub log_loss: Option<f64>,
    /// Mean squared error.
    pub brier: Option<f64>,
    /// Ten equal bins.
    pub calibration: Calibration,
    /// Each reader against the truth, beside the model.
    pub readers: Vec<ReaderSummary>,
    /// Agreement among the readers; null without readers.
    pub kappa: Option<ReaderKappa>,
    /// Thresholds that studies report, and what they give.
    pub operating_points: Vec<OperatingRow>,
    /// The ROC curve; empty without both kinds of cases.
    pub roc: Vec<RocPoint>,
    /// The precision-recall curve; empty without positives.
    pub pr: Vec<PrPoint>,
    /// By scanner and protocol, where results say how the scans were made.
    pub subgroups: Vec<Subgroups>,
    /// Labelled cases without a score, left out.
    pub missing_scores: usize,
    /// Scored cases without a label, left out.
    pub missing_labels: usize,
    /// The first 100 of the cases without a score.
    pub unscored: Vec<String>,
    /// The first 100 of the cases without a label.
    pub unlabelled: Vec<String>,
    /// Cases whose own label, which is the truth, contradicts the majority of the readers.
    pub label_against_majority: usize,
    /// Results that are errors.
    pub errors: Vec<FailedResult>,
    /// What to know before believing the figures.
    pub notes: Vec<String>,
    /// Resamples of the bootstrap intervals.
    pub bootstrap: usize,
    /// Of the bootstrap.
    pub seed: u64,
}

/// Judges `scores` by `labels`.
///
/// # Errors
/// `corrupt_file` when the labels or a result lack the class, when identifiers are in one and not in the other (unless allowed), or
/// when no case is left.
pub fn evaluate(labels: &Labels, scores: &Scores, options: &Options) -> Result<Evaluation> {
    let class = canonical_class(&options.class);
    let cases = join(labels, scores, class, options.allow_missing)?;
    let (threshold, threshold_from) = match (options.threshold, scores.threshold(class)) {
        (Some(threshold), _) => (threshold, "option"),
        (None, Some(threshold)) => (threshold, "model"),
        (None, None) => (0.5, "default"),
    };
    let Cases { truth, scores: p, .. } = &cases;
    let ranked = Ranked::new(truth, p);
    let decisions: Vec<bool> = p.iter().map(|&s| s >= threshold).collect();
    let table = Confusion::count(truth.iter().copied().zip(decisions.iter().copied()));
    let bootstrap = Bootstrap { rounds: options.bootstrap, seed: options.seed, pool: options.pool.as_deref() };
    let one_reader = |(name, reads): (&String, &Vec<bool>)| reader(name, reads, truth, &decisions, &bootstrap);
    Ok(Evaluation {
        schema: SCHEMA,
        model: scores.model().cloned(),
        class: class.to_owned(),
        threshold,
        threshold_from,
        n: table.n(),
        positives: table.tp + table.fn_,
        tp: table.tp,
        fp: table.fp,
        fn_: table.fn_,
        tn: table.tn,
        accuracy: table.accuracy(),
        sensitivity: table.sensitivity(),
        specificity: table.specificity(),
        ppv: table.ppv(),
        npv: table.npv(),
        f1: table.f1_estimate(&bootstrap),
        lr_positive: table.lr_positive(),
        lr_negative: table.lr_negative(),
        auc: ranked.auc(),
        average_precision: average_precision(&ranked, &bootstrap),
        log_loss: rsna_log_loss(labels, scores, &cases).or_else(|| log_loss(truth, p)),
        brier: brier(truth, p),
        calibration: calibration(truth, p),
        readers: labels.readers.iter().zip(&cases.reads).map(one_reader).collect(),
        kappa: (!labels.readers.is_empty()).then(|| reader_kappa(&labels.readers, &cases.reads)),
        operating_points: operating_table(&ranked, threshold),
        roc: roc(&ranked),
        pr: precision_recall(&ranked),
        subgroups: subgroups(&cases, threshold),
        missing_scores: cases.missing_scores.len(),
        missing_labels: cases.missing_labels.len(),
        unscored: first(&cases.missing_scores),
        unlabelled: first(&cases.missing_labels),
        label_against_majority: cases.label_against_majority,
        errors: scores.failed().to_vec(),
        notes: notes(labels, &cases, table, options.bootstrap),
        bootstrap: options.bootstrap,
        seed: options.seed,
    })
}

fn first(ids: &[&str]) -> Vec<String> {
    const LISTED: usize = 100;
    ids.iter().take(LISTED).map(|id| (*id).to_owned()).collect()
}

fn average_precision(ranked: &Ranked, bootstrap: &Bootstrap) -> Estimate {
    let value = ranked.average_precision();
    let interval = || bootstrap.interval_of_counts(ranked.len(), |times| ranked.average_precision_of(times));
    Estimate { value, ci95: value.and_then(|_| interval()) }
}

/// The challenge's metric: mean over slices and six classes, `any` weighing twice; none unless both sides have all six.
fn rsna_log_loss(labels: &Labels, scores: &Scores, cases: &Cases) -> Option<f64> {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for class in RSNA_CLASSES {
        let column = labels.classes.iter().position(|c| c == class)?;
        let (truth, p) = cases.of_class(labels, column, scores, class)?;
        let weight = if class == "any" { 2.0 } else { 1.0 };
        sum += weight * log_loss(&truth, &p)?;
        weights += weight;
    }
    Some(sum / weights)
}

fn notes(labels: &Labels, cases: &Cases, table: Confusion, bootstrap: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if cases.label_against_majority > 0 {
        let (n, all) = (cases.label_against_majority, cases.truth.len());
        notes.push(format!("the label, which is the truth, contradicts the majority of the readers in {n} of {all} cases"));
    }
    if labels.repeated_rows > 0 {
        notes.push(format!("{} rows of the labels repeat an earlier one, and were taken once", labels.repeated_rows));
    }
    if let Some(id) = cases.known_unreadable {
        notes.push(format!("`{id}` is left out: its published pixel data is cut off"));
    }
    if table.tp + table.fn_ == 0 || table.fp + table.tn == 0 {
        notes.push("all cases are of one kind: what compares positives with negatives is null".to_owned());
    }
    if bootstrap > 0 && bootstrap < 1000 {
        notes.push(format!("{bootstrap} resamples are few for the ends of a 95 % interval"));
    }
    notes
}
