//! What a calibration came to, for a person.

use super::Outcome;
use radnet::calibrate::temperature::RANGE;
use radnet::evaluate::stats::Estimate;
use std::fmt::Write;

pub(super) fn render(outcome: &Outcome) -> String {
    let r = &outcome.record;
    let mut text = String::new();
    let unit = if r.id == "sop" { "slices" } else { "scans" };
    let _ = writeln!(text, "Class {}: {} {unit}, {} positive", r.class, r.n, r.positives);
    if r.left_out > 0 {
        let _ = writeln!(text, "Left out: {}, only labelled or only scored", r.left_out);
    }
    if let Some(t) = &r.temperature {
        let _ = writeln!(text, "Temperature {:.4}: log loss {:.4}, was {:.4}", t.value, t.log_loss_after, t.log_loss_before);
        if let Some(bound) = t.at_bound {
            let _ = writeln!(
                text,
                "  This is the {bound} bound of {} to {}: these cases cannot tell the temperature; --no-temperature leaves it",
                RANGE[0], RANGE[1]
            );
        }
    }
    let interval = r.threshold.ci95.map_or(String::new(), |[low, high]| format!(", 95 % CI {low:.4}\u{2013}{high:.4} by bootstrap"));
    let _ = writeln!(text, "Threshold {:.6}{interval}; was {}", r.threshold.after, r.threshold.before);
    let _ = writeln!(text, "  between the scores {:.6} and {:.6}", r.threshold.between[0], r.threshold.between[1]);
    share(&mut text, "Sensitivity", &r.sensitivity, r.tp, r.positives);
    share(&mut text, "Specificity", &r.specificity, r.tn, r.n - r.positives);
    text.push_str("These are the cases that the threshold was chosen on; judge the new model on others.\n");
    if r.id == "sop" {
        text.push_str("It was chosen on slices; the engine compares the score of a scan with it.\n");
    }
    let m = &outcome.model;
    let _ = writeln!(text, "{}: {} {}, sha256 {}", m.file, m.name, m.version, m.sha256);
    text
}

fn share(text: &mut String, name: &str, estimate: &Estimate, k: usize, n: usize) {
    if let (Some(value), Some([low, high])) = (estimate.value, estimate.ci95) {
        let [value, low, high] = [value, low, high].map(|v| v * 100.0);
        let _ = writeln!(text, "{name} {value:.1} % ({k} of {n}), 95 % CI {low:.1}\u{2013}{high:.1}: at least {low:.1} %");
    }
}
