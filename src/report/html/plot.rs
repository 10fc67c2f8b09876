//! The curve of slice probabilities as inline SVG.

use super::escape;
use crate::report::StudyOk;
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 36.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 34.0;
/// Distinct for the colour-blind, dark enough for paper.
const COLOURS: [&str; 6] = ["#0b62a4", "#b5470b", "#117a4b", "#7a3e9d", "#8a6d00", "#a3195b"];

/// One line per class over the slices, its threshold dashed, a dot per slice that says its values under the pointer.
pub(super) fn probabilities(study: &StudyOk) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"probability per slice\">\n");
    axes(&mut svg, study);
    for (number, (class, score)) in study.scan.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let threshold = y(score.threshold);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{threshold:.1}\" y2=\"{threshold:.1}\" stroke=\"{colour}\" stroke-dasharray=\"5 4\" opacity=\"0.6\"/>",
            WIDTH - RIGHT
        );
        curve(&mut svg, study, class, colour);
        let at = LEFT + 130.0 * (number % 6) as f64;
        let _ =
            writeln!(svg, "<text x=\"{at:.0}\" y=\"{}\" style=\"fill:{colour}\">{}</text>", 12 + 12 * (number / 6).min(1), escape(class));
    }
    svg.push_str("</svg>");
    svg
}

fn axes(svg: &mut String, study: &StudyOk) {
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y(tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e3e7eb\"/><text x=\"4\" y=\"{:.1}\">{tick}</text>",
            WIDTH - RIGHT,
            at + 4.0
        );
    }
    let slices = study.slices.len();
    let step = slices.div_ceil(12).max(1);
    for slice in study.slices.iter().step_by(step) {
        let label = slice.position_mm.map_or(String::new(), |mm| format!("{mm:.0} mm"));
        let (at, low) = (x(slice.index, slices), HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            low + 15.0,
            slice.index,
            low + 29.0
        );
    }
}

fn curve(svg: &mut String, study: &StudyOk, class: &str, colour: &str) {
    let slices = study.slices.len();
    let points = || study.slices.iter().filter_map(|s| s.probability.get(class).map(|p| (s, *p)));
    let line: Vec<String> = points().map(|(s, p)| format!("{:.1},{:.1}", x(s.index, slices), y(p))).collect();
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", line.join(" "));
    for (slice, p) in points() {
        let image = slice.instance_number.map_or(String::new(), |n| format!(", image {n}"));
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"><title>slice {}{image}: {} {p:.4}</title></circle>",
            x(slice.index, slices),
            y(p),
            slice.index,
            escape(class)
        );
    }
}

fn x(index: usize, slices: usize) -> f64 {
    let room = WIDTH - LEFT - RIGHT - 24.0;
    LEFT + 12.0 + if slices > 1 { room * index as f64 / (slices - 1) as f64 } else { room / 2.0 }
}

fn y(probability: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - probability)
}
