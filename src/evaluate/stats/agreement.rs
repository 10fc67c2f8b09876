//! Agreement between readers, and between a reader and the model.

/// Cohen's kappa of two binary reads of the same cases; none when chance alone would agree always.
pub fn cohen_kappa(a: &[bool], b: &[bool]) -> Option<f64> {
    let n = a.len() as f64;
    let agree = a.iter().zip(b).filter(|(x, y)| x == y).count() as f64 / n;
    let share = |reads: &[bool]| reads.iter().filter(|&&r| r).count() as f64 / n;
    let (pa, pb) = (share(a), share(b));
    let chance = pa * pb + (1.0 - pa) * (1.0 - pb);
    (chance < 1.0).then(|| (agree - chance) / (1.0 - chance))
}

/// Fleiss' kappa of `readers` ≥ 2 binary reads; none when every read of every case is the same.
pub fn fleiss_kappa(readers: &[&[bool]]) -> Option<f64> {
    let raters = readers.len();
    let cases = readers.first()?.len();
    if raters < 2 || cases == 0 {
        return None;
    }
    let positive: Vec<usize> = (0..cases).map(|i| readers.iter().filter(|r| r[i]).count()).collect();
    let pairs = (raters * (raters - 1)) as f64;
    let agree = positive.iter().map(|&p| (p * p + (raters - p) * (raters - p) - raters) as f64 / pairs).sum::<f64>() / cases as f64;
    let share = positive.iter().sum::<usize>() as f64 / (cases * raters) as f64;
    let chance = share * share + (1.0 - share) * (1.0 - share);
    (chance < 1.0).then(|| (agree - chance) / (1.0 - chance))
}

/// McNemar's exact two-sided test on paired correctness: `only_a` cases that only A got right, `only_b` that only B did.
pub fn mcnemar_exact(only_a: usize, only_b: usize) -> f64 {
    let n = only_a + only_b;
    // Σ_{k ≤ min} C(n, k) / 2ⁿ, in logarithms so that thousands of discordant pairs do not overflow.
    let mut log_choose = 0.0;
    let log_half = n as f64 * 0.5f64.ln();
    let mut tail = 0.0;
    for k in 0..=only_a.min(only_b) {
        tail += (log_choose + log_half).exp();
        log_choose += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_of_a_textbook_table() {
        // 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: κ = 0.4.
        let table = [(true, true, 20), (true, false, 5), (false, true, 10), (false, false, 15)];
        let reads = |pick: fn(&(bool, bool, usize)) -> bool| -> Vec<bool> { table.iter().flat_map(|t| vec![pick(t); t.2]).collect() };
        assert!((cohen_kappa(&reads(|t| t.0), &reads(|t| t.1)).unwrap() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn unanimous_reads_leave_kappa_open() {
        assert_eq!(cohen_kappa(&[true, true], &[true, true]), None);
        assert_eq!(fleiss_kappa(&[&[false, false], &[false, false], &[false, false]]), None);
        assert_eq!(fleiss_kappa(&[&[true, false], &[true, false], &[true, false]]), Some(1.0));
    }

    #[test]
    fn mcnemar_by_hand() {
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert!((mcnemar_exact(0, 5) - 2.0 / 32.0).abs() < 1e-15);
        assert!((mcnemar_exact(8, 1) - 2.0 * 10.0 / 512.0).abs() < 1e-14);
        assert_eq!(mcnemar_exact(4, 4), 1.0);
        assert!(mcnemar_exact(900, 1100) > 0.0);
    }
}
