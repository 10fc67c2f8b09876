//! What a quantisation came to, for a person.

use super::Outcome;
use crate::table::one_line;
use radnet::quantize::{ClassChange, Source};
use std::fmt::Write;

pub(super) fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    let m = &outcome.model;
    let _ = match outcome.record.ranges {
        Source::Norms { deviations } => writeln!(text, "Ranges from the model's norms, {deviations} standard deviations either way"),
        Source::Scans { scans, slices, margin, deviations } => {
            let beyond = 100.0 * margin;
            let _ = writeln!(text, "Ranges from the activations of {slices} slices of {scans} scan(s): {beyond} % beyond them,");
            writeln!(text, "and at the least {deviations} standard deviations either way by the model's norms")
        }
    };
    let _ = writeln!(text, "{}: {} {}, sha256 {}", m.file, one_line(&m.name), one_line(&m.version), m.sha256);
    if let Some(comparison) = &outcome.comparison {
        let _ = writeln!(text, "int8 against fp32 on {} slices of {} scan(s)", comparison.slices, comparison.scans);
        comparison.classes.iter().for_each(|class| class_text(&mut text, class));
    }
    if outcome.left_out > 0 {
        let _ = writeln!(text, "Left out, because they could not be read: {}", outcome.left_out);
    }
    text
}

fn class_text(text: &mut String, class: &ClassChange) {
    let _ = writeln!(text, "  {}", one_line(&class.class));
    let _ = writeln!(text, "    |Δp| of slices: at most {:.5}, {:.5} on average", class.slice_max, class.slice_mean);
    let _ = writeln!(text, "    |Δ| of scan scores: at most {:.5}, {:.5} on average", class.scan_max, class.scan_mean);
    let _ = writeln!(text, "    decisions changed: {}", class.flips.len());
    for flip in &class.flips {
        let _ = writeln!(text, "      {}: {:.4} became {:.4}, threshold {}", one_line(&flip.source), flip.fp32, flip.int8, flip.threshold);
    }
    if let Some(auc) = &class.auc {
        let (n, positives) = (auc.n, auc.positives);
        let _ = match (auc.fp32.estimate.value, auc.int8.estimate.value, auc.change) {
            (Some(before), Some(after), Some(change)) => {
                writeln!(text, "    AUC {before:.5} became {after:.5} ({change:+.5}) on {n} labelled scans, {positives} positive")
            }
            _ => writeln!(text, "    AUC unknown: the {n} labelled scans are all of one kind"),
        };
    }
}
