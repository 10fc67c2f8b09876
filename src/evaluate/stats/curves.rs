//! The ROC and precision-recall curves, of a size that can be drawn, and the operating points that studies report.

use super::Estimate;
use super::confusion::Confusion;
use super::ranked::{OperatingPoint, Ranked};
use serde::Serialize;

/// A point of the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RocPoint {
    /// Scores at or above are positive; null where nothing is.
    pub threshold: Option<f64>,
    /// 1 − specificity.
    pub fpr: f64,
    /// Sensitivity.
    pub tpr: f64,
}

/// A point of the precision-recall curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PrPoint {
    /// Scores at or above are positive.
    pub threshold: f64,
    /// Sensitivity.
    pub recall: f64,
    /// Positive predictive value.
    pub precision: f64,
}

/// Curves of no more points are given whole.
const WHOLE: usize = 2000;
/// Of longer curves, neighbours closer than this in both coordinates are left out: below what a drawing shows.
const ROC_STEP: f64 = 1.0 / 1000.0;
const PR_STEP: f64 = 1.0 / 500.0;

/// From (0, 0) to (1, 1), one point per distinct score; of long curves a few thousand, the convex hull among them. Empty without both
/// kinds of cases.
pub fn roc(ranked: &Ranked) -> Vec<RocPoint> {
    if ranked.positives() == 0 || ranked.negatives() == 0 {
        return Vec::new();
    }
    let (m, n) = (ranked.positives() as f64, ranked.negatives() as f64);
    let start = RocPoint { threshold: None, fpr: 0.0, tpr: 0.0 };
    let point = |p: OperatingPoint| RocPoint { threshold: Some(p.threshold), fpr: p.fp as f64 / n, tpr: p.tp as f64 / m };
    let points: Vec<RocPoint> = std::iter::once(start).chain(ranked.points().map(point)).collect();
    let kept = thinned(&points, |p| [p.fpr, p.tpr], ROC_STEP, &hull(&points));
    kept.into_iter().map(|i| points[i]).collect()
}

/// One point per distinct score, from the highest down; of long curves a few thousand. Empty without positives.
pub fn precision_recall(ranked: &Ranked) -> Vec<PrPoint> {
    if ranked.positives() == 0 {
        return Vec::new();
    }
    let m = ranked.positives() as f64;
    let point =
        |p: OperatingPoint| PrPoint { threshold: p.threshold, recall: p.tp as f64 / m, precision: p.tp as f64 / (p.tp + p.fp) as f64 };
    let points: Vec<PrPoint> = ranked.points().map(point).collect();
    let kept = thinned(&points, |p| [p.recall, p.precision], PR_STEP, &[]);
    kept.into_iter().map(|i| points[i]).collect()
}

/// Indices of the points to keep: the ends, `always` (ascending), and every point a step away from the last kept one.
fn thinned<P>(points: &[P], at: impl Fn(&P) -> [f64; 2], step: f64, always: &[usize]) -> Vec<usize> {
    if points.len() <= WHOLE {
        return (0..points.len()).collect();
    }
    let mut always = always.iter().copied().peekable();
    let mut kept = vec![0];
    let mut last = at(&points[0]);
    for (i, point) in points.iter().enumerate().skip(1) {
        let wanted = always.next_if(|&a| a <= i) == Some(i) || i + 1 == points.len();
        let here = at(point);
        if wanted || (here[0] - last[0]).abs() >= step || (here[1] - last[1]).abs() >= step {
            kept.push(i);
            last = here;
        }
    }
    kept
}

/// Indices of the upper convex hull of a curve that rises from left to right, but for its first point.
fn hull(points: &[RocPoint]) -> Vec<usize> {
    let mut hull: Vec<usize> = Vec::new();
    for (i, p) in points.iter().enumerate() {
        while let [.., a, b] = hull[..] {
            let (a, b) = (points[a], points[b]);
            if (b.fpr - a.fpr) * (p.tpr - a.tpr) < (b.tpr - a.tpr) * (p.fpr - a.fpr) {
                break;
            }
            hull.pop();
        }
        hull.push(i);
    }
    hull.retain(|&i| i > 0);
    hull
}

/// A threshold and what it gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperatingRow {
    /// What the threshold was chosen for.
    pub at: &'static str,
    /// Scores at or above are positive; null where no score gives what is wanted.
    pub threshold: Option<f64>,
    /// Wilson.
    pub sensitivity: Estimate,
    /// Wilson.
    pub specificity: Estimate,
    /// Wilson.
    pub ppv: Estimate,
    /// Wilson.
    pub npv: Estimate,
}

/// The table: the threshold in use, the largest Youden index, the highest threshold with a wanted sensitivity, and the lowest with a wanted
/// specificity. All but the first are chosen on the cases that they are measured on.
pub fn operating_table(ranked: &Ranked, threshold: f64) -> Vec<OperatingRow> {
    let points: Vec<OperatingPoint> = ranked.points().collect();
    let (m, n) = (ranked.positives(), ranked.negatives());
    let both = m > 0 && n > 0;
    let youden = |p: &OperatingPoint| p.tp as i128 * n as i128 - p.fp as i128 * m as i128;
    // Of equal ones the first, which has the highest threshold.
    let best = points.iter().rev().max_by_key(|p| youden(p)).filter(|_| both);
    let sensitive = |percent: usize| points.iter().find(|p| p.tp * 100 >= percent * m).filter(|_| m > 0);
    let specific = |percent: usize| points.iter().rev().find(|p| (n - p.fp) * 100 >= percent * n).filter(|_| n > 0);
    let in_use = points.iter().rev().find(|p| p.threshold >= threshold).copied().unwrap_or(OperatingPoint { threshold, tp: 0, fp: 0 });
    let in_use = OperatingPoint { threshold, ..in_use };
    [
        ("threshold", Some(&in_use)),
        ("youden", best),
        ("sensitivity >= 0.90", sensitive(90)),
        ("sensitivity >= 0.95", sensitive(95)),
        ("specificity >= 0.90", specific(90)),
        ("specificity >= 0.95", specific(95)),
    ]
    .map(|(at, point)| row(at, point, m, n))
    .into()
}

fn row(at: &'static str, point: Option<&OperatingPoint>, positives: usize, negatives: usize) -> OperatingRow {
    let Some(p) = point else {
        let unknown = Estimate::UNKNOWN;
        return OperatingRow { at, threshold: None, sensitivity: unknown, specificity: unknown, ppv: unknown, npv: unknown };
    };
    let t = Confusion { tp: p.tp, fp: p.fp, fn_: positives - p.tp, tn: negatives - p.fp };
    OperatingRow {
        at,
        threshold: Some(p.threshold),
        sensitivity: t.sensitivity(),
        specificity: t.specificity(),
        ppv: t.ppv(),
        npv: t.npv(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(n: usize) -> Ranked {
        // Positives lean high: score and truth from two multiplicative sequences.
        let uniform = |i: usize, k: u64| (((i as u64 + 1).wrapping_mul(k) >> 11) as f64) / (1_u64 << 53) as f64;
        let truth: Vec<bool> = (0..n).map(|i| uniform(i, 0x9e37_79b9_7f4a_7c15) < 0.3).collect();
        let scores: Vec<f64> = (0..n).map(|i| uniform(i, 0xd1b5_4a32_d192_ed03).powf(if truth[i] { 0.4 } else { 1.5 })).collect();
        Ranked::new(&truth, &scores)
    }

    /// The area under the thinned curve and its hull are those of the whole curve, to what can be drawn.
    #[test]
    fn long_curves_are_thinned_without_a_visible_change() {
        let ranked = many(60_000);
        let thin = roc(&ranked);
        let whole: Vec<RocPoint> = std::iter::once(thin[0])
            .chain(ranked.points().map(|p| RocPoint {
                threshold: Some(p.threshold),
                fpr: p.fp as f64 / ranked.negatives() as f64,
                tpr: p.tp as f64 / ranked.positives() as f64,
            }))
            .collect();
        assert!(whole.len() > 50_000 && thin.len() < 4000, "{} of {}", thin.len(), whole.len());
        let area = |c: &[RocPoint]| c.array_windows().map(|[a, b]| (b.fpr - a.fpr) * (a.tpr + b.tpr) / 2.0).sum::<f64>();
        assert!((area(&thin) - ranked.auc().estimate.value.unwrap()).abs() < 1e-3);
        assert_eq!((thin.last().unwrap().fpr, thin.last().unwrap().tpr), (1.0, 1.0));
        let corners = |c: &[RocPoint]| hull(c).into_iter().map(|i| c[i]).collect::<Vec<_>>();
        assert_eq!(corners(&thin), corners(&whole));
        let pr = precision_recall(&ranked);
        assert!(pr.len() < 6000 && pr.last().unwrap().recall == 1.0, "{}", pr.len());
    }

    #[test]
    fn short_curves_are_whole() {
        let ranked = Ranked::new(&[true, false, true], &[0.9, 0.5, 0.5]);
        let expected = [(None, 0.0, 0.0), (Some(0.9), 0.0, 0.5), (Some(0.5), 1.0, 1.0)];
        assert_eq!(roc(&ranked), expected.map(|(threshold, fpr, tpr)| RocPoint { threshold, fpr, tpr }));
        assert_eq!(precision_recall(&ranked)[1], PrPoint { threshold: 0.5, recall: 1.0, precision: 2.0 / 3.0 });
        assert!(roc(&Ranked::new(&[true], &[0.5])).is_empty() && precision_recall(&Ranked::new(&[false], &[0.5])).is_empty());
    }

    #[test]
    fn thresholds_for_a_wanted_rate() {
        // Ten positives at 0.1, 0.2 … 1.0 and ten negatives 0.05 below each.
        let truth: Vec<bool> = (0..20).map(|i| i % 2 == 0).collect();
        let scores: Vec<f64> = (0..20).map(|i| f64::from(i / 2 + 1) / 10.0 - if i % 2 == 0 { 0.0 } else { 0.05 }).collect();
        let table = operating_table(&Ranked::new(&truth, &scores), 0.72);
        let thresholds: Vec<Option<f64>> = table.iter().map(|r| r.threshold).collect();
        let at = |i: usize| Some(scores[i]);
        assert_eq!(thresholds, [Some(0.72), at(18), at(2), at(0), at(16), at(18)]);
        assert_eq!(table[0].sensitivity.value, Some(0.3));
        assert_eq!(table[0].specificity.value, Some(0.7));
        assert_eq!(table[5].specificity.value, Some(1.0));
        let hopeless = operating_table(&Ranked::new(&[false, true], &[0.9, 0.1]), 1.0);
        assert_eq!((hopeless[0].sensitivity.value, hopeless[0].ppv.value), (Some(0.0), None));
        assert_eq!((hopeless[4].threshold, hopeless[4].specificity.value), (None, None));
        let healthy = operating_table(&Ranked::new(&[false, false], &[0.9, 0.1]), 0.5);
        assert_eq!((healthy[1].threshold, healthy[2].threshold, healthy[0].sensitivity.value), (None, None, None));
    }
}
