//! From logits to a decision (spec: model, rules 9 and 10), in float64 and with our own exponential: the same bits on every machine.

mod exp;

use crate::model::Config;
use crate::model::config::ScanRule;

/// What the model says of a scan for one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanDecision {
    /// The scan's score by the model's rule, in [0, 1].
    pub score: f64,
    /// The class's threshold.
    pub threshold: f64,
    /// Whether the score reaches the threshold.
    pub positive: bool,
}

/// One decision per class, in the order of `config.classes`, from the probabilities of each slice in that order.
///
/// # Panics
/// When there is no slice, or a slice has fewer probabilities than there are classes.
pub fn decide(config: &Config, slices: &[&[f64]]) -> Vec<ScanDecision> {
    let decide_class = |(k, class): (usize, &String)| {
        let p: Vec<f64> = slices.iter().map(|slice| slice[k]).collect();
        let (score, threshold) = (score(config.scan, &p), config.thresholds[class]);
        ScanDecision { score, threshold, positive: score >= threshold }
    };
    config.classes.iter().enumerate().map(decide_class).collect()
}

/// The score of a scan from the probabilities of its slices, inferior to superior.
///
/// # Panics
/// When there is no slice.
pub fn score(rule: ScanRule, p: &[f64]) -> f64 {
    assert!(!p.is_empty(), "a scan has at least one slice");
    match rule {
        ScanRule::Consecutive { n } => {
            let lowest = |run: &[f64]| run.iter().copied().fold(f64::INFINITY, f64::min);
            p.windows(n.clamp(1, p.len())).map(lowest).fold(f64::NEG_INFINITY, f64::max)
        }
        ScanRule::MeanTopK { k } => {
            let mut sorted = p.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            sorted.truncate(k.max(1));
            sorted.iter().sum::<f64>() / sorted.len() as f64
        }
        ScanRule::NoisyOr {} => 1.0 - p.iter().map(|p| 1.0 - p).product::<f64>(),
    }
}

/// σ(z) = 1 / (1 + e⁻ᶻ), within 2 units in the last place, also where it is tiny.
pub fn sigmoid(z: f64) -> f64 {
    let e = exp::exp(-z.abs());
    if z < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const P: [f64; 6] = [0.1, 0.8, 0.6, 0.9, 0.2, 0.95];

    #[test]
    fn consecutive_takes_the_best_run_by_its_weakest_slice() {
        let score = |n, p: &[f64]| score(ScanRule::Consecutive { n }, p);
        assert_eq!(score(1, &P), 0.95);
        assert_eq!(score(2, &P), 0.6);
        assert_eq!(score(3, &P), 0.6);
        assert_eq!(score(4, &P), 0.2);
        assert_eq!(score(6, &P), 0.1);
        assert_eq!(score(7, &P), 0.1, "fewer slices than n: the minimum of all");
        assert_eq!(score(usize::MAX, &[0.7]), 0.7);
    }

    #[test]
    fn mean_top_k_takes_all_when_there_are_fewer() {
        let score = |k, p: &[f64]| score(ScanRule::MeanTopK { k }, p);
        assert_eq!(score(1, &P), 0.95);
        assert_eq!(score(2, &P), (0.95 + 0.9) / 2.0);
        assert_eq!(score(usize::MAX, &[0.5, 0.25]), 0.375);
    }

    #[test]
    fn noisy_or_multiplies_what_is_left() {
        assert_eq!(score(ScanRule::NoisyOr {}, &[0.5, 0.5]), 0.75);
        assert_eq!(score(ScanRule::NoisyOr {}, &[0.0]), 0.0);
        assert_eq!(score(ScanRule::NoisyOr {}, &[1.0, 0.3]), 1.0);
    }

    #[test]
    fn a_score_at_the_threshold_is_positive() {
        let mut config = Config::densenet(&[1]);
        config.classes = vec!["b".to_owned(), "a".to_owned()];
        config.thresholds = BTreeMap::from([("a".to_owned(), 0.25), ("b".to_owned(), 0.7)]);
        config.scan = ScanRule::Consecutive { n: 1 };
        let decisions = decide(&config, &[&[0.5, 0.25], &[0.6, 0.125]]);
        assert_eq!(decisions[0], ScanDecision { score: 0.6, threshold: 0.7, positive: false });
        assert_eq!(decisions[1], ScanDecision { score: 0.25, threshold: 0.25, positive: true });
    }

    #[test]
    fn sigmoid_is_exact_at_its_ends_and_middle() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(f64::INFINITY), 1.0);
        assert_eq!(sigmoid(f64::NEG_INFINITY), 0.0);
        assert_eq!(sigmoid(40.0), 1.0);
        assert!(sigmoid(-700.0) > 0.0);
        assert!(sigmoid(f64::NAN).is_nan());
        assert!((-400..400).all(|i| sigmoid(f64::from(i) / 16.0) < sigmoid(f64::from(i + 1) / 16.0)), "it rises");
    }
}
