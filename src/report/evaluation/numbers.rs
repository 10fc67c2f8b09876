//! The headline numbers: tiles to see at once, a table with every measure, its interval, its method, and a reason where there is none.

use super::words::{number, plain, share};
use crate::evaluate::Evaluation;
use crate::evaluate::stats::Estimate;
use crate::report::html::table;
use std::fmt::Write;

/// Four figures to see at once.
pub(super) fn tiles(page: &mut String, e: &Evaluation) {
    page.push_str("<dl class=\"tiles\">\n");
    let auc = if e.auc.degenerate { (plain(e.auc.estimate.value, 3), String::new()) } else { number(&e.auc.estimate, 3) };
    let figures =
        [("Accuracy", share(&e.accuracy)), ("Sensitivity", share(&e.sensitivity)), ("Specificity", share(&e.specificity)), ("AUC", auc)];
    for (name, (value, interval)) in figures {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value} <small>{interval}</small></dd></div>");
    }
    page.push_str("</dl>\n");
}

/// Every measure of the model.
pub(super) fn section(page: &mut String, e: &Evaluation) {
    let mut rows = String::new();
    let (positives, negatives) = (e.tp + e.fn_, e.fp + e.tn);
    let both = (positives == 0 || negatives == 0).then_some("needs positive and negative cases");
    let none = |wanted: usize, why: &'static str| (wanted == 0).then_some(why);
    let shares = [
        ("Accuracy", "(TP + TN) / n; Wilson", &e.accuracy, none(e.n, "no cases")),
        ("Sensitivity, recall", "TP / (TP + FN); Wilson", &e.sensitivity, none(positives, "no case is positive in truth")),
        ("Specificity", "TN / (TN + FP); Wilson", &e.specificity, none(negatives, "no case is negative in truth")),
        ("Positive predictive value, precision", "TP / (TP + FP); Wilson", &e.ppv, none(e.tp + e.fp, "no case was called positive")),
        ("Negative predictive value", "TN / (TN + FN); Wilson", &e.npv, none(e.tn + e.fn_, "no case was called negative")),
        ("F1", "2 TP / (2 TP + FP + FN); bootstrap", &e.f1, none(e.tp + e.fp + e.fn_, "no positives, in truth or called")),
    ];
    shares.into_iter().for_each(|(name, method, estimate, why)| row(&mut rows, (name, method), share(estimate), why));
    let ratio = |count: usize, why| both.or(none(count, why));
    let (plus, minus) = (ratio(e.fp, "infinite or unknown: no false positives"), ratio(e.tn, "infinite or unknown: no true negatives"));
    row(&mut rows, ("Positive likelihood ratio", "sensitivity / (1 − specificity); log method"), number(&e.lr_positive, 2), plus);
    row(&mut rows, ("Negative likelihood ratio", "(1 − sensitivity) / specificity; log method"), number(&e.lr_negative, 3), minus);
    auc_row(&mut rows, e, both);
    let precision = none(positives, "no case is positive in truth");
    row(&mut rows, ("Average precision", "area under precision over recall; bootstrap"), number(&e.average_precision, 4), precision);
    let alone = |value: Option<f64>| number(&Estimate { value, ci95: None }, 4);
    row(
        &mut rows,
        ("Log loss", "mean −log p of the truth; RSNA’s weights when its six classes are there"),
        alone(e.log_loss),
        Some("no cases"),
    );
    row(&mut rows, ("Brier score", "mean squared error of the probability"), alone(e.brier), Some("no cases"));
    row(&mut rows, ("Expected calibration error", "ten equal bins"), alone(e.calibration.ece), Some("no cases"));
    page.push_str("<section>\n<h2>Every number of the model</h2>\n");
    table(page, "numbers", "At the threshold where it needs one; intervals hold 95 %", &["Measure", "Value"], &rows);
    page.push_str("</section>\n");
}

fn auc_row(rows: &mut String, e: &Evaluation, both: Option<&str>) {
    let (value, interval) = number(&e.auc.estimate, 4);
    let name = ("Area under the ROC curve", "DeLong");
    if e.auc.degenerate {
        return row(
            rows,
            name,
            (value, String::new()),
            Some("degenerate: at exactly 0 or 1 DeLong’s interval has no width and says nothing"),
        );
    }
    row(rows, name, (value, interval), both);
}

/// `why` stands where there is no interval; a measure that never has one gives its reason only when the value lacks too.
fn row(rows: &mut String, (name, method): (&str, &str), (value, interval): (String, String), why: Option<&str>) {
    let missing = value == super::words::NONE || name.starts_with("Area");
    let last = match (interval.is_empty(), why) {
        (false, _) => format!("<small>{interval}</small>"),
        (true, Some(why)) if missing => format!("<span class=\"note\">{why}</span>"),
        (true, _) => String::new(),
    };
    let _ = writeln!(rows, "<tr><th scope=\"row\">{name}<small>{method}</small></th><td>{value} {last}</td></tr>");
}
