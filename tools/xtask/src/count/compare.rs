//! What differs from the expected counts, and whether that is a failure.

use super::{Counts, Loops};
use std::collections::BTreeMap;
use std::fmt;

/// How far a count may be from the expected one.
const TOLERANCE: f64 = 0.02;

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// It costs more than before, or its loops are other ones.
    Worse(String),
    /// It is expected and not there.
    Gone(String),
    /// It is there and not expected.
    New(String),
    /// It costs less than before: worth an update, so that the next regression shows.
    Better(String),
}

impl Finding {
    /// Whether the check fails.
    pub fn fails(&self) -> bool {
        !matches!(self, Self::Better(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worse(what) => write!(f, "worse: {what}"),
            Self::Gone(what) => write!(f, "gone: {what}"),
            Self::New(what) => write!(f, "new: {what}"),
            Self::Better(what) => write!(f, "better (cargo xtask count --update keeps it): {what}"),
        }
    }
}

/// All differences beyond the tolerance; parts that were not counted are not compared.
pub fn compare(expected: &Counts, counted: &Counts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !counted.instructions.is_empty() {
        compare_maps(&expected.instructions, &counted.instructions, &mut findings, |name, &before, &now, findings| {
            findings.extend(cost(&format!("{name}: instructions"), before, now));
        });
    }
    if !counted.loops.is_empty() {
        compare_maps(&expected.loops, &counted.loops, &mut findings, compare_loops);
    }
    findings
}

fn compare_maps<T>(
    expected: &BTreeMap<String, BTreeMap<String, T>>,
    counted: &BTreeMap<String, BTreeMap<String, T>>,
    findings: &mut Vec<Finding>,
    mut both: impl FnMut(&str, &T, &T, &mut Vec<Finding>),
) {
    let flat = |map: &BTreeMap<String, BTreeMap<String, T>>| -> Vec<String> {
        map.iter().flat_map(|(tier, names)| names.keys().map(move |name| format!("{tier} {name}"))).collect()
    };
    let (known, there) = (flat(expected), flat(counted));
    findings.extend(known.iter().filter(|name| !there.contains(name)).cloned().map(Finding::Gone));
    findings.extend(there.iter().filter(|name| !known.contains(name)).cloned().map(Finding::New));
    for (tier, names) in expected {
        for (name, before) in names {
            if let Some(now) = counted.get(tier).and_then(|names| names.get(name)) {
                both(&format!("{tier} {name}"), before, now, findings);
            }
        }
    }
}

/// More is worse, less is better.
fn cost(what: &str, before: u64, now: u64) -> Option<Finding> {
    let change = now as f64 / before.max(1) as f64 - 1.0;
    let text = format!("{what} {before} -> {now} ({:+.1} %)", 100.0 * change);
    match change {
        c if c > TOLERANCE => Some(Finding::Worse(text)),
        c if c < -TOLERANCE => Some(Finding::Better(text)),
        _ => None,
    }
}

/// Other loops are a failure either way: fewer multiply-adds in a loop may be a smaller tile. Fewer accesses of the stack are not.
fn compare_loops(name: &str, before: &Loops, now: &Loops, findings: &mut Vec<Finding>) {
    let parts = [
        ("loops", before.loops, now.loops),
        ("multiply-adds", before.multiply_adds, now.multiply_adds),
        ("loads", before.loads, now.loads),
    ];
    for (part, before, now) in parts {
        let change = (now as f64 / before.max(1) as f64 - 1.0).abs();
        if change > TOLERANCE {
            findings.push(Finding::Worse(format!("{name}: {part} in the innermost loops {before} -> {now}")));
        }
    }
    let text = format!("{name}: accesses of the stack in the innermost loops {} -> {}", before.stack, now.stack);
    match now.stack.cmp(&before.stack) {
        std::cmp::Ordering::Greater => findings.push(Finding::Worse(text)),
        std::cmp::Ordering::Less => findings.push(Finding::Better(text)),
        std::cmp::Ordering::Equal => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(instructions: u64, loops: Loops) -> Counts {
        let one = |tier: &str| (tier.to_owned(), BTreeMap::from([("1×1 fp32 24×128×64".to_owned(), instructions)]));
        let kernel = ("avx512".to_owned(), BTreeMap::from([("gemm::Gemm".to_owned(), loops)]));
        Counts { compiler: "rustc".into(), instructions: [one("avx2"), one("portable")].into(), loops: [kernel].into() }
    }

    const LOOPS: Loops = Loops { loops: 10, multiply_adds: 240, loads: 100, stack: 0 };

    /// The planted slowdown: 3 % more instructions fail in each tier, 1.9 % pass, and 3 % less is said and passes.
    #[test]
    fn a_slowdown_fails() {
        let expected = counts(100_000, LOOPS);
        assert!(compare(&expected, &counts(101_900, LOOPS)).is_empty());
        let slower = compare(&expected, &counts(103_000, LOOPS));
        assert!(slower.len() == 2 && slower.iter().all(Finding::fails), "{slower:?}");
        assert!(slower[0].to_string().contains("avx2 1×1 fp32 24×128×64: instructions 100000 -> 103000 (+3.0 %)"), "{}", slower[0]);
        let faster = compare(&expected, &counts(97_000, LOOPS));
        assert!(faster.len() == 2 && !faster.iter().any(Finding::fails), "{faster:?}");
    }

    /// A spill, a smaller tile and more loads fail; spills that went away do not.
    #[test]
    fn other_loops_fail() {
        let expected = counts(1, Loops { stack: 2, ..LOOPS });
        let with = |loops| compare(&expected, &counts(1, loops));
        assert!(with(Loops { stack: 2, ..LOOPS }).is_empty());
        assert!(with(Loops { stack: 3, ..LOOPS })[0].fails());
        assert!(with(Loops { stack: 2, multiply_adds: 200, ..LOOPS })[0].fails());
        assert!(with(Loops { stack: 2, loads: 110, ..LOOPS })[0].fails());
        let fewer = with(LOOPS);
        assert!(fewer.len() == 1 && !fewer[0].fails());
    }

    /// A workload that vanished would never be slow again, and a new one has nothing to be compared with: both fail. What could not be
    /// counted here is not compared.
    #[test]
    fn names_must_match() {
        let (expected, mut other) = (counts(1, LOOPS), counts(1, LOOPS));
        let tier = other.instructions.get_mut("avx2").unwrap();
        tier.clear();
        tier.insert("1×1 int8".into(), 1);
        let findings = compare(&expected, &other);
        assert_eq!(findings, [Finding::Gone("avx2 1×1 fp32 24×128×64".into()), Finding::New("avx2 1×1 int8".into())]);
        assert!(findings.iter().all(Finding::fails));
        other.instructions.clear();
        assert!(compare(&expected, &other).is_empty());
    }
}
