//! Which series of a study is read when none is named: one ordered list of rules, nothing learned, nothing hidden.
//!
//! Candidates are axial, non-contrast, not secondary, and readable; the others never get here. The first rule that tells two series apart
//! decides between them, and its words are the reason given for the one not used.

use super::hints::{BodyPart, Kernel};
use super::summary::SeriesSummary;
use std::cmp::Ordering;

/// Slices the model is meant for, in mm.
const WANTED_THICKNESS_MM: [f64; 2] = [2.5, 5.0];
/// Thickness as written may be a little off.
const THICKNESS_SLACK_MM: f64 = 0.01;
/// A series that covers less than this, and less than a quarter of what another one covers, is a fragment (a test or monitoring slice).
const FRAGMENT_MM: f64 = 40.0;

/// One rule: lower keys are preferred.
struct Rule {
    /// What the rule prefers, as in "not used: the chosen series ...".
    prefers: &'static str,
    key: fn(&SeriesSummary, &Context) -> i64,
}

/// What a rule may know about all candidates together.
struct Context {
    widest_mm: f64,
}

/// The rules in the order they are asked.
const RULES: &[Rule] = &[
    Rule { prefers: "is not labelled as another part of the body", key: |s, _| i64::from(s.choice.body_part == BodyPart::Other) },
    Rule { prefers: "covers more than a fragment of the head", key: |s, all| i64::from(is_fragment(s, all)) },
    Rule { prefers: "is ORIGINAL, not DERIVED", key: |s, _| i64::from(s.choice.derived) },
    Rule { prefers: "has a soft-tissue kernel, or a less sharp one", key: |s, _| sharpness(s.choice.kernel) },
    Rule { prefers: "has slices of 2.5 to 5 mm, or closer to that", key: |s, _| thickness_key(s.choice.thickness_mm) },
    Rule { prefers: "is labelled as a head", key: |s, _| i64::from(s.choice.body_part != BodyPart::Head) },
    Rule { prefers: "covers more of the body", key: |s, _| -(centimetres(s)) },
    Rule { prefers: "has more slices", key: |s, _| -i64::try_from(s.slices).unwrap_or(i64::MAX) },
    Rule { prefers: "has the lower series number", key: |s, _| s.series_number.unwrap_or(i64::MAX) },
];

/// What the rules prefer, in the order they are asked, for documentation and `inspect`.
pub fn choice_rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|r| r.prefers).chain([TIE])
}

/// Decides what no rule can.
const TIE: &str = "has the lower UID";

/// Index of the series that is read, none when there is no candidate.
pub(super) fn choose(candidates: &[&SeriesSummary]) -> Option<usize> {
    let all = context(candidates);
    (0..candidates.len()).min_by(|&a, &b| compare(candidates[a], candidates[b], &all).0)
}

/// Why `chosen` was preferred to `other`, in words that follow "the chosen series".
pub(super) fn why(chosen: &SeriesSummary, other: &SeriesSummary, candidates: &[&SeriesSummary]) -> &'static str {
    compare(chosen, other, &context(candidates)).1
}

fn compare(a: &SeriesSummary, b: &SeriesSummary, all: &Context) -> (Ordering, &'static str) {
    for rule in RULES {
        let order = (rule.key)(a, all).cmp(&(rule.key)(b, all));
        if order.is_ne() {
            return (order, rule.prefers);
        }
    }
    (a.series_instance_uid.cmp(&b.series_instance_uid), TIE)
}

fn context(candidates: &[&SeriesSummary]) -> Context {
    Context { widest_mm: candidates.iter().filter_map(|s| s.coverage_mm).fold(0.0, f64::max) }
}

fn is_fragment(s: &SeriesSummary, all: &Context) -> bool {
    let coverage = s.coverage_mm.unwrap_or(0.0);
    coverage < FRAGMENT_MM && coverage < all.widest_mm / 4.0
}

fn sharpness(kernel: Kernel) -> i64 {
    match kernel {
        Kernel::Soft => 0,
        Kernel::Unknown => 1,
        Kernel::Sharp => 2,
    }
}

/// How many times too thin or too thick, in thousandths; unknown comes last.
fn thickness_key(thickness_mm: Option<f64>) -> i64 {
    let [low, high] = WANTED_THICKNESS_MM;
    match thickness_mm {
        None => i64::MAX,
        Some(t) if t < low - THICKNESS_SLACK_MM => (low / t * 1000.0) as i64,
        Some(t) if t > high + THICKNESS_SLACK_MM => (t / high * 1000.0) as i64,
        Some(_) => 0,
    }
}

fn centimetres(s: &SeriesSummary) -> i64 {
    (s.coverage_mm.unwrap_or(0.0) / 10.0).round() as i64
}
