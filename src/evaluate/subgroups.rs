//! The same judgement by scanner and protocol, where results say how the scans were made.

use super::join::Cases;
use super::scores::Acquisition;
use super::stats::Estimate;
use super::stats::confusion::Confusion;
use super::stats::ranked::{Auc, Ranked};
use serde::Serialize;
use std::collections::BTreeMap;

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subgroups {
    /// `manufacturer`, `kernel`, `thickness` or `tilt`.
    pub by: &'static str,
    /// By name, or from small to large; cases whose results do not say are in a group `unknown` at the end.
    pub groups: Vec<Subgroup>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subgroup {
    /// As the headers say, or the range.
    pub name: String,
    /// Cases.
    pub n: usize,
    /// Cases that are positive in truth.
    pub positives: usize,
    /// Wilson.
    pub accuracy: Estimate,
    /// Wilson.
    pub sensitivity: Estimate,
    /// Wilson.
    pub specificity: Estimate,
    /// DeLong.
    pub auc: Auc,
}

/// A group's place in its table, and its name.
type Key = (u8, String);
/// The group of a scan; none where its headers do not say.
type KeyOf<'a> = &'a dyn Fn(&Acquisition) -> Option<Key>;

const UNKNOWN: u8 = 2;
/// Further names share one row.
const MAX_NAMES: usize = 30;

/// Where a value in mm or degrees is put: below the end of the first range that holds it.
const THICKNESS: [(f64, &str); 4] =
    [(1.5, "at most 1.5 mm"), (3.0, "over 1.5 to 3 mm"), (5.0, "over 3 to 5 mm"), (f64::INFINITY, "over 5 mm")];
const TILT: [(f64, &str); 3] = [(0.5, "at most 0.5 degrees"), (10.0, "over 0.5 to 10 degrees"), (f64::INFINITY, "over 10 degrees")];

/// A table for each thing that at least one result says.
pub(super) fn subgroups(cases: &Cases, threshold: f64) -> Vec<Subgroups> {
    let name = |text: &Option<String>| text.as_ref().map(|t| t.trim().to_owned());
    let tables: [(&'static str, KeyOf); 4] = [
        ("manufacturer", &|a| name(&a.manufacturer).map(|n| (0, n.to_uppercase()))),
        ("kernel", &|a| name(&a.kernel).map(|n| (0, n))),
        ("thickness", &|a| ranged(a.thickness_mm, &THICKNESS)),
        ("tilt", &|a| ranged(a.tilt_deg.map(f64::abs), &TILT)),
    ];
    tables.into_iter().filter_map(|(by, key)| table(cases, threshold, by, key)).collect()
}

/// The digit keeps ranges in their order.
fn ranged(value: Option<f64>, ranges: &[(f64, &str)]) -> Option<Key> {
    let value = value.filter(|v| v.is_finite())?;
    let at = ranges.iter().position(|(end, _)| value <= *end)?;
    Some((0, format!("{at}{}", ranges[at].1)))
}

fn table(cases: &Cases, threshold: f64, by: &'static str, key: &dyn Fn(&Acquisition) -> Option<Key>) -> Option<Subgroups> {
    let mut members: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (case, acquisition) in cases.acquisitions.iter().enumerate() {
        let key = acquisition.and_then(key).unwrap_or((UNKNOWN, "unknown".to_owned()));
        members.entry(key).or_default().push(case);
    }
    if members.keys().all(|(place, _)| *place == UNKNOWN) {
        return None;
    }
    let ranges = matches!(by, "thickness" | "tilt");
    let groups = few(members).into_iter().map(|((place, name), members)| {
        let name = if ranges && place == 0 { name[1..].to_owned() } else { name };
        group(cases, threshold, name, &members)
    });
    Some(Subgroups { by, groups: groups.collect() })
}

/// Keeps the largest groups, and puts the rest into one.
fn few(mut members: BTreeMap<Key, Vec<usize>>) -> BTreeMap<Key, Vec<usize>> {
    while members.len() > MAX_NAMES {
        let Some(smallest) = members.iter().filter(|((place, _), _)| *place == 0).min_by_key(|(_, m)| m.len()).map(|(k, _)| k.clone())
        else {
            break;
        };
        let rest = members.remove(&smallest).unwrap_or_default();
        members.entry((1, "others".to_owned())).or_default().extend(rest);
    }
    members
}

fn group(cases: &Cases, threshold: f64, name: String, members: &[usize]) -> Subgroup {
    let truth: Vec<bool> = members.iter().map(|&i| cases.truth[i]).collect();
    let scores: Vec<f64> = members.iter().map(|&i| cases.scores[i]).collect();
    let t = Confusion::count(truth.iter().copied().zip(scores.iter().map(|&s| s >= threshold)));
    Subgroup {
        name,
        n: t.n(),
        positives: t.tp + t.fn_,
        accuracy: t.accuracy(),
        sensitivity: t.sensitivity(),
        specificity: t.specificity(),
        auc: Ranked::new(&truth, &scores).auc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_order_and_the_rest_is_unknown() {
        let made = |manufacturer: &str, thickness_mm| Acquisition {
            manufacturer: Some(manufacturer.to_owned()),
            thickness_mm,
            ..Acquisition::default()
        };
        let scans = [made("GE Medical Systems", Some(5.0)), made("GE MEDICAL SYSTEMS", Some(0.6)), made("Philips", None)];
        let cases = Cases {
            ids: vec!["a", "b", "c", "d"],
            truth: vec![true, false, true, false],
            scores: vec![0.9, 0.1, 0.2, 0.3],
            acquisitions: vec![Some(&scans[0]), Some(&scans[1]), Some(&scans[2]), None],
            ..Cases::default()
        };
        let tables = subgroups(&cases, 0.5);
        let named: Vec<(&str, Vec<(&str, usize)>)> =
            tables.iter().map(|t| (t.by, t.groups.iter().map(|g| (&*g.name, g.n)).collect())).collect();
        let expected = [
            ("manufacturer", vec![("GE MEDICAL SYSTEMS", 2), ("PHILIPS", 1), ("unknown", 1)]),
            ("thickness", vec![("at most 1.5 mm", 1), ("over 3 to 5 mm", 1), ("unknown", 2)]),
        ];
        assert_eq!(named, expected);
        assert_eq!(tables[0].groups[0].auc.estimate.value, Some(1.0));
        assert_eq!(tables[0].groups[1].sensitivity.value, Some(0.0));
    }

    #[test]
    fn many_names_share_a_row() {
        let scans: Vec<Acquisition> = (0..50).map(|i| Acquisition { kernel: Some(format!("K{i}")), ..Acquisition::default() }).collect();
        let cases =
            Cases { truth: vec![true; 50], scores: vec![0.9; 50], acquisitions: scans.iter().map(Some).collect(), ..Cases::default() };
        let groups = &subgroups(&cases, 0.5)[0].groups;
        assert_eq!((groups.len(), groups.iter().map(|g| g.n).sum::<usize>()), (MAX_NAMES, 50));
        assert_eq!(groups.last().unwrap().name, "others");
    }
}
