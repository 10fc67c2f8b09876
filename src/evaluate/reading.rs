//! Labels against scores: one reading of the model, in the vocabulary of a diagnostic accuracy study.

use super::join::{Cases, join};
use super::labels::{Labels, RSNA_CLASSES, canonical_class};
use super::scores::Scores;
use super::stats::Estimate;
use super::stats::agreement::{cohen_kappa, fleiss_kappa, mcnemar_exact};
use super::stats::bootstrap::percentile_interval;
use super::stats::calibration::{Calibration, brier, calibration, log_loss};
use super::stats::confusion::Confusion;
use super::stats::roc::{Auc, auc_delong, average_precision};
use crate::Result;
use serde::Serialize;

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
}

impl Default for Options {
    fn default() -> Self {
        Self { class: "any".to_owned(), threshold: None, bootstrap: 2000, seed: 0, allow_missing: false }
    }
}

/// The judgement; the order of fields is the order of keys in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The class judged.
    pub class: String,
    /// Scores at or above were called positive.
    pub threshold: f64,
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
    /// Labelled cases without a score, left out.
    pub missing_scores: usize,
    /// Scored cases without a label, left out.
    pub missing_labels: usize,
}

/// One reader.
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

/// Judges `scores` by `labels`.
///
/// # Errors
/// `corrupt_file` when the labels or a result lack the class, when identifiers are in one and not in the other (unless allowed), or
/// when no case is left.
pub fn evaluate(labels: &Labels, scores: &Scores, options: &Options) -> Result<Evaluation> {
    let class = canonical_class(&options.class);
    let cases = join(labels, scores, class, options.allow_missing)?;
    let threshold = options.threshold.or_else(|| scores.threshold(class)).unwrap_or(0.5);
    let Cases { truth, scores: p, .. } = &cases;
    let decisions: Vec<bool> = p.iter().map(|&s| s >= threshold).collect();
    let table = Confusion::count(truth.iter().copied().zip(decisions.iter().copied()));
    let resampled = |statistic: &dyn Fn(&[bool], &[f64]) -> Option<f64>| Estimate {
        value: statistic(truth, p),
        ci95: percentile_interval(truth.len(), options.bootstrap, options.seed, |sample| {
            let picked: (Vec<bool>, Vec<f64>) = sample.iter().map(|&i| (truth[i], p[i])).unzip();
            statistic(&picked.0, &picked.1)
        }),
    };
    Ok(Evaluation {
        class: class.to_owned(),
        threshold,
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
        f1: f1(truth, &decisions, options),
        lr_positive: table.lr_positive(),
        lr_negative: table.lr_negative(),
        auc: auc_delong(truth, p),
        average_precision: resampled(&average_precision),
        log_loss: rsna_log_loss(labels, scores, &cases).or_else(|| log_loss(truth, p)),
        brier: brier(truth, p),
        calibration: calibration(truth, p),
        readers: labels.readers.iter().zip(&cases.reads).map(|(name, reads)| reader(name, reads, truth, &decisions, options)).collect(),
        kappa: (!labels.readers.is_empty()).then(|| reader_kappa(&labels.readers, &cases.reads)),
        missing_scores: cases.missing_scores.len(),
        missing_labels: cases.missing_labels.len(),
    })
}

/// The challenge's metric: mean over slices and six classes, `any` weighing twice; none unless both sides have all six.
fn rsna_log_loss(labels: &Labels, scores: &Scores, cases: &Cases) -> Option<f64> {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for class in RSNA_CLASSES {
        let column = labels.classes.iter().position(|c| c == class)?;
        let truth: Vec<bool> = cases.ids.iter().map(|id| labels.case(id).map(|c| c.truth(column))).collect::<Option<_>>()?;
        let p: Vec<f64> = cases.ids.iter().map(|id| scores.score(id, class)).collect::<Option<_>>()?;
        let weight = if class == "any" { 2.0 } else { 1.0 };
        sum += weight * log_loss(&truth, &p)?;
        weights += weight;
    }
    Some(sum / weights)
}

fn f1(truth: &[bool], decisions: &[bool], options: &Options) -> Estimate {
    let of = |sample: &mut dyn Iterator<Item = usize>| Confusion::count(sample.map(|i| (truth[i], decisions[i]))).f1();
    Estimate {
        value: of(&mut (0..truth.len())),
        ci95: percentile_interval(truth.len(), options.bootstrap, options.seed, |sample| of(&mut sample.iter().copied())),
    }
}

fn reader(name: &str, reads: &[bool], truth: &[bool], model: &[bool], options: &Options) -> ReaderSummary {
    let table = Confusion::count(truth.iter().copied().zip(reads.iter().copied()));
    let only = |right: &[bool], wrong: &[bool]| (0..truth.len()).filter(|&i| right[i] == truth[i] && wrong[i] != truth[i]).count();
    ReaderSummary {
        name: name.to_owned(),
        accuracy: table.accuracy(),
        sensitivity: table.sensitivity(),
        specificity: table.specificity(),
        ppv: table.ppv(),
        f1: f1(truth, reads, options),
        mcnemar_p: mcnemar_exact(only(reads, model), only(model, reads)),
        kappa: cohen_kappa(reads, model),
    }
}

fn reader_kappa(names: &[String], reads: &[Vec<bool>]) -> ReaderKappa {
    let mut pairs = Vec::new();
    for i in 0..names.len() {
        for j in i + 1..names.len() {
            pairs.push(Pairwise { a: names[i].clone(), b: names[j].clone(), kappa: cohen_kappa(&reads[i], &reads[j]) });
        }
    }
    ReaderKappa { fleiss: fleiss_kappa(&reads.iter().map(Vec::as_slice).collect::<Vec<_>>()), pairs }
}
