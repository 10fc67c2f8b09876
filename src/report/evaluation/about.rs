//! Which model, for what use, judged on what; where the numbers came from.

use super::Sources;
use super::words::{counted, percent, threshold};
use crate::evaluate::{Evaluation, IdKind};
use crate::report::html::{bounded, intended_use};
use std::fmt::Write;

/// Files named; a run may have any number.
const FILES: usize = 12;
/// Characters of a file's name.
const FILE_NAME: usize = 120;
/// Notes shown.
const NOTES: usize = 20;

/// The model's name, not yet escaped.
pub(super) fn model_name(e: &Evaluation) -> &str {
    e.model.as_ref().and_then(|m| m.name.as_deref()).filter(|n| !n.is_empty()).unwrap_or("a model that the results do not name")
}

/// Title, intended use, what was judged, what to know before believing it.
pub(super) fn header(page: &mut String, e: &Evaluation, sources: &Sources) {
    let use_ = e.model.as_ref().and_then(|m| m.intended_use.as_deref());
    let version = e.model.as_ref().and_then(|m| m.version.as_deref()).filter(|v| !v.is_empty());
    let version = version.map_or(String::new(), |v| format!(", version {}", bounded(v, 60)));
    let _ = write!(page, "<header><h1>RADnet evaluation: {}{version}</h1>\n{}", bounded(model_name(e), 120), intended_use(use_));
    page.push_str("<dl class=\"facts\">\n");
    for (name, words) in facts(e, sources) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{words}</dd>");
    }
    page.push_str("</dl>\n");
    if !e.notes.is_empty() {
        page.push_str("<ul class=\"findings notes\">\n");
        e.notes.iter().take(NOTES).for_each(|note| {
            let _ = writeln!(page, "<li>{}</li>", bounded(note, 400));
        });
        page.push_str("</ul>\n");
    }
    page.push_str("</header>\n");
}

fn facts(e: &Evaluation, sources: &Sources) -> Vec<(&'static str, String)> {
    let prevalence = if e.n == 0 { String::new() } else { format!(" ({})", percent(e.positives as f64 / e.n as f64)) };
    let kind = match sources.id {
        Some(IdKind::Sop) => ("slice", "slices"),
        Some(_) => ("scan", "scans"),
        None => ("case", "cases"),
    };
    let origin = match e.threshold_from {
        "option" => "given on the command line",
        "model" => "the model’s own",
        _ => "the default; the scores name none",
    };
    let mut facts = vec![
        ("Class judged", bounded(&e.class, 60)),
        ("Cases", format!("{}, {} positive{prevalence}", counted(e.n, kind.0, kind.1), e.positives)),
        ("Threshold", format!("{} and above is positive ({origin})", threshold(e.threshold))),
        ("Labels", bounded(&sources.labels, FILE_NAME)),
        ("Results", files(&sources.results)),
    ];
    if let Some(id) = sources.id {
        facts.push(("Joined by", matched_by(id).to_owned()));
    }
    facts.push((
        "Left out",
        format!(
            "{} without a score, {} without a label, {}",
            counted(e.missing_scores, "labelled case", "labelled cases"),
            counted(e.missing_labels, "scored case", "scored cases"),
            counted(e.errors.len(), "failed result", "failed results")
        ),
    ));
    facts
}

fn matched_by(id: IdKind) -> &'static str {
    match id {
        IdKind::Study => "StudyInstanceUID",
        IdKind::Series => "SeriesInstanceUID",
        IdKind::Sop => "SOPInstanceUID, one case per slice",
        IdKind::Folder => "name of the folder",
    }
}

fn files(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(FILES).map(|name| bounded(name, FILE_NAME)).collect();
    let more = if names.len() > FILES { format!(" and {} more", names.len() - FILES) } else { String::new() };
    shown.join(", ") + &more
}

/// How to make the same numbers again.
pub(super) fn footer(page: &mut String, e: &Evaluation) {
    let hash =
        e.model.as_ref().and_then(|m| m.sha256.as_deref()).filter(|h| !h.is_empty()).map_or("unknown".to_owned(), |h| bounded(h, 64));
    let resampled =
        if e.bootstrap == 0 { "no bootstrap".to_owned() } else { format!("bootstrap of {} resamples, seed {}", e.bootstrap, e.seed) };
    let _ = writeln!(page, "<footer>Model sha256 {hash}<br/>RADnet {}, {}; {resampled}</footer>", env!("CARGO_PKG_VERSION"), e.schema);
}
