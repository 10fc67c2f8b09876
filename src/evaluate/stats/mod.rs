//! The statistics of a diagnostic accuracy study, each a pure function of counts or of (truth, score) pairs.

pub mod agreement;
pub mod bootstrap;
pub mod calibration;
pub mod confusion;
pub mod curves;
pub mod ranked;

use serde::Serialize;

/// The 97.5 % point of the standard normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// An estimate with its 95 % interval; both null where the estimate is 0/0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: Option<f64>,
    /// [low, high].
    pub ci95: Option<[f64; 2]>,
}

impl Estimate {
    /// Nothing can be said.
    pub const UNKNOWN: Self = Self { value: None, ci95: None };
}

/// k of n with Wilson's score interval (E. B. Wilson, JASA 1927).
pub fn wilson(k: usize, n: usize) -> Estimate {
    if n == 0 {
        return Estimate::UNKNOWN;
    }
    let (k, n, z2) = (k as f64, n as f64, Z95 * Z95);
    let p = k / n;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // At k = 0 and k = n the interval ends at exactly 0 and 1; rounding must not say otherwise.
    let low = if k == 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if k == n { 1.0 } else { (centre + half).min(1.0) };
    Estimate { value: Some(p), ci95: Some([low, high]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_77_scans() {
        let e = wilson(63, 77);
        assert!((e.value.unwrap() - 0.818_181_818).abs() < 1e-9);
        let [low, high] = e.ci95.unwrap();
        assert_eq!((format!("{:.1}", low * 100.0), format!("{:.1}", high * 100.0)), ("71.8".into(), "88.8".into()));
    }

    #[test]
    fn a_published_table_reproduces() {
        // Rapid ICH, AJNR 2021: 151/158 -> .9114-.9784 and 143/150 -> .9068-.9772.
        for (k, n, low, high) in [(151, 158, 0.9114, 0.9784), (143, 150, 0.9068, 0.9772)] {
            let ci = wilson(k, n).ci95.unwrap();
            assert!((ci[0] - low).abs() < 5e-5 && (ci[1] - high).abs() < 5e-5, "{ci:?}");
        }
    }

    #[test]
    fn the_ends_are_exact_and_nothing_of_nothing_is_unknown() {
        assert_eq!(wilson(0, 9).ci95.unwrap()[0], 0.0);
        assert_eq!(wilson(9, 9).ci95.unwrap()[1], 1.0);
        assert_eq!(wilson(0, 0), Estimate::UNKNOWN);
    }
}
