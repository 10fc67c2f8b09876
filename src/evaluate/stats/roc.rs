//! Areas under the ROC and precision-recall curves, and the curves themselves.

use super::{Estimate, Z95};
use serde::Serialize;

/// AUC with its DeLong interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Auc {
    /// Estimate and interval, clipped to [0, 1].
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The AUC is exactly 0 or 1, so that DeLong's variance is 0 and the interval says nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degenerate: bool,
}

/// A point of a curve: at `threshold` and above a case is called positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OperatingPoint {
    /// Scores at or above are positive.
    pub threshold: f64,
    /// True positives so far.
    pub tp: usize,
    /// False positives so far.
    pub fp: usize,
}

/// One point per distinct score, from the highest score down.
pub fn operating_points(truth: &[bool], scores: &[f64]) -> Vec<OperatingPoint> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut points: Vec<OperatingPoint> = Vec::new();
    let (mut tp, mut fp) = (0, 0);
    for i in order {
        if truth[i] {
            tp += 1
        } else {
            fp += 1
        }
        let point = OperatingPoint { threshold: scores[i], tp, fp };
        match points.last_mut() {
            Some(last) if last.threshold == scores[i] => *last = point,
            _ => points.push(point),
        }
    }
    points
}

/// Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores, highest first; none without positives.
pub fn average_precision(truth: &[bool], scores: &[f64]) -> Option<f64> {
    let positives = truth.iter().filter(|&&t| t).count();
    if positives == 0 {
        return None;
    }
    let mut before = 0;
    let sum = operating_points(truth, scores).into_iter().map(|p| {
        let gained = p.tp - std::mem::replace(&mut before, p.tp);
        gained as f64 / positives as f64 * p.tp as f64 / (p.tp + p.fp) as f64
    });
    Some(sum.sum())
}

/// The area under the ROC curve with the interval of DeLong, DeLong and Clarke-Pearson (Biometrics 1988), by the mid-rank form of
/// Sun and Xu (IEEE SPL 2014); null without both kinds of cases.
pub fn auc_delong(truth: &[bool], scores: &[f64]) -> Auc {
    let of = |kind: bool| -> Vec<f64> { scores.iter().zip(truth).filter(|(_, t)| **t == kind).map(|(s, _)| *s).collect() };
    let (positive, negative) = (of(true), of(false));
    let (m, n) = (positive.len() as f64, negative.len() as f64);
    if positive.is_empty() || negative.is_empty() {
        return Auc { estimate: Estimate::UNKNOWN, degenerate: false };
    }
    let pooled: Vec<f64> = positive.iter().chain(&negative).copied().collect();
    let (all, within_positive, within_negative) = (mid_ranks(&pooled), mid_ranks(&positive), mid_ranks(&negative));
    // Per case: the share of the other kind it is ranked right against.
    let right_of_positive: Vec<f64> = all.iter().zip(&within_positive).map(|(a, w)| (a - w) / n).collect();
    let right_of_negative: Vec<f64> = all[positive.len()..].iter().zip(&within_negative).map(|(a, w)| 1.0 - (a - w) / m).collect();
    let auc = right_of_positive.iter().sum::<f64>() / m;
    let se = (variance(&right_of_positive) / m + variance(&right_of_negative) / n).sqrt();
    let ci95 = [(auc - Z95 * se).max(0.0), (auc + Z95 * se).min(1.0)];
    Auc { estimate: Estimate { value: Some(auc), ci95: Some(ci95) }, degenerate: auc == 0.0 || auc == 1.0 }
}

/// Ranks from 1, ties sharing their mean.
fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let first = order.partition_point(|&i| values[i] < values[tied[0]]);
        let rank = first as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&i| ranks[i] = rank);
    }
    ranks
}

/// Unbiased; 0 for a single value, whose spread cannot be known.
fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    if values.len() < 2 { 0.0 } else { squares / (values.len() - 1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mid_ranks_share_ties() {
        assert_eq!(mid_ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn perfect_and_inverted_scores_are_degenerate() {
        let truth = [true, true, false, false];
        let best = auc_delong(&truth, &[0.9, 0.8, 0.2, 0.1]);
        assert_eq!((best.estimate.value, best.estimate.ci95, best.degenerate), (Some(1.0), Some([1.0, 1.0]), true));
        let worst = auc_delong(&truth, &[0.1, 0.2, 0.8, 0.9]);
        assert_eq!((worst.estimate.value, worst.estimate.ci95, worst.degenerate), (Some(0.0), Some([0.0, 0.0]), true));
    }

    #[test]
    fn one_kind_of_case_has_no_curve() {
        assert_eq!(auc_delong(&[true, true], &[0.5, 0.6]).estimate, Estimate::UNKNOWN);
        assert_eq!(average_precision(&[false], &[0.5]), None);
    }

    #[test]
    fn all_tied_is_chance() {
        let truth = [true, false, true, false];
        assert_eq!(auc_delong(&truth, &[0.5; 4]).estimate.value, Some(0.5));
        assert_eq!(average_precision(&truth, &[0.5; 4]), Some(0.5));
        assert_eq!(operating_points(&truth, &[0.5; 4]), [OperatingPoint { threshold: 0.5, tp: 2, fp: 2 }]);
    }
}
