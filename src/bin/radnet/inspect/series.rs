//! Studies and series as text.

use crate::console::{Emphasis, Paint};
use crate::table::{findings, one_line};
use radnet::dicom::{Inspection, SeriesState, SeriesSummary, SourceInspection, StudyInspection};
use std::fmt::Write;

/// Every PATH, then every study.
pub(super) fn text(inspection: &Inspection, paint: Paint) -> String {
    let mut text: String = inspection.sources.iter().map(|s| source(s, paint)).collect();
    for s in &inspection.studies {
        text.push('\n');
        text.push_str(&study(s, paint));
    }
    if inspection.studies.iter().any(|s| s.series.len() > 1) {
        let _ = writeln!(text, "\n{}", paint.text(Emphasis::Faint, "Among several series, in this order:"));
        for rule in &inspection.choice_rules {
            let _ = writeln!(text, "{}", paint.text(Emphasis::Faint, &format!("  {rule}")));
        }
    }
    text
}

fn source(source: &SourceInspection, paint: Paint) -> String {
    let mut text = format!("{}  {} images", paint.text(Emphasis::Bold, &one_line(&source.source)), source.images);
    for (what, n) in &source.ignored {
        let _ = write!(text, ", {n} × {}", one_line(what));
    }
    text.push('\n');
    for problem in &source.problems {
        let path = problem.path.as_deref().map_or(String::new(), |p| format!("{}: ", one_line(p)));
        let _ = writeln!(text, "  {} {}: {path}{}", paint.text(Emphasis::Alarm, "unreadable"), problem.code, one_line(&problem.message));
    }
    text
}

fn study(study: &StudyInspection, paint: Paint) -> String {
    let uid = study.study_instance_uid.as_deref().map_or("unknown".to_owned(), one_line);
    let mut text = format!("{} {uid}  {}\n", paint.text(Emphasis::Bold, "study"), paint.text(Emphasis::Faint, &one_line(&study.source)));
    for s in &study.series {
        text.push_str(&series(s, paint));
    }
    if !study.findings.is_empty() {
        text.push_str("  findings of the chosen series:\n");
        text.push_str(&findings(&study.findings, paint));
    }
    if let Some(error) = &study.error {
        let path = error.path.as_deref().map_or(String::new(), |p| format!("{}: ", one_line(p)));
        let _ = writeln!(text, "{}  {}: {path}{}", paint.text(Emphasis::Alarm, "ERROR"), error.code, one_line(&error.message));
    }
    text
}

fn series(s: &SeriesSummary, paint: Paint) -> String {
    let mark = if s.state == SeriesState::Chosen { paint.text(Emphasis::Bold, "→") } else { " ".to_owned() };
    let number = s.series_number.map_or("-".to_owned(), |n| n.to_string());
    let mut text =
        format!("{mark} series {number}  {}  {}\n", state(s.state), paint.text(Emphasis::Faint, &one_line(&s.series_instance_uid)));
    for (key, value) in [("what", what(s)), ("images", geometry(s)), ("why", one_line(&s.reason))] {
        if !value.is_empty() {
            let _ = writeln!(text, "    {key:<7} {value}");
        }
    }
    text
}

fn what(s: &SeriesSummary) -> String {
    let words = [&s.modality, &s.description, &s.body_part, &s.convolution_kernel.join("\\"), &s.image_type.join("\\"), &s.manufacturer];
    words.iter().map(|w| one_line(w)).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(", ")
}

fn geometry(s: &SeriesSummary) -> String {
    let mut words = vec![format!("{} images, {} slices of {}×{}", s.images, s.slices, s.rows, s.cols)];
    if let Some([y, x]) = s.pixel_spacing_mm {
        words.push(if y == x { format!("{y:.4} mm") } else { format!("{y:.4}×{x:.4} mm") });
    }
    for (name, range) in [("thickness", s.slice_thickness_mm), ("step", s.step_mm), ("from", s.range_mm)] {
        let Some([low, high]) = range else { continue };
        words.push(if low == high { format!("{name} {low:.2} mm") } else { format!("{name} {low:.2} to {high:.2} mm") });
    }
    if let Some(tilt) = s.tilt_deg.filter(|t| t.abs() >= 0.05) {
        words.push(format!("tilt {tilt:.1}°"));
    }
    words.join(", ")
}

fn state(state: SeriesState) -> &'static str {
    match state {
        SeriesState::Chosen => "chosen",
        SeriesState::NotChosen => "not chosen",
        SeriesState::OnlyWhenNamed => "only when named",
        SeriesState::Localizer => "localizer",
        SeriesState::NotCt => "not CT",
        SeriesState::Unusable => "unusable",
        _ => "other",
    }
}
