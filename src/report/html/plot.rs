//! The curve of slice probabilities.

use super::escape;
use crate::report::StudyOk;
use crate::report::chart::{Chart, Layout, Scale, Shape, key};
use std::fmt::Write;

const LAYOUT: Layout = Layout { width: 800.0, height: 250.0, left: 48.0, right: 24.0, top: 10.0, bottom: 50.0 };
/// Labels along the scan.
const LABELS: usize = 12;

/// One line per class over the slices, its threshold dashed, a mark per slice that says its values under the pointer. `number` is the
/// study's, so that names stay unique in the page.
pub(super) fn probabilities(study: &StudyOk, number: usize) -> String {
    let last = study.slices.len().saturating_sub(1) as f64;
    // A little room on both sides, also for a single slice.
    let x = Scale::new(-0.5, last + 0.5);
    let words = "One line for each class; the dashed line of its colour is its threshold. The table of all slices has the same numbers.";
    let mut chart = Chart::new(&format!("scan-{number}"), "Probability of each slice", words, LAYOUT, (x, Scale::UNIT));
    chart.ticks_y(&[0.0, 0.25, 0.5, 0.75, 1.0].map(|p| (p, p.to_string())));
    chart.ticks_x(&positions(study));
    let mut legend = String::from("<ul class=\"legend\">");
    for (series, (class, score)) in study.scan.iter().enumerate() {
        let (colour, shape) = (series % 6, Shape::of_series(series));
        chart.path(&format!("dashed c{colour}"), &[(-0.5, score.threshold), (last + 0.5, score.threshold)]);
        let line: Vec<(f64, f64)> = study.slices.iter().filter_map(|s| Some((s.index as f64, *s.probability.get(class)?))).collect();
        chart.path(&format!("line c{colour}"), &line);
        for slice in &study.slices {
            let Some(p) = slice.probability.get(class) else { continue };
            let image = slice.instance_number.map_or(String::new(), |n| format!(", image {n}"));
            let words = format!("slice {}{image}: {class} {p:.4}", slice.index);
            chart.mark(&format!("mark c{colour}"), shape, (slice.index as f64, *p), &words);
        }
        let sign = key(Some(&format!("line c{colour}")), Some((&format!("mark c{colour}"), shape)));
        let _ = write!(legend, "<li>{sign}<span>{}, threshold {:.4}</span></li>", escape(class), score.threshold);
    }
    format!("<figure class=\"wide\">{}<figcaption>{legend}</ul></figcaption></figure>\n", chart.finish())
}

fn positions(study: &StudyOk) -> Vec<(f64, Vec<String>)> {
    let step = study.slices.len().div_ceil(LABELS).max(1);
    let label = |position_mm: Option<f64>| position_mm.map_or(String::new(), |mm| format!("{mm:.0} mm"));
    study.slices.iter().step_by(step).map(|s| (s.index as f64, vec![s.index.to_string(), label(s.position_mm)])).collect()
}
