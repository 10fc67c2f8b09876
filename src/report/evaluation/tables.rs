//! Operating points and subgroups in numbers.

use super::words::{number, share, threshold};
use crate::evaluate::stats::Estimate;
use crate::evaluate::{Evaluation, Subgroups};
use crate::report::html::{bounded, table};
use std::fmt::Write;

/// Rows of one table of subgroups.
const GROUPS: usize = 60;
/// Characters of a group's name.
const NAME: usize = 80;

/// Thresholds that studies report.
pub(super) fn operating_points(page: &mut String, e: &Evaluation) {
    let mut rows = String::new();
    for point in &e.operating_points {
        let at = point.threshold.map_or("<span class=\"note\">no score gives this</span>".to_owned(), threshold);
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th><td>{at}</td>", chosen_for(point.at));
        cells(&mut rows, [&point.sensitivity, &point.specificity, &point.ppv, &point.npv]);
    }
    page.push_str("<section>\n<h2>Operating points</h2>\n");
    let headings = ["Chosen for", "Threshold", "Sensitivity", "Specificity", "PPV", "NPV"];
    table(page, "compare", "What other thresholds would give; 95 % intervals (Wilson)", &headings, &rows);
    page.push_str(
        "<p class=\"note\">All but the first are chosen on the cases that they are measured on, so they flatter the model; choose a \
             threshold on other cases.</p>\n</section>\n",
    );
}

fn chosen_for(at: &str) -> String {
    match at {
        "threshold" => "the threshold in use".to_owned(),
        "youden" => "largest Youden index".to_owned(),
        other => bounded(&other.replace(">=", "≥").replace("0.90", "90 %").replace("0.95", "95 %"), NAME),
    }
}

/// One table for each thing that groups the scans.
pub(super) fn subgroups(page: &mut String, e: &Evaluation) {
    if e.subgroups.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Subgroups</h2>\n");
    e.subgroups.iter().for_each(|groups| one(page, groups));
    page.push_str("</section>\n");
}

fn one(page: &mut String, subgroups: &Subgroups) {
    let mut rows = String::new();
    for group in subgroups.groups.iter().take(GROUPS) {
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>", bounded(&group.name, NAME), group.n, group.positives);
        let (auc, interval) = number(&group.auc.estimate, 3);
        let interval = if group.auc.degenerate { "no interval" } else { &interval };
        let _ = write!(rows, "<td>{auc} <small>{interval}</small></td>");
        cells(&mut rows, [&group.accuracy, &group.sensitivity, &group.specificity]);
    }
    let headings = ["Group", "Cases", "Positive", "AUC", "Accuracy", "Sensitivity", "Specificity"];
    table(page, "compare", &format!("By {}", by(subgroups.by)), &headings, &rows);
    super::comparison::more(page, subgroups.groups.len(), GROUPS, "groups");
}

/// What groups the scans, in words.
pub(super) fn by(name: &str) -> &str {
    match name {
        "thickness" => "slice thickness",
        "tilt" => "gantry tilt",
        "kernel" => "reconstruction kernel",
        other => other,
    }
}

fn cells<const N: usize>(rows: &mut String, estimates: [&Estimate; N]) {
    for estimate in estimates {
        let (value, interval) = share(estimate);
        let _ = write!(rows, "<td>{value} <small>{interval}</small></td>");
    }
    rows.push_str("</tr>\n");
}
