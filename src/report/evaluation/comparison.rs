//! The paper's table: the model beside every reader; agreement; the one figure that the paper published.

use super::words::{NONE, counted, p_value, percent, plain, share};
use crate::evaluate::stats::{Estimate, wilson};
use crate::evaluate::{Evaluation, ReaderKappa, ReaderSummary};
use crate::report::html::{bounded, table};
use std::fmt::Write;

/// Readers listed; a label file can have any number of columns.
const READERS: usize = 100;
/// Pairs of readers listed.
const PAIRS: usize = 200;
/// Characters of a reader's name.
pub(super) const NAME: usize = 60;

/// The section, with or without readers.
pub(super) fn section(page: &mut String, e: &Evaluation) {
    page.push_str("<section>\n<h2>The model beside the readers</h2>\n");
    let mut rows = row("model", "Model", [&e.accuracy, &e.sensitivity, &e.specificity, &e.ppv, &e.f1], [NONE, NONE]);
    e.readers.iter().take(READERS).for_each(|reader| rows.push_str(&reader_row(reader)));
    let headings = [
        "",
        "Accuracy",
        "Sensitivity (recall)",
        "Specificity",
        "Precision (PPV)",
        "F1",
        "McNemar p, against the model",
        "Cohen’s κ with the model",
    ];
    table(page, "compare", "Each against the same truth, with 95 % intervals (Wilson; F1 by bootstrap)", &headings, &rows);
    if e.readers.is_empty() {
        page.push_str(
            "<p class=\"note\">The label file has no reads of single readers, so there is nothing to compare the model with.</p>\n",
        );
    } else {
        more(page, e.readers.len(), READERS, "readers");
        page.push_str(
            "<p class=\"note\">McNemar’s test (exact, two-sided) asks whether reader and model are right on different numbers of cases. \
             Where the truth is the majority of these same readers, each reader helped to make it: their figures flatter them, the model’s \
             do not.</p>\n",
        );
    }
    published(page);
    if let Some(kappa) = &e.kappa {
        agreement(page, kappa, e.readers.len());
    }
    page.push_str("</section>\n");
}

fn reader_row(reader: &ReaderSummary) -> String {
    let figures = [&reader.accuracy, &reader.sensitivity, &reader.specificity, &reader.ppv, &reader.f1];
    row("", &bounded(&reader.name, NAME), figures, [&p_value(reader.mcnemar_p), &plain(reader.kappa, 3)])
}

fn row(style: &str, name: &str, figures: [&Estimate; 5], against: [&str; 2]) -> String {
    let mut row = format!("<tr class=\"{style}\"><th scope=\"row\">{name}</th>");
    for figure in figures {
        let (value, interval) = share(figure);
        let _ = write!(row, "<td>{value} <small>{interval}</small></td>");
    }
    against.iter().for_each(|text| {
        let _ = write!(row, "<td>{text}</td>");
    });
    row + "</tr>\n"
}

/// The only figure of the paper's abstract with a known denominator.
fn published(page: &mut String) {
    let (value, interval) = share(&wilson(63, 77));
    let _ = writeln!(
        page,
        "<p class=\"reference\"><strong>For reference, published on other scans:</strong> the RADnet paper (arXiv 1710.04934) states an \
         accuracy of 81.82 % on 77 brain CTs, that is 63/77 = {value} with a Wilson interval of {interval}. Another model, other scans, \
         other readers: it is no result of this evaluation and not to be compared with it case by case.</p>"
    );
}

fn agreement(page: &mut String, kappa: &ReaderKappa, readers: usize) {
    let fleiss =
        kappa.fleiss.map_or_else(|| format!("{NONE} (needs two readers who do not all say the same of every case)"), |k| format!("{k:.3}"));
    let _ = writeln!(
        page,
        "<h3>Agreement among the readers</h3>\n<p>Fleiss’ κ of {}: <strong>{fleiss}</strong></p>",
        counted(readers, "reader", "readers")
    );
    if kappa.pairs.is_empty() {
        return;
    }
    let mut rows = String::new();
    for pair in kappa.pairs.iter().take(PAIRS) {
        let [a, b] = [&pair.a, &pair.b].map(|name| bounded(name, NAME));
        let _ = writeln!(rows, "<tr><th scope=\"row\">{a} and {b}</th><td>{}</td></tr>", plain(pair.kappa, 3));
    }
    table(page, "pairs", "Cohen’s κ of each pair of readers", &["Readers", "κ"], &rows);
    more(page, kappa.pairs.len(), PAIRS, "pairs of readers");
}

/// Says how many a bounded list leaves out.
pub(super) fn more(page: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(page, "<p class=\"note\">{} more {what} are not listed here; the JSON has them all.</p>", all - shown);
    }
}

/// A difference to say in words, for the description of pictures.
pub(super) fn said(name: &str, estimate: &Estimate) -> String {
    estimate.value.map_or_else(|| format!("{name} unknown"), |v| format!("{name} {}", percent(v)))
}
