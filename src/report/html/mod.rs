//! One self-contained HTML page per run: verdicts, the curve of slice probabilities, findings, pictures. Readable on a screen and on paper,
//! without scripts and without anything fetched from elsewhere.

mod page;
mod pictures;
mod plot;

pub(super) use page::{bounded, clipped, escape, intended_use, page, table};
pub use pictures::StudyPictures;

use super::result::{EngineInfo, ModelInfo, RunReport, StudyError, StudyOk, StudyResult};
use crate::finding::{Finding, Severity};
use base64::Engine as _;
use std::fmt::Write;

/// The page. `pictures` belong to the results of the same index; those without pictures have an empty entry or none.
pub fn render(report: &RunReport, pictures: &[StudyPictures]) -> String {
    let mut body = format!("<header><h1>RADnet report</h1>\n{}</header>\n", intended_use(report.model.intended_use.as_deref()));
    let none = StudyPictures::default();
    for (index, result) in report.results.iter().enumerate() {
        match result {
            StudyResult::Ok(study) => study_section(&mut body, index, study, pictures.get(index).unwrap_or(&none)),
            StudyResult::Error(study) => error_section(&mut body, study),
        }
    }
    let _ = writeln!(body, "<footer>{}</footer>", provenance(&report.radnet, &report.model));
    let name = report.model.name.as_deref().filter(|n| !n.is_empty()).unwrap_or("unnamed model");
    page(&format!("RADnet report: {name}"), &body)
}

fn study_section(page: &mut String, index: usize, study: &StudyOk, pictures: &StudyPictures) {
    let _ = write!(page, "<section class=\"study\">\n<h2>{}</h2>\n", escape(&study.source));
    identity(page, study.study_instance_uid.as_deref(), study.series_instance_uid.as_deref());
    let mut rows = String::new();
    for (class, score) in study.scan.iter() {
        let (word, style) = if score.positive { ("POSITIVE", "positive") } else { ("negative", "negative") };
        let _ = writeln!(
            rows,
            "<tr class=\"{style}\"><th scope=\"row\">{}</th><td><b>{word}</b></td><td>{:.4}</td><td>{:.4}</td><td>{}</td></tr>",
            escape(class),
            score.score,
            score.threshold,
            ranges(&study.positive_slices(class))
        );
    }
    table(page, "verdicts", "Verdict for each class", &["class", "verdict", "scan score", "threshold", "slices at or above"], &rows);
    findings(page, &study.findings);
    let _ = write!(page, "<h3>Probability along the scan, inferior to superior</h3>\n{}", plot::probabilities(study, index));
    show_pictures(page, study, pictures);
    slice_table(page, study);
    page.push_str("</section>\n");
}

fn error_section(page: &mut String, study: &StudyError) {
    let _ = write!(page, "<section class=\"refused\">\n<h2>{}</h2>\n", escape(&study.source));
    identity(page, study.study_instance_uid.as_deref(), study.series_instance_uid.as_deref());
    let (code, message) = (study.error.code, escape(&study.error.message));
    let _ = writeln!(page, "<p class=\"error\">No result: <b>{code}</b>: {message}</p>");
    findings(page, &study.findings);
    page.push_str("</section>\n");
}

fn identity(page: &mut String, study: Option<&str>, series: Option<&str>) {
    let uid = |uid: Option<&str>| uid.map_or("unknown".to_owned(), escape);
    let _ = writeln!(page, "<p class=\"uid\">study {}<br/>series {}</p>", uid(study), uid(series));
}

fn findings(page: &mut String, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    page.push_str("<h3>Findings about the images</h3>\n<ul class=\"findings\">\n");
    for finding in findings {
        let style = if finding.severity == Severity::Warning { "warning" } else { "info" };
        let _ = writeln!(page, "<li class=\"{style}\"><b>{}</b> {}</li>", finding.code.code(), escape(&finding.message));
    }
    page.push_str("</ul>\n");
}

fn show_pictures(page: &mut String, study: &StudyOk, pictures: &StudyPictures) {
    if !pictures.slices.is_empty() {
        page.push_str("<h3>The most suspicious slices</h3>\n");
    }
    for (index, png) in &pictures.slices {
        let slice = &study.slices[*index];
        let words: Vec<String> = slice.probability.iter().map(|(class, p)| format!("{} {p:.3}", escape(class))).collect();
        figure(page, png, &format!("slice {index}: {}", words.join(", ")));
    }
    if let Some(png) = &pictures.contact_sheet {
        page.push_str("<h3>The whole scan</h3>\n");
        figure(page, png, "every slice, inferior to superior; framed where a class reaches its threshold");
    }
}

fn figure(page: &mut String, png: &[u8], caption: &str) {
    page.push_str("<figure class=\"wide\"><img alt=\"");
    page.push_str(caption);
    page.push_str("\" src=\"data:image/png;base64,");
    base64::engine::general_purpose::STANDARD.encode_string(png, page);
    let _ = writeln!(page, "\"/><figcaption>{caption}</figcaption></figure>");
}

fn slice_table(page: &mut String, study: &StudyOk) {
    let classes: Vec<String> = study.scan.iter().map(|(class, _)| escape(class)).collect();
    let headings: Vec<&str> = ["slice", "image", "mm"].into_iter().chain(classes.iter().map(String::as_str)).collect();
    let mut rows = String::new();
    for slice in &study.slices {
        let number = slice.instance_number.map_or("–".to_owned(), |n| n.to_string());
        let position = slice.position_mm.map_or("–".to_owned(), |p| format!("{p:.1}"));
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th><td>{number}</td><td>{position}</td>", slice.index);
        for (class, p) in slice.probability.iter() {
            let positive = study.scan.get(class).is_some_and(|s| *p >= s.threshold);
            let _ = write!(rows, "<td{}>{p:.4}</td>", if positive { " class=\"positive\"" } else { "" });
        }
        rows.push_str("</tr>\n");
    }
    page.push_str("<details><summary>All slices</summary>\n");
    table(page, "slices", "Probability of each class in each slice", &headings, &rows);
    page.push_str("</details>\n");
}

fn provenance(radnet: &EngineInfo, model: &ModelInfo) -> String {
    let known = |v: &Option<String>| v.as_deref().filter(|v| !v.is_empty()).map_or("unknown".to_owned(), escape);
    format!(
        "model {} {}, sha256 {}<br/>RADnet {}, {} ({}), {}, {} threads",
        known(&model.name),
        known(&model.version),
        known(&model.sha256),
        radnet.version,
        known(&radnet.device),
        known(&radnet.isa),
        known(&radnet.precision),
        radnet.threads.map_or("?".to_owned(), |n| n.to_string())
    )
}

/// Indices as runs: "3–5, 8".
fn ranges(indices: &[usize]) -> String {
    if indices.is_empty() {
        return "none".to_owned();
    }
    let runs = super::result::runs(indices);
    let text = |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}–{last}") };
    runs.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::FindingCode;
    use crate::report::{ClassScore, ErrorInfo, PerClass, SliceResult, Timing};
    use std::sync::Arc;

    fn report() -> RunReport {
        let classes: Vec<Arc<str>> = vec!["any".into(), "<b>sub</b>".into()];
        let slice = |index| SliceResult {
            index,
            sop_instance_uid: None,
            instance_number: None,
            position_mm: None,
            probability: PerClass::new(&classes, [0.9, 0.1]),
            logit: PerClass::new(&classes, [2.0, -2.0]),
        };
        let score = |score, positive| ClassScore { score, positive, threshold: 0.5 };
        let study = StudyOk {
            study_instance_uid: None,
            series_instance_uid: Some("1.2".into()),
            source: "<script>alert(1)</script>".into(),
            acquisition: crate::report::Acquisition::default(),
            scan: PerClass::new(&classes, [score(0.9, true), score(0.1, false)]),
            slices: vec![slice(0)],
            findings: vec![Finding::warning(FindingCode::SingleSlice, "one & only")],
            timing_ms: Timing::default(),
            maps: None,
        };
        let model = ModelInfo { intended_use: Some("Research \"only\".".into()), ..ModelInfo::default() };
        let mut report = RunReport::new(EngineInfo::unopened(), model);
        report.results.push(StudyResult::judged(study));
        report.results.push(StudyResult::Error(StudyError {
            study_instance_uid: None,
            series_instance_uid: None,
            source: "b".into(),
            error: ErrorInfo { code: "not_ct", message: "MR <1>".into() },
            findings: Vec::new(),
        }));
        report
    }

    /// Text from files cannot become markup; nothing is fetched; what must be said is there, for one slice and for an error too.
    #[test]
    fn the_page_is_safe_and_complete() {
        let png = vec![1, 2, 3];
        let pictures = StudyPictures { slices: vec![(0, png.clone())], contact_sheet: Some(png) };
        let page = render(&report(), &[pictures]);
        assert!(!page.contains("<script") && !page.contains("<b>sub") && !page.contains("http") && !page.contains("NaN"));
        for words in [
            "POSITIVE",
            "negative",
            "single_slice",
            "one &amp; only",
            "not_ct",
            "MR &lt;1&gt;",
            "Research &quot;only&quot;.",
            "<svg",
            "AQID",
        ] {
            assert!(page.contains(words), "{words} is missing in {page}");
        }
        assert!(page.contains("Not a medical device"));
    }

    #[test]
    fn runs_are_joined() {
        assert_eq!(ranges(&[3, 4, 5, 8]), "3–5, 8");
        assert_eq!(ranges(&[]), "none");
    }
}
