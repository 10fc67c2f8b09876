//! Cases by falling score, sorted once; curves, areas and resampling all read off this order in linear time.

use super::{Estimate, Z95};
use serde::Serialize;

/// (truth, score) pairs from the highest score down.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The truth, in this order.
    truth: Vec<bool>,
    /// One past the last case of each group of equal scores.
    ends: Vec<usize>,
    /// The score of each group.
    levels: Vec<f64>,
    positives: usize,
}

/// A point of a curve: at `threshold` and above a case is called positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoint {
    /// Scores at or above are positive.
    pub threshold: f64,
    /// True positives so far.
    pub tp: usize,
    /// False positives so far.
    pub fp: usize,
}

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

impl Ranked {
    /// Sorts the cases.
    pub fn new(truth: &[bool], scores: &[f64]) -> Self {
        let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut ends, mut levels) = (Vec::new(), Vec::new());
        for tied in order.chunk_by(|a, b| a.0 == b.0) {
            ends.push(ends.last().copied().unwrap_or(0) + tied.len());
            levels.push(tied[0].0);
        }
        let truth: Vec<bool> = order.into_iter().map(|(_, t)| t).collect();
        let positives = truth.iter().filter(|t| **t).count();
        Self { truth, ends, levels, positives }
    }

    /// Cases.
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// Cases that are positive in truth.
    pub fn positives(&self) -> usize {
        self.positives
    }

    /// Cases that are negative in truth.
    pub fn negatives(&self) -> usize {
        self.len() - self.positives
    }

    /// One point per distinct score, from the highest score down.
    pub fn points(&self) -> impl Iterator<Item = OperatingPoint> + '_ {
        let (mut start, mut tp) = (0, 0);
        self.ends.iter().zip(&self.levels).map(move |(&end, &threshold)| {
            tp += self.truth[start..end].iter().filter(|t| **t).count();
            start = end;
            OperatingPoint { threshold, tp, fp: end - tp }
        })
    }

    /// Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores, highest first; none without positives.
    pub fn average_precision(&self) -> Option<f64> {
        let (mut before, mut sum) = (0, 0.0);
        for p in self.points() {
            sum += (p.tp - std::mem::replace(&mut before, p.tp)) as f64 * p.tp as f64 / (p.tp + p.fp) as f64;
        }
        (self.positives > 0).then(|| sum / self.positives as f64)
    }

    /// The same of a resample, in which the case of rank `i` is there `times[i]` times.
    pub fn average_precision_of(&self, times: &[u32]) -> Option<f64> {
        let (mut tp, mut all, mut sum, mut start) = (0_u64, 0_u64, 0.0, 0);
        for &end in &self.ends {
            let before = tp;
            for (&t, &n) in self.truth[start..end].iter().zip(&times[start..end]) {
                tp += u64::from(n) * u64::from(t);
                all += u64::from(n);
            }
            start = end;
            if tp > before {
                sum += (tp - before) as f64 * tp as f64 / all as f64;
            }
        }
        (tp > 0).then(|| sum / tp as f64)
    }

    /// The area under the ROC curve with the interval of DeLong, DeLong and Clarke-Pearson (Biometrics 1988): its structural components,
    /// which are equal for equal scores, group by group. Null without both kinds of cases; no interval where one kind has a single case,
    /// whose spread is 0/0.
    pub fn auc(&self) -> Auc {
        let (m, n) = (self.positives as f64, self.negatives() as f64);
        if self.positives == 0 || self.negatives() == 0 {
            return Auc { estimate: Estimate::UNKNOWN, degenerate: false };
        }
        // In halves, so that the sum is exact: each positive of a group beats every negative below it, and half of those tied with it.
        let doubled: u128 = self.groups().map(|g| g.positives as u128 * (2 * g.negatives_below + g.negatives) as u128).sum();
        let auc = doubled as f64 / (2.0 * m * n);
        if doubled == 0 || doubled == 2 * self.positives as u128 * self.negatives() as u128 {
            return Auc { estimate: Estimate { value: Some(auc), ci95: Some([auc, auc]) }, degenerate: true };
        }
        let (mut of_positives, mut of_negatives) = (0.0, 0.0);
        for g in self.groups() {
            let v10 = (2 * g.negatives_below + g.negatives) as f64 / (2.0 * n);
            let v01 = (2 * g.positives_above + g.positives) as f64 / (2.0 * m);
            of_positives += g.positives as f64 * (v10 - auc) * (v10 - auc);
            of_negatives += g.negatives as f64 * (v01 - auc) * (v01 - auc);
        }
        let known = self.positives > 1 && self.negatives() > 1;
        let se = (of_positives / (m - 1.0) / m + of_negatives / (n - 1.0) / n).sqrt();
        let ci95 = known.then(|| [(auc - Z95 * se).max(0.0), (auc + Z95 * se).min(1.0)]);
        Auc { estimate: Estimate { value: Some(auc), ci95 }, degenerate: false }
    }

    fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let mut before = OperatingPoint { threshold: f64::INFINITY, tp: 0, fp: 0 };
        self.points().map(move |p| {
            let group = Group {
                positives: p.tp - before.tp,
                negatives: p.fp - before.fp,
                positives_above: before.tp,
                negatives_below: self.negatives() - p.fp,
            };
            before = p;
            group
        })
    }
}

/// Cases of one score.
struct Group {
    positives: usize,
    negatives: usize,
    positives_above: usize,
    negatives_below: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_and_inverted_scores_are_degenerate() {
        let truth = [true, true, false, false];
        let best = Ranked::new(&truth, &[0.9, 0.8, 0.2, 0.1]).auc();
        assert_eq!((best.estimate.value, best.estimate.ci95, best.degenerate), (Some(1.0), Some([1.0, 1.0]), true));
        let worst = Ranked::new(&truth, &[0.1, 0.2, 0.8, 0.9]).auc();
        assert_eq!((worst.estimate.value, worst.estimate.ci95, worst.degenerate), (Some(0.0), Some([0.0, 0.0]), true));
    }

    #[test]
    fn one_kind_of_case_has_no_area() {
        assert_eq!(Ranked::new(&[true, true], &[0.5, 0.6]).auc().estimate, Estimate::UNKNOWN);
        assert_eq!(Ranked::new(&[false], &[0.5]).average_precision(), None);
        assert_eq!(Ranked::new(&[], &[]).average_precision(), None);
    }

    #[test]
    fn a_single_positive_has_no_interval() {
        let auc = Ranked::new(&[true, false, false], &[0.5, 0.6, 0.4]).auc();
        assert_eq!((auc.estimate.value, auc.estimate.ci95), (Some(0.5), None));
    }

    #[test]
    fn all_tied_is_chance() {
        let ranked = Ranked::new(&[true, false, true, false], &[0.5; 4]);
        assert_eq!(ranked.auc().estimate.value, Some(0.5));
        assert_eq!(ranked.average_precision(), Some(0.5));
        assert_eq!(ranked.points().collect::<Vec<_>>(), [OperatingPoint { threshold: 0.5, tp: 2, fp: 2 }]);
    }

    /// Counting a case n times is the same as having it n times, also where zeros of both signs tie.
    #[test]
    fn counts_stand_for_copies() {
        let truth = [true, false, true, false, false];
        let scores = [0.9, 0.9, 0.4, 0.0, -0.0];
        let ranked = Ranked::new(&truth, &scores);
        // By rank: the two at 0.9 with the negative first, 0.4, then the zeros.
        let times = [2, 1, 3, 0, 4];
        let copied = Ranked::new(
            &[false, false, true, true, true, true, false, false, false, false],
            &[0.9, 0.9, 0.9, 0.4, 0.4, 0.4, 0.0, 0.0, 0.0, 0.0],
        );
        assert_eq!(ranked.average_precision_of(&times), copied.average_precision());
        assert_eq!(ranked.average_precision_of(&[0; 5]), None);
    }
}
