//! Temperature scaling (Guo et al., "On calibration of modern neural networks", ICML 2017): the one T > 0 for which σ(z / T) has the
//! lowest log loss on the cases.

use super::{Case, score_at};
use crate::evaluate::stats::calibration::log_loss as mean_log_loss;
use crate::model::config::ScanRule;
use serde::Serialize;

/// Temperatures outside say that the cases cannot tell: with a threshold that parts them perfectly the best T is 0.
pub const RANGE: [f64; 2] = [0.05, 20.0];

/// Points of the search, equally far apart in log T.
const GRID: usize = 97;
/// Width in log T at which the search ends.
const RESOLUTION: f64 = 1e-9;
/// A temperature that gains less is not worth a change of the model.
const LEAST_GAIN: f64 = 1e-12;

/// A fitted temperature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Temperature {
    /// T.
    pub value: f64,
    /// Mean log loss at T = 1.
    pub log_loss_before: f64,
    /// Mean log loss at T.
    pub log_loss_after: f64,
    /// `lower` or `upper` when T lies at that end of [`RANGE`].
    pub at_bound: Option<&'static str>,
}

/// The mean log loss of the scores at a temperature; p is clipped to [1e-15, 1 − 1e-15].
pub fn log_loss(cases: &[Case], rule: ScanRule, temperature: f64) -> f64 {
    let mut memory = Vec::new();
    let scores: Vec<f64> = cases.iter().map(|c| score_at(c.logits, rule, temperature, &mut memory)).collect();
    let truth: Vec<bool> = cases.iter().map(|c| c.truth).collect();
    mean_log_loss(&truth, &scores).unwrap_or(f64::INFINITY)
}

/// The best temperature within [`RANGE`]. For slices, and for the rule `consecutive`, whose score is one slice's probability, the loss is
/// convex in 1 / T; for the other rules it need not be, so a grid finds the valley and a golden-section search its floor.
pub fn fit(cases: &[Case], rule: ScanRule) -> Temperature {
    let loss = |log_t: f64| log_loss(cases, rule, log_t.exp());
    let [low, high] = RANGE.map(f64::ln);
    let at = |i: usize| low + (high - low) * i as f64 / (GRID - 1) as f64;
    let losses: Vec<f64> = (0..GRID).map(|i| loss(at(i))).collect();
    let best = (0..GRID).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap_or(0);
    let floor = golden_section(loss, at(best.saturating_sub(1)), at((best + 1).min(GRID - 1)));
    let before = loss(0.0);
    let candidates = [floor, at(best)].map(|log_t| (loss(log_t), log_t));
    let (after, log_t) = if candidates[0].0 <= candidates[1].0 { candidates[0] } else { candidates[1] };
    if after > before - LEAST_GAIN {
        return Temperature { value: 1.0, log_loss_before: before, log_loss_after: before, at_bound: None };
    }
    let near = |end: f64| (log_t - end).abs() < 1e-6;
    let (value, at_bound) = match () {
        () if near(low) => (RANGE[0], Some("lower")),
        () if near(high) => (RANGE[1], Some("upper")),
        () => (log_t.exp(), None),
    };
    Temperature { value, log_loss_before: before, log_loss_after: after, at_bound }
}

/// Where f is lowest in [a, b], if it has one valley there (Kiefer, "Sequential minimax search for a maximum", 1953).
fn golden_section(f: impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let ratio = (5_f64.sqrt() - 1.0) / 2.0;
    let (mut c, mut d) = (b - ratio * (b - a), a + ratio * (b - a));
    let (mut at_c, mut at_d) = (f(c), f(d));
    while b - a > RESOLUTION {
        if at_c <= at_d {
            (b, d, at_d) = (d, c, at_c);
            c = b - ratio * (b - a);
            at_c = f(c);
        } else {
            (a, c, at_c) = (c, d, at_d);
            d = a + ratio * (b - a);
            at_d = f(d);
        }
    }
    f64::midpoint(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [ScanRule; 4] =
        [ScanRule::Consecutive { n: 1 }, ScanRule::Consecutive { n: 3 }, ScanRule::MeanTopK { k: 2 }, ScanRule::NoisyOr {}];

    /// Scans of 1 to 9 slices whose logits are `sharp` times too large for their truth.
    fn scans(n: usize, sharp: f64) -> Vec<(bool, Vec<f64>)> {
        let mut state = 9_u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut scan = |i: usize| {
            let logits: Vec<f64> = (0..1 + i % 9).map(|_| 4.0 * uniform() - 3.0).collect();
            let strongest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (uniform() < crate::decision::sigmoid(strongest), logits.iter().map(|z| z * sharp).collect())
        };
        (0..n).map(&mut scan).collect()
    }

    fn cases(scans: &[(bool, Vec<f64>)]) -> Vec<Case<'_>> {
        scans.iter().map(|(truth, logits)| Case { truth: *truth, logits }).collect()
    }

    /// No point of a grid a hundred times denser than the search's own does better.
    #[test]
    fn nothing_on_a_dense_grid_is_better() {
        for sharp in [0.3, 1.0, 4.0] {
            let scans = scans(60, sharp);
            for rule in RULES {
                let fitted = fit(&cases(&scans), rule);
                for i in 0..=6000 {
                    let t = (RANGE[0].ln() + (RANGE[1] / RANGE[0]).ln() * f64::from(i) / 6000.0).exp();
                    let there = log_loss(&cases(&scans), rule, t);
                    assert!(fitted.log_loss_after <= there + 1e-9, "{rule:?}: T = {t} gives {there}, the fit {fitted:?}");
                }
                assert!(fitted.log_loss_after <= fitted.log_loss_before);
            }
        }
    }

    /// Logits that are four times too large come back by a temperature near four.
    #[test]
    fn the_planted_temperature_is_found() {
        let scans = scans(6000, 4.0);
        let t = fit(&cases(&scans), ScanRule::Consecutive { n: 1 }).value;
        assert!((3.5..4.6).contains(&t), "{t}");
    }

    #[test]
    fn what_a_threshold_parts_ends_at_the_bound_and_says_so() {
        let parted = [(true, vec![1.0]), (true, vec![2.0]), (false, vec![-0.5]), (false, vec![-3.0])];
        let fitted = fit(&cases(&parted), RULES[0]);
        assert_eq!((fitted.value, fitted.at_bound), (RANGE[0], Some("lower")));
        let reversed = [(false, vec![1.0]), (true, vec![-1.0])];
        let fitted = fit(&cases(&reversed), RULES[0]);
        assert_eq!((fitted.value, fitted.at_bound), (RANGE[1], Some("upper")));
    }

    #[test]
    fn what_no_temperature_changes_stays() {
        let level = [(true, vec![0.0]), (false, vec![0.0, 0.0])];
        assert_eq!(fit(&cases(&level), RULES[0]).value, 1.0);
    }
}
