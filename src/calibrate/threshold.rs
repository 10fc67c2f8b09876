//! The threshold for a wanted sensitivity or specificity, and how sure it is.

use crate::evaluate::stats::Estimate;
use crate::evaluate::stats::bootstrap::Bootstrap;
use crate::evaluate::stats::confusion::Confusion;
use crate::{Error, ErrorKind, Result};
use serde::Serialize;

/// What is wanted on the cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The highest threshold with at least this sensitivity.
    Sensitivity(f64),
    /// The lowest threshold with at least this specificity.
    Specificity(f64),
    /// The threshold with the largest sensitivity + specificity − 1 (Youden, Cancer 1950); of equal ones the highest.
    Youden,
}

/// A chosen threshold and what it gives on the cases that it was chosen on.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Scores at or above are positive; midway between two neighbouring scores.
    pub threshold: f64,
    /// Of the choice, by resampling the cases; the temperature is kept.
    pub threshold_ci95: Option<[f64; 2]>,
    /// The neighbouring scores: the threshold can lie anywhere between them with the same decisions.
    pub between: [f64; 2],
    /// The decisions.
    pub confusion: Confusion,
    /// Wilson.
    pub sensitivity: Estimate,
    /// Wilson.
    pub specificity: Estimate,
}

/// What calling positive from one distinct score upwards gives.
#[derive(Clone, Copy)]
struct Point {
    level: f64,
    tp: usize,
    fp: usize,
}

/// Cases by falling score.
struct Sorted(Vec<(f64, bool)>);

impl Sorted {
    fn new(truth: &[bool], scores: &[f64]) -> Self {
        let mut cases: Vec<(f64, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
        cases.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Self(cases)
    }

    /// One point per distinct score of a resample in which case `i` is there `times(i)` times.
    fn points(&self, times: impl Fn(usize) -> usize, points: &mut Vec<Point>) {
        points.clear();
        let (mut tp, mut fp) = (0, 0);
        for (i, &(level, truth)) in self.0.iter().enumerate() {
            let n = times(i);
            if n == 0 {
                continue;
            }
            if truth {
                tp += n
            } else {
                fp += n
            }
            match points.last_mut() {
                Some(last) if last.level == level => (last.tp, last.fp) = (tp, fp),
                _ => points.push(Point { level, tp, fp }),
            }
        }
    }
}

/// Chooses the threshold.
///
/// # Errors
/// `corrupt_file` when the cases cannot support a choice: no positives or no negatives, or the wanted value is reached only by calling all
/// of them, or none of the positive ones, positive.
pub fn choose(truth: &[bool], scores: &[f64], target: Target, bootstrap: &Bootstrap) -> Result<Choice> {
    let sorted = Sorted::new(truth, scores);
    let mut points = Vec::new();
    sorted.points(|_| 1, &mut points);
    let at = pick(&points, target).map_err(unsupported)?;
    let (threshold, between) = midway(&points, at);
    let confusion = Confusion::count(truth.iter().zip(scores).map(|(&t, &s)| (t, s >= threshold)));
    let resampled = |times: &[u32]| {
        let mut points = Vec::new();
        sorted.points(|i| times[i] as usize, &mut points);
        pick(&points, target).ok().map(|at| midway(&points, at).0)
    };
    Ok(Choice {
        threshold,
        threshold_ci95: bootstrap.interval_of_counts(truth.len(), resampled),
        between,
        confusion,
        sensitivity: confusion.sensitivity(),
        specificity: confusion.specificity(),
    })
}

/// A share of n cases as a number of cases must not miss it by rounding.
const ROUNDING: f64 = 1e-9;

/// The point chosen; it is never the last one, at which every case is positive.
fn pick(points: &[Point], target: Target) -> std::result::Result<usize, String> {
    let all = points.last().copied().unwrap_or(Point { level: 0.0, tp: 0, fp: 0 });
    let (positives, negatives) = (all.tp, all.fp);
    if positives == 0 || negatives == 0 {
        let lacking = if positives == 0 { "positive" } else { "negative" };
        return Err(format!("none of the {} cases is {lacking} in truth", positives + negatives));
    }
    let at = match target {
        Target::Sensitivity(wanted) => {
            let needed = (wanted * positives as f64 - ROUNDING).ceil() as usize;
            points.iter().position(|p| p.tp >= needed.max(1)).filter(|&i| points[i].fp < negatives).ok_or_else(|| {
                format!("a sensitivity of {wanted} ({needed} of {positives} positive cases) is reached only by calling every case positive")
            })?
        }
        Target::Specificity(wanted) => {
            let allowed = ((1.0 - wanted) * negatives as f64 + ROUNDING).floor() as usize;
            points.iter().rposition(|p| p.fp <= allowed && p.fp < negatives).filter(|&i| points[i].tp > 0).ok_or_else(|| {
                format!(
                    "a specificity of {wanted} ({allowed} false positives among {negatives} negative cases) is reached only by calling no \
                     positive case positive"
                )
            })?
        }
        Target::Youden => {
            let youden = |p: &Point| p.tp as f64 / positives as f64 - p.fp as f64 / negatives as f64;
            let best = (0..points.len()).fold(0, |best, i| if youden(&points[i]) > youden(&points[best]) { i } else { best });
            if youden(&points[best]) <= 0.0 {
                return Err("no threshold does better than chance".to_owned());
            }
            best
        }
    };
    Ok(at)
}

/// Midway between the point's score and the next lower one: as far as can be from both kinds of rounding.
fn midway(points: &[Point], at: usize) -> (f64, [f64; 2]) {
    let upper = points[at].level;
    let lower = points.get(at + 1).map_or(0.0, |p| p.level);
    let middle = f64::midpoint(lower, upper);
    (if middle > lower { middle } else { upper }, [lower, upper])
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::CorruptFile, format!("these cases cannot support a threshold: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { rounds: 300, seed: 1, pool: None };

    const TRUTH: [bool; 8] = [true, true, false, true, false, true, false, false];
    const SCORES: [f64; 8] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1];

    fn threshold(target: Target) -> f64 {
        choose(&TRUTH, &SCORES, target, &BOOTSTRAP).unwrap().threshold
    }

    #[test]
    fn the_highest_for_a_sensitivity_the_lowest_for_a_specificity() {
        assert_eq!(threshold(Target::Sensitivity(0.5)), 0.75);
        assert_eq!(threshold(Target::Sensitivity(0.51)), 0.55);
        assert_eq!(threshold(Target::Sensitivity(1.0)), 0.35);
        assert_eq!(threshold(Target::Specificity(0.75)), 0.55);
        assert_eq!(threshold(Target::Specificity(0.5)), 0.35);
        assert_eq!(threshold(Target::Specificity(1.0)), 0.75);
    }

    /// 0.75, 0.55 and 0.35 all have sensitivity + specificity − 1 = 0.5.
    #[test]
    fn of_equal_youden_indices_the_highest_threshold() {
        assert_eq!(threshold(Target::Youden), 0.75);
    }

    /// Exhaustively: no other cut reaches the wanted value with fewer errors of the other kind.
    #[test]
    fn no_other_cut_is_better() {
        let mut state = 3_u64;
        for _ in 0..300 {
            let mut draw = |n: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % n
            };
            let n = 2 + draw(12) as usize;
            let truth: Vec<bool> = (0..n).map(|_| draw(2) == 1).collect();
            let scores: Vec<f64> = (0..n).map(|_| draw(7) as f64 / 6.0).collect();
            let wanted = (1 + draw(20)) as f64 / 20.0;
            let cut = |t: f64| Confusion::count(truth.iter().zip(&scores).map(|(&a, &s)| (a, s >= t)));
            let levels = (0..=6).map(|i| f64::from(i) / 6.0);
            if let Ok(chosen) = choose(&truth, &scores, Target::Sensitivity(wanted), &Bootstrap { rounds: 0, ..BOOTSTRAP }) {
                let reaches = |c: Confusion| c.sensitivity().value.unwrap() >= wanted - 1e-12;
                assert!(reaches(chosen.confusion));
                assert!(levels.clone().all(|t| !reaches(cut(t)) || cut(t).tn <= chosen.confusion.tn));
            }
            if let Ok(chosen) = choose(&truth, &scores, Target::Specificity(wanted), &Bootstrap { rounds: 0, ..BOOTSTRAP }) {
                let reaches = |c: Confusion| c.specificity().value.unwrap() >= wanted - 1e-12;
                assert!(reaches(chosen.confusion));
                assert!(levels.clone().all(|t| !reaches(cut(t)) || cut(t).tp <= chosen.confusion.tp));
            }
        }
    }

    #[test]
    fn ties_are_never_parted() {
        let chosen = choose(&[true, false, true, false], &[0.5, 0.5, 0.9, 0.2], Target::Sensitivity(1.0), &BOOTSTRAP).unwrap();
        assert_eq!((chosen.threshold, chosen.confusion.fp, chosen.between), (0.35, 1, [0.2, 0.5]));
    }

    #[test]
    fn neighbours_without_a_number_between_them_are_parted_all_the_same() {
        let (low, high) = (0.5, 0.5_f64.next_up());
        let chosen = choose(&[true, false], &[high, low], Target::Sensitivity(1.0), &BOOTSTRAP).unwrap();
        assert_eq!((chosen.threshold, chosen.confusion.fp), (high, 0));
    }

    #[test]
    fn what_the_cases_cannot_support_is_refused() {
        let refusal = |truth: &[bool], scores: &[f64], target| choose(truth, scores, target, &BOOTSTRAP).unwrap_err().to_string();
        assert!(refusal(&[true, true], &[0.5, 0.6], Target::Sensitivity(0.9)).contains("none of the 2 cases is negative"));
        assert!(refusal(&[false], &[0.5], Target::Specificity(0.9)).contains("none of the 1 cases is positive"));
        assert!(refusal(&[], &[], Target::Youden).contains("none of the 0 cases"));
        assert!(refusal(&[true, false], &[0.1, 0.6], Target::Sensitivity(0.9)).contains("only by calling every case positive"));
        assert!(refusal(&[true, false], &[0.1, 0.6], Target::Specificity(0.9)).contains("only by calling no positive case positive"));
        assert!(refusal(&[true, false], &[0.5, 0.5], Target::Youden).contains("no threshold does better than chance"));
    }

    #[test]
    fn the_threshold_lies_in_its_interval_and_the_seed_decides_it() {
        let chosen = choose(&TRUTH, &SCORES, Target::Sensitivity(0.75), &BOOTSTRAP).unwrap();
        let [low, high] = chosen.threshold_ci95.unwrap();
        assert!(low < chosen.threshold && chosen.threshold < high);
        assert_eq!(choose(&TRUTH, &SCORES, Target::Sensitivity(0.75), &BOOTSTRAP).unwrap(), chosen);
    }
}
