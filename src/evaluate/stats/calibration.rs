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
    let index = |p: f64| ((p * BINS as f64) as usize).min(BINS - 1);
    let mut bins = Vec::with_capacity(BINS);
    let mut error = 0.0;
    for b in 0..BINS {
        let cases: Vec<usize> = (0..p.len()).filter(|&i| index(p[i]) == b).collect();
        let n = cases.len();
        let mean = |sum: f64| (n > 0).then(|| sum / n as f64);
        let mean_p = mean(cases.iter().map(|&i| p[i]).sum());
        let rate = mean(cases.iter().filter(|&&i| truth[i]).count() as f64);
        if let (Some(m), Some(r)) = (mean_p, rate) {
            error += n as f64 * (m - r).abs();
        }
        bins.push(Bin { low: b as f64 / BINS as f64, high: (b + 1) as f64 / BINS as f64, n, mean_p, rate });
    }
    Calibration { bins, ece: (!p.is_empty()).then(|| error / p.len() as f64) }
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

    #[test]
    fn certain_and_wrong_is_finite() {
        assert!((log_loss(&[true], &[0.0]).unwrap() - 34.538_776_394_910_684).abs() < 1e-9);
        assert!(log_loss(&[false], &[1.0]).unwrap().is_finite());
        assert_eq!(brier(&[], &[]), None);
    }
}
