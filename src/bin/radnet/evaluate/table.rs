//! An evaluation for a person: the model beside the readers, then what has no place in that table.

use crate::console::{Emphasis, Paint};
use comfy_table::{CellAlignment, Table, presets};
use radnet::evaluate::stats::Estimate;
use radnet::evaluate::{Evaluation, Subgroups};
use std::fmt::Write;

/// Errors and identifiers named; further ones are only counted.
const MAX_NAMED: usize = 10;

/// The whole text.
pub(crate) fn render(e: &Evaluation, paint: Paint) -> String {
    let mut text = String::new();
    let from = match e.threshold_from {
        "model" => " (the model's)",
        "default" => " (the default)",
        _ => "",
    };
    let heading = format!("Class {}: {} cases, {} positive; threshold {}{from}", e.class, e.n, e.positives, e.threshold);
    let _ = writeln!(text, "{}", paint.text(Emphasis::Bold, &heading));
    let _ = writeln!(text, "TP {}  FP {}  FN {}  TN {}\n", e.tp, e.fp, e.fn_, e.tn);
    text.push_str(&beside_readers(e));
    text.push('\n');
    text.push_str(&model_alone(e));
    if let Some(kappa) = &e.kappa {
        let _ = writeln!(text, "\nAgreement among readers: Fleiss' kappa {}", plain(kappa.fleiss));
        for pair in &kappa.pairs {
            let _ = writeln!(text, "  {} and {}: Cohen's kappa {}", pair.a, pair.b, plain(pair.kappa));
        }
    }
    let _ = write!(text, "\nOperating points (all but the first are chosen on these very cases)\n{}", operating_points(e));
    for table in &e.subgroups {
        let _ = write!(text, "\nBy {}\n{}", table.by, subgroup(table));
    }
    text.push_str(&remarks(e));
    text
}

/// What was left out, what failed, and what to know.
fn remarks(e: &Evaluation) -> String {
    let mut text = String::new();
    if e.missing_scores + e.missing_labels > 0 {
        let _ = writeln!(text, "\nLeft out: {} labelled but not scored, {} scored but not labelled", e.missing_scores, e.missing_labels);
    }
    match e.errors.len() {
        0 => {}
        1 => text.push_str("\n1 result is an error:\n"),
        n => {
            let _ = writeln!(text, "\n{n} results are errors:");
        }
    }
    for error in e.errors.iter().take(MAX_NAMED) {
        let _ = writeln!(text, "  {}  {}: {}", error.id, error.code, error.message);
    }
    if e.errors.len() > MAX_NAMED {
        let _ = writeln!(text, "  and {} more", e.errors.len() - MAX_NAMED);
    }
    for note in &e.notes {
        let _ = writeln!(text, "\nNote: {note}");
    }
    if let Some(model) = &e.model {
        let said = |v: &Option<String>| v.clone().unwrap_or_else(|| "unknown".to_owned());
        let _ = writeln!(text, "\nModel {} {}, sha256 {}", said(&model.name), said(&model.version), said(&model.sha256));
        let _ = writeln!(text, "Intended use: {} Not a medical device.", said(&model.intended_use));
    }
    text
}

fn operating_points(e: &Evaluation) -> String {
    let mut table = new_table(&["", "threshold", "sensitivity %", "specificity %", "PPV %", "NPV %"]);
    for row in &e.operating_points {
        let figures = [&row.sensitivity, &row.specificity, &row.ppv, &row.npv].map(percent);
        table.add_row([row.at.to_owned(), plain(row.threshold)].into_iter().chain(figures));
    }
    finished(table)
}

fn subgroup(subgroups: &Subgroups) -> String {
    let mut table = new_table(&["", "cases", "positive", "accuracy %", "sensitivity %", "specificity %", "AUC"]);
    for g in &subgroups.groups {
        let figures = [&g.accuracy, &g.sensitivity, &g.specificity].map(percent);
        let auc = plain(g.auc.estimate.value);
        table.add_row([g.name.clone(), g.n.to_string(), g.positives.to_string()].into_iter().chain(figures).chain([auc]));
    }
    finished(table)
}

/// The paper's table: one row a judge.
fn beside_readers(e: &Evaluation) -> String {
    let mut table = new_table(&["", "accuracy %", "sensitivity %", "specificity %", "PPV %", "F1 %", "McNemar p", "kappa"]);
    let model = [&e.accuracy, &e.sensitivity, &e.specificity, &e.ppv, &e.f1].map(percent);
    table.add_row(std::iter::once("model".to_owned()).chain(model).chain([String::new(), String::new()]));
    for r in &e.readers {
        let figures = [&r.accuracy, &r.sensitivity, &r.specificity, &r.ppv, &r.f1].map(percent);
        let against = [format!("{:.4}", r.mcnemar_p), plain(r.kappa)];
        table.add_row(std::iter::once(r.name.clone()).chain(figures).chain(against));
    }
    finished(table)
}

fn model_alone(e: &Evaluation) -> String {
    let mut table = new_table(&["", "value", "95 % interval"]);
    for (name, estimate) in [
        ("AUC", &e.auc.estimate),
        ("average precision", &e.average_precision),
        ("negative predictive value", &e.npv),
        ("positive likelihood ratio", &e.lr_positive),
        ("negative likelihood ratio", &e.lr_negative),
    ] {
        let interval = estimate.ci95.map_or("-".to_owned(), |[low, high]| format!("{low:.4} to {high:.4}"));
        let interval = if name == "AUC" && e.auc.degenerate { "- (degenerate)".to_owned() } else { interval };
        table.add_row([name.to_owned(), plain(estimate.value), interval]);
    }
    for (name, value) in [("log loss", e.log_loss), ("Brier score", e.brier), ("expected calibration error", e.calibration.ece)] {
        table.add_row([name.to_owned(), plain(value), String::new()]);
    }
    finished(table)
}

fn new_table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head.iter().copied());
    table
}

fn finished(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn percent(e: &Estimate) -> String {
    match (e.value, e.ci95) {
        (None, _) => "-".to_owned(),
        (Some(v), None) => format!("{:.2}", v * 100.0),
        (Some(v), Some([low, high])) => format!("{:.2} [{:.1}, {:.1}]", v * 100.0, low * 100.0, high * 100.0),
    }
}

fn plain(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.4}"))
}
