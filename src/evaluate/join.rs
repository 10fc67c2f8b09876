//! The cases that labels and scores have in common.

use super::labels::{Format, Labels, canonical_class, malformed};
use super::scores::{Acquisition, Scores};
use crate::Result;

/// The cases of both sides for one class, sorted by identifier, so that nothing depends on the order of either file.
#[derive(Clone, Debug, Default)]
pub struct Cases<'a> {
    /// Identifiers.
    pub ids: Vec<&'a str>,
    /// The truth.
    pub truth: Vec<bool>,
    /// What the model said.
    pub scores: Vec<f64>,
    /// Per reader.
    pub reads: Vec<Vec<bool>>,
    /// How each scan was made, where results say so.
    pub acquisitions: Vec<Option<&'a Acquisition>>,
    /// Cases whose own label contradicts the majority of the readers.
    pub label_against_majority: usize,
    /// Labelled cases without a score.
    pub missing_scores: Vec<&'a str>,
    /// Scored cases without a label.
    pub missing_labels: Vec<&'a str>,
    /// A labelled case that nobody can have a score for, left out without being missed.
    pub known_unreadable: Option<&'a str>,
    /// Per case, its places in the labels and in the scores.
    pub(super) places: Vec<(u32, u32)>,
}

/// RSNA 2019's image whose published pixel data is cut off; every reader of the set leaves it out.
const TRUNCATED: &str = "ID_6431af929";

impl Cases<'_> {
    /// Truth and scores of the same cases for another class; none where a case has no score for it.
    pub(super) fn of_class(&self, labels: &Labels, column: usize, scores: &Scores, class: &str) -> Option<(Vec<bool>, Vec<f64>)> {
        let of_class = scores.of_class(class)?;
        let truth = self.places.iter().map(|&(label, _)| labels.cases[label as usize].truth(column)).collect();
        let p: Vec<f64> = self.places.iter().map(|&(_, score)| of_class[score as usize]).collect();
        p.iter().all(|p| !p.is_nan()).then_some((truth, p))
    }
}

/// Pairs labels and scores of `class`.
///
/// # Errors
/// `corrupt_file` when either side lacks the class, when identifiers are in one and not in the other (unless allowed), or when none is in
/// both.
pub fn join<'a>(labels: &'a Labels, scores: &'a Scores, class: &str, allow_missing: bool) -> Result<Cases<'a>> {
    let class = canonical_class(class);
    let column = labels.column(class)?;
    if !scores.is_empty() && !scores.classes().iter().any(|c| c == class) {
        return Err(malformed(format!("the scores have no class `{class}`, only {}", scores.classes().join(", "))));
    }
    let mut cases = Cases { reads: vec![vec![]; labels.readers.len()], ..Cases::default() };
    let of_class = scores.of_class(class).unwrap_or_default();
    for (label, case) in labels.cases.iter().enumerate() {
        let Some(place) = scores.place(&case.id) else {
            match &*case.id {
                TRUNCATED if labels.format == Format::Rsna => cases.known_unreadable = Some(TRUNCATED),
                id => cases.missing_scores.push(id),
            }
            continue;
        };
        let p = of_class[place as usize];
        if p.is_nan() {
            return Err(malformed(format!("`{}` has no score for the class `{class}`", case.id)));
        }
        cases.ids.push(&case.id);
        cases.places.push((label as u32, place));
        cases.truth.push(case.truth(column));
        cases.scores.push(p);
        cases.reads.iter_mut().enumerate().for_each(|(reader, all)| all.push(case.read(reader, column)));
        cases.acquisitions.push(scores.acquisition_at(place));
        cases.label_against_majority += usize::from(case.against_majority);
    }
    cases.missing_labels = scores.ids().filter(|id| labels.case(id).is_none()).collect();
    cases.missing_labels.sort_unstable();
    refuse_missing(&cases, scores, allow_missing)?;
    Ok(cases)
}

fn refuse_missing(cases: &Cases, scores: &Scores, allow_missing: bool) -> Result<()> {
    let some = |ids: &[&str]| match ids {
        [] => "none".to_owned(),
        ids => ids.iter().take(3).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "),
    };
    let failed = match scores.failed() {
        [] => String::new(),
        [one] => format!(" (1 result is an error: `{}`, {})", one.id, one.code),
        [first, ..] => format!(" ({} results are errors, the first `{}`, {})", scores.failed().len(), first.id, first.code),
    };
    let (unscored, unlabelled) = (&cases.missing_scores, &cases.missing_labels);
    if cases.truth.is_empty() {
        let message = "labels and scores have no identifier in common";
        return Err(malformed(format!(
            "{message}: labels name {}; scores name {}{failed}; --id says which identifier of a result is meant",
            some(unscored),
            some(unlabelled)
        )));
    }
    if allow_missing || unscored.is_empty() && unlabelled.is_empty() {
        return Ok(());
    }
    let side = |ids: &[&str], what: &str| match ids {
        [] => String::new(),
        ids => format!("{} {what}, such as {}", ids.len(), some(ids)),
    };
    let sides = [
        side(unscored, "labelled but not scored") + if unscored.is_empty() { "" } else { &failed },
        side(unlabelled, "scored but not labelled"),
    ];
    let sides: Vec<&str> = sides.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    Err(malformed(format!("cases of one file only: {}; --allow-missing leaves them out", sides.join("; "))))
}
