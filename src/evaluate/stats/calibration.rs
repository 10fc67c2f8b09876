//! Whether a probability means what it says.

use serde::Serialize;

/// Scores of one tenth of [0, 1]; the last tenth includes 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Lower end, inclusive.
    pub low: f64,
    /// Upper end, exclusive but for the last.
    pub high: f64,
    /// Cases.
    pub n: usize,
    /// Mean score; null when empty.
    pub mean_p: Option<f64>,
    /// Share of positives; null when empty.
    pub rate: Option<f64>,
}

/// Ten equal bins and the expected calibration error Σ n/N |mean_p − rate|.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// From 0 to 1.
    pub bins: Vec<Bin>,
    /// Expected calibration error; null without cases.
    pub ece: Option<f64>,
}

const BINS: usize = 10;

/// Bins (truth, probability) pairs.
pub fn calibration(truth: &[bool], p: &[f64]) -> Calibration {
    let (mut n, mut sums, mut positives) = ([0_usize; BINS], [0.0; BINS], [0_usize; BINS]);
    for (&t, &p) in truth.iter().zip(p) {
        let b = bin_of(p);
        n[b] += 1;
        sums[b] += p;
        positives[b] += usize::from(t);
    }
    let mut error = 0.0;
    let bin = |b: usize| {
        let mean = |sum: f64| (n[b] > 0).then(|| sum / n[b] as f64);
        let (mean_p, rate) = (mean(sums[b]), mean(positives[b] as f64));
        error += (sums[b] - positives[b] as f64).abs();
        Bin { low: edge(b), high: edge(b + 1), n: n[b], mean_p, rate }
    };
    let bins = (0..BINS).map(bin).collect();
    Calibration { bins, ece: (!p.is_empty()).then(|| error / p.len() as f64) }
}

fn edge(b: usize) -> f64 {
    b as f64 / BINS as f64
}

/// By the written edges, which the product p · 10 may round across.
fn bin_of(p: f64) -> usize {
    let near = ((p * BINS as f64) as usize).min(BINS - 1);
    if p < edge(near) {
        near - 1
    } else if near + 1 < BINS && p >= edge(near + 1) {
        near + 1
    } else {
        near
    }
}

/// Mean squared error of probabilities; none without cases.
pub fn brier(truth: &[bool], p: &[f64]) -> Option<f64> {
    let sum: f64 = truth.iter().zip(p).map(|(&t, p)| (p - f64::from(u8::from(t))).powi(2)).sum();
    (!p.is_empty()).then(|| sum / p.len() as f64)
}

/// Mean −log p of the truth, p clipped to [1e-15, 1 − 1e-15]; none without cases.
pub fn log_loss(truth: &[bool], p: &[f64]) -> Option<f64> {
    let one = |(&t, &p): (&bool, &f64)| {
        let p = p.clamp(1e-15, 1.0 - 1e-15);
        if t { -p.ln() } else { -(-p).ln_1p() }
    };
    let sum: f64 = truth.iter().zip(p).map(one).sum();
    (!p.is_empty()).then(|| sum / p.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_meet_without_overlap() {
        let c = calibration(&[false, true, true], &[0.0, 0.1, 1.0]);
        let counts: Vec<usize> = c.bins.iter().map(|b| b.n).collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!((c.ece.unwrap() - 0.9 / 3.0).abs() < 1e-15);
    }

    /// Every edge is in the bin that it opens, the number just below it in the bin before.
    #[test]
    fn edges_belong_to_the_bin_above() {
        for b in 1..BINS {
            assert_eq!((bin_of(edge(b)), bin_of(edge(b).next_down())), (b, b - 1));
        }
        assert_eq!((bin_of(0.0), bin_of(1.0)), (0, 9));
    }

    #[test]
    fn certain_and_wrong_is_finite() {
        assert!((log_loss(&[true], &[0.0]).unwrap() - 34.538_776_394_910_684).abs() < 1e-9);
        assert!(log_loss(&[false], &[1.0]).unwrap().is_finite());
        assert_eq!(brier(&[], &[]), None);
    }
}
