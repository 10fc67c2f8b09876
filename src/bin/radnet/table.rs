//! Results for a person: findings, a table of slices, a verdict a line, the model's intended use.

use crate::console::{Emphasis, Paint};
use comfy_table::{CellAlignment, Table, presets};
use radnet::finding::{Finding, Severity};
use radnet::report::result::runs;
use radnet::report::{ModelInfo, RunReport, SliceResult, StudyError, StudyOk, StudyResult};
use std::fmt::Write;

/// Longer scans show only the slices that come near a threshold.
const WHOLE_TABLE: usize = 80;
/// Near means this share of the threshold.
const NEAR: f64 = 0.5;
const BAR_CELLS: usize = 12;

/// One result.
pub(crate) fn result(result: &StudyResult, paint: Paint) -> String {
    match result {
        StudyResult::Ok(study) => judged(study, paint),
        StudyResult::Error(study) => failed(study, paint),
    }
}

/// After all results: how many of what, and what the model is for.
pub(crate) fn ending(report: &RunReport, paint: Paint) -> String {
    let mut text = String::new();
    if report.results.len() > 1 {
        let ok: Vec<&StudyOk> = report.results.iter().filter_map(|r| if let StudyResult::Ok(s) = r { Some(&**s) } else { None }).collect();
        let positive = ok.iter().filter(|s| s.scan.iter().any(|(_, c)| c.positive)).count();
        let errors = report.results.len() - ok.len();
        let _ = writeln!(
            text,
            "{} results: {positive} positive, {} negative, {errors} without a result",
            report.results.len(),
            ok.len() - positive
        );
    }
    text.push_str(&intended_use(&report.model, paint));
    text
}

/// What the model is for, in its own words.
pub(crate) fn intended_use(model: &ModelInfo, paint: Paint) -> String {
    let said = |v: &Option<String>| v.as_deref().filter(|v| !v.is_empty()).map(one_line);
    let Some(words) = said(&model.intended_use) else {
        return "Intended use: the model does not state one. Not a medical device.\n".to_owned();
    };
    let name = said(&model.name).unwrap_or_else(|| "unnamed".to_owned());
    let version = said(&model.version).unwrap_or_default();
    format!(
        "{} {words}\n{}\n",
        paint.text(Emphasis::Bold, "Intended use:"),
        paint.text(Emphasis::Faint, &format!("Model {name} {version}. Not a medical device."))
    )
}

fn judged(study: &StudyOk, paint: Paint) -> String {
    let mut text = heading(&study.source, study.series_instance_uid.as_deref(), paint);
    text.push_str(&findings(&study.findings, paint));
    text.push_str(&slices(study));
    for (class, _) in study.scan.iter() {
        text.push_str(&verdict(study, class, paint));
    }
    let t = &study.timing_ms;
    let times = format!(
        "{:.2} s: decode {:.2}, pre-processing {:.2}, inference {:.2}",
        t.total / 1e3,
        t.decode / 1e3,
        t.preprocess / 1e3,
        t.inference / 1e3
    );
    let _ = writeln!(text, "{}\n", paint.text(Emphasis::Faint, &times));
    text
}

fn failed(study: &StudyError, paint: Paint) -> String {
    let mut text = heading(&study.source, study.series_instance_uid.as_deref(), paint);
    text.push_str(&findings(&study.findings, paint));
    let _ = writeln!(text, "{}  {}: {}\n", paint.text(Emphasis::Alarm, "ERROR"), study.error.code, one_line(&study.error.message));
    text
}

fn heading(source: &str, series: Option<&str>, paint: Paint) -> String {
    let series = series.map_or(String::new(), |uid| format!("  series {}", one_line(uid)));
    format!("{}{}\n", paint.text(Emphasis::Bold, &one_line(source)), paint.text(Emphasis::Faint, &series))
}

/// One line per finding.
pub(crate) fn findings(findings: &[Finding], paint: Paint) -> String {
    let line = |f: &Finding| {
        let word = match f.severity {
            Severity::Warning => paint.text(Emphasis::Bold, "warning"),
            Severity::Info => "note   ".to_owned(),
        };
        format!("  {word} {}: {}\n", f.code.code(), one_line(&f.message))
    };
    findings.iter().map(line).collect()
}

fn slices(study: &StudyOk) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let classes: Vec<&str> = study.scan.iter().map(|(class, _)| class).collect();
    let single = classes.len() == 1;
    let mut head = vec!["slice".to_owned(), "image".to_owned(), "mm".to_owned()];
    head.extend(classes.iter().map(|c| one_line(c)));
    head.push(String::new());
    table.set_header(head);
    let shown: Vec<&SliceResult> = study.slices.iter().filter(|s| study.slices.len() <= WHOLE_TABLE || near(study, s)).collect();
    for slice in &shown {
        let mut row =
            vec![slice.index.to_string(), number(slice.instance_number), slice.position_mm.map_or("-".into(), |p| format!("{p:.1}"))];
        row.extend(slice.probability.iter().map(|(class, p)| format!("{p:.4}{}", if reaches(study, class, *p) { " *" } else { "  " })));
        row.push(if single { bar(slice.probability.iter().next().map_or(0.0, |(_, p)| *p)) } else { String::new() });
        table.add_row(row);
    }
    let columns = table.column_count();
    for column in table.column_iter_mut().take(columns - 1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let hidden = study.slices.len() - shown.len();
    if hidden > 0 {
        let _ = writeln!(text, "  {hidden} slices below half of their threshold are not shown; --json has them all");
    }
    text
}

/// "POSITIVE  any: scan score 0.9300 ≥ 0.5000; slices 11-14 (images 15-12, -31.5 to -16.5 mm)"
fn verdict(study: &StudyOk, class: &str, paint: Paint) -> String {
    let Some(score) = study.scan.get(class) else { return String::new() };
    let (word, relation) =
        if score.positive { (paint.text(Emphasis::Alarm, "POSITIVE"), "≥") } else { (paint.text(Emphasis::Bold, "negative"), "<") };
    let positive = study.positive_slices(class);
    let places = if positive.is_empty() { "no slice reaches it".to_owned() } else { places(study, &positive) };
    format!("{word}  {}: scan score {:.4} {relation} threshold {:.4}; {places}\n", one_line(class), score.score, score.threshold)
}

fn places(study: &StudyOk, indices: &[usize]) -> String {
    let of_run = |&(first, last): &(usize, usize)| {
        let (a, b) = (&study.slices[first], &study.slices[last]);
        let span = |from: String, to: String| if first == last { from } else { format!("{from} to {to}") };
        let mut details = Vec::new();
        if let (Some(from), Some(to)) = (a.instance_number, b.instance_number) {
            details.push(format!("image {}", span(from.to_string(), to.to_string())));
        }
        if let (Some(from), Some(to)) = (a.position_mm, b.position_mm) {
            details.push(format!("{} mm", span(format!("{from:.1}"), format!("{to:.1}"))));
        }
        let indices = span(first.to_string(), last.to_string());
        if details.is_empty() { indices } else { format!("{indices} ({})", details.join(", ")) }
    };
    let runs: Vec<String> = runs(indices).iter().map(of_run).collect();
    format!("{} {}", if indices.len() == 1 { "slice" } else { "slices" }, runs.join(", "))
}

fn near(study: &StudyOk, slice: &SliceResult) -> bool {
    slice.probability.iter().any(|(class, p)| study.scan.get(class).is_some_and(|s| *p >= s.threshold * NEAR))
}

fn reaches(study: &StudyOk, class: &str, probability: f64) -> bool {
    study.scan.get(class).is_some_and(|s| probability >= s.threshold)
}

fn number(value: Option<i64>) -> String {
    value.map_or("-".to_owned(), |v| v.to_string())
}

/// A bar of `BAR_CELLS` cells in steps of an eighth.
fn bar(probability: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (probability.clamp(0.0, 1.0) * (8 * BAR_CELLS) as f64).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Text from a file without what could move a terminal's cursor or start a line of its own.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use radnet::report::{ClassScore, PerClass, Timing};
    use std::sync::Arc;

    const PLAIN: Paint = Paint { colour: false };

    fn study(probabilities: &[f64]) -> StudyOk {
        let classes: Vec<Arc<str>> = vec!["any".into()];
        let slice = |(index, p): (usize, &f64)| SliceResult {
            index,
            sop_instance_uid: None,
            instance_number: Some(40 - index as i64),
            position_mm: Some(index as f64 * 5.0 - 31.5),
            probability: PerClass::new(&classes, [*p]),
            logit: PerClass::new(&classes, [0.0]),
        };
        let score = probabilities.iter().copied().fold(0.0, f64::max);
        StudyOk {
            study_instance_uid: None,
            series_instance_uid: None,
            source: "a\nb\x1b[2J".into(),
            acquisition: radnet::report::Acquisition::default(),
            scan: PerClass::new(&classes, [ClassScore { score, positive: score >= 0.5, threshold: 0.5 }]),
            slices: probabilities.iter().enumerate().map(slice).collect(),
            findings: Vec::new(),
            timing_ms: Timing::default(),
            maps: None,
        }
    }

    #[test]
    fn a_verdict_names_the_positive_slices() {
        let text = judged(&study(&[0.1, 0.5, 0.9, 0.2, 0.7]), PLAIN);
        let expected = "POSITIVE  any: scan score 0.9000 ≥ threshold 0.5000; slices 1 to 2 (image 39 to 38, -26.5 mm to -21.5 mm), 4 (image 36, -11.5 mm)";
        let expected = expected.replace("-26.5 mm to -21.5 mm", "-26.5 to -21.5 mm");
        assert!(text.contains(&expected), "{text}");
        assert!(judged(&study(&[0.1]), PLAIN).contains("negative  any: scan score 0.1000 < threshold 0.5000; no slice reaches it"));
    }

    /// A path cannot move the cursor or forge a line.
    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let text = judged(&study(&[0.1]), PLAIN);
        assert!(text.starts_with("a b [2J\n"), "{text:?}");
    }

    #[test]
    fn a_long_scan_shows_what_is_near() {
        let mut probabilities = vec![0.01; 300];
        probabilities[150] = 0.3;
        let text = judged(&study(&probabilities), PLAIN);
        assert!(text.contains("299 slices below half"), "{text}");
        assert!(text.lines().count() < 10);
    }

    #[test]
    fn bars_are_proportional() {
        assert_eq!([bar(0.0), bar(1.0), bar(0.5), bar(f64::NAN)], [String::new(), "█".repeat(12), "█".repeat(6), String::new()]);
    }
}
