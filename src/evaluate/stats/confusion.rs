//! The two-by-two table and what is read off it.

use super::bootstrap::Bootstrap;
use super::{Estimate, Z95, wilson};

/// Counts of a binary decision against the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// True positives.
    pub tp: usize,
    /// False positives.
    pub fp: usize,
    /// False negatives.
    pub fn_: usize,
    /// True negatives.
    pub tn: usize,
}

impl Confusion {
    /// Counts (truth, decision) pairs.
    pub fn count(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut table = Self::default();
        for (truth, decision) in pairs {
            match (truth, decision) {
                (true, true) => table.tp += 1,
                (true, false) => table.fn_ += 1,
                (false, true) => table.fp += 1,
                (false, false) => table.tn += 1,
            }
        }
        table
    }

    /// All cases.
    pub fn n(self) -> usize {
        self.tp + self.fp + self.fn_ + self.tn
    }

    /// (TP + TN) / n.
    pub fn accuracy(self) -> Estimate {
        wilson(self.tp + self.tn, self.n())
    }

    /// TP / (TP + FN), recall.
    pub fn sensitivity(self) -> Estimate {
        wilson(self.tp, self.tp + self.fn_)
    }

    /// TN / (TN + FP).
    pub fn specificity(self) -> Estimate {
        wilson(self.tn, self.tn + self.fp)
    }

    /// TP / (TP + FP), precision.
    pub fn ppv(self) -> Estimate {
        wilson(self.tp, self.tp + self.fp)
    }

    /// TN / (TN + FN).
    pub fn npv(self) -> Estimate {
        wilson(self.tn, self.tn + self.fn_)
    }

    /// 2 TP / (2 TP + FP + FN); its interval comes from the bootstrap.
    pub fn f1(self) -> Option<f64> {
        let all = 2 * self.tp + self.fp + self.fn_;
        (all > 0).then(|| (2 * self.tp) as f64 / all as f64)
    }

    /// F1 with its bootstrap interval.
    pub fn f1_estimate(self, bootstrap: &Bootstrap) -> Estimate {
        let value = self.f1();
        let of = |[tp, fp, fn_, tn]: [usize; 4]| Self { tp, fp, fn_, tn }.f1();
        Estimate { value, ci95: value.and_then(|_| bootstrap.interval_of_cells([self.tp, self.fp, self.fn_, self.tn], of)) }
    }

    /// Sensitivity / (1 − specificity), with the log-method interval (Simel, Samsa and Matchar, J Clin Epidemiol 1991).
    pub fn lr_positive(self) -> Estimate {
        likelihood_ratio(self.tp, self.tp + self.fn_, self.fp, self.fp + self.tn)
    }

    /// (1 − sensitivity) / specificity, likewise.
    pub fn lr_negative(self) -> Estimate {
        likelihood_ratio(self.fn_, self.tp + self.fn_, self.tn, self.fp + self.tn)
    }
}

/// (a/n) / (b/m). A zero count leaves no logarithm, hence no interval; b = 0 leaves no value: the ratio is infinite, or 0/0, and JSON has
/// neither.
fn likelihood_ratio(a: usize, n: usize, b: usize, m: usize) -> Estimate {
    if n == 0 || m == 0 || b == 0 {
        return Estimate::UNKNOWN;
    }
    let [a, n, b, m] = [a, n, b, m].map(|v| v as f64);
    let value = (a / n) / (b / m);
    if a == 0.0 {
        return Estimate { value: Some(value), ci95: None };
    }
    let se = (1.0 / a - 1.0 / n + 1.0 / b - 1.0 / m).sqrt();
    Estimate { value: Some(value), ci95: Some([(value.ln() - Z95 * se).exp(), (value.ln() + Z95 * se).exp()]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_table_that_fits_the_papers_figures() {
        let t = Confusion { tp: 39, fp: 9, fn_: 5, tn: 24 };
        assert_eq!(t.n(), 77);
        let percent = |v: Option<f64>| format!("{:.2}", v.unwrap() * 100.0);
        assert_eq!(percent(t.accuracy().value), "81.82");
        assert_eq!(percent(t.sensitivity().value), "88.64");
        assert_eq!(percent(t.ppv().value), "81.25");
        assert_eq!(percent(t.f1()), "84.78");
        assert_eq!(percent(t.specificity().value), "72.73");
        let lr = t.lr_positive();
        assert!((lr.value.unwrap() - 3.25).abs() < 1e-12);
        // exp(ln 3.25 ± 1.959964 √(1/39 − 1/44 + 1/9 − 1/33))
        let ci = lr.ci95.unwrap();
        assert!((ci[0] - 1.843_277).abs() < 1e-5 && (ci[1] - 5.730_285).abs() < 1e-3, "{ci:?}");
    }

    #[test]
    fn ratios_of_nothing_are_unknown() {
        let t = Confusion { tp: 0, fp: 0, fn_: 0, tn: 4 };
        assert_eq!(t.sensitivity(), Estimate::UNKNOWN);
        assert_eq!(t.ppv(), Estimate::UNKNOWN);
        assert_eq!(t.f1(), None);
        assert_eq!(t.lr_positive(), Estimate::UNKNOWN);
        let perfect = Confusion { tp: 3, fp: 0, fn_: 0, tn: 4 };
        assert_eq!(perfect.lr_positive(), Estimate::UNKNOWN);
        assert_eq!(perfect.lr_negative(), Estimate { value: Some(0.0), ci95: None });
    }
}
