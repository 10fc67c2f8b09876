//! What was left out: failed results by code and by name, cases of one file only.

use super::comparison::more;
use super::words::counted;
use crate::evaluate::Evaluation;
use crate::report::html::{bounded, table};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Failed results listed by name.
const FAILED: usize = 100;
/// Missing cases listed by name, for each of the two files.
const NAMED: usize = 50;
/// Kinds of failure listed.
const CODES: usize = 40;

/// Nothing where nothing is left out.
pub(super) fn section(page: &mut String, e: &Evaluation) {
    if e.missing_scores + e.missing_labels + e.errors.len() == 0 {
        return;
    }
    page.push_str(
        "<section>\n<h2>Left out</h2>\n<p>None of these cases is in the numbers above: cases that fail or go missing for a reason make \
             the rest look better than all would.</p>\n<ul>\n",
    );
    for (count, one, many, ids) in [
        (e.missing_scores, "labelled case has no score", "labelled cases have no score", &e.unscored),
        (e.missing_labels, "scored case has no label", "scored cases have no label", &e.unlabelled),
    ] {
        let _ = writeln!(page, "<li>{}{}</li>", counted(count, one, many), named(count, ids));
    }
    let _ = writeln!(page, "<li>{}</li>\n</ul>", counted(e.errors.len(), "result is an error", "results are errors"));
    if !e.errors.is_empty() {
        failed(page, e);
    }
    page.push_str("</section>\n");
}

/// The first names, and how many more there are.
fn named(count: usize, ids: &[String]) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = ids.iter().take(NAMED).map(|id| bounded(id, 100)).collect();
    let more = if count > shown.len() { format!(" and {} more", count - shown.len()) } else { String::new() };
    format!(": {}{more}", shown.join(", "))
}

fn failed(page: &mut String, e: &Evaluation) {
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    e.errors.iter().for_each(|error| *codes.entry(&error.code).or_default() += 1);
    let mut rows = String::new();
    for (code, count) in codes.iter().take(CODES) {
        let _ = writeln!(rows, "<tr><th scope=\"row\">{}</th><td>{count}</td></tr>", bounded(code, 60));
    }
    table(page, "numbers", "Failed results by code", &["Code", "Results"], &rows);
    more(page, codes.len(), CODES, "codes");
    let mut rows = String::new();
    for error in e.errors.iter().take(FAILED) {
        let [id, code, message] = [bounded(&error.id, 100), bounded(&error.code, 60), bounded(&error.message, 240)];
        let _ = writeln!(rows, "<tr><th scope=\"row\">{id}</th><td>{code}</td><td>{message}</td></tr>");
    }
    table(page, "cases", "Failed results by name", &["Case", "Code", "Why"], &rows);
    more(page, e.errors.len(), FAILED, "failed results");
}
