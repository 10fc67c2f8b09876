//! Lines over a few named places as one SVG file that stands alone, for measurements.

use super::chart::{Chart, Layout, Scale, Shape, nice_ticks};
use super::html::escape;
use std::fmt::Write;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Number of the place, counted from 0, and value.
    pub points: Vec<(usize, f64)>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// Above the drawing, and what a screen reader says.
    pub title: String,
    /// What the places are, and the name of each.
    pub places: (String, Vec<String>),
    /// What the values are, with their unit.
    pub values: String,
    /// Every line; six colours and marks take turns.
    pub series: Vec<Series>,
}

const LAYOUT: Layout = Layout { width: 640.0, height: 360.0, left: 60.0, right: 20.0, top: 14.0, bottom: 44.0 };
const TITLE: f64 = 28.0;
const LEGEND_LINE: f64 = 18.0;
/// Light and dark, each line told apart by its mark too.
const STYLE: &str = "\
    text { font: 12px sans-serif; fill: #222 } .title { font-size: 14px; font-weight: bold } .middle { text-anchor: middle }\n\
    .end { text-anchor: end } .strong { font-weight: bold } .grid { stroke: #ccc } .line { fill: none; stroke-width: 2 }\n\
    .paper { fill: #fff } .mark { stroke: none }\n\
    .line.c0 { stroke: #0b62a4 } .line.c1 { stroke: #c44e00 } .line.c2 { stroke: #1a7f37 } .line.c3 { stroke: #8250df }\n\
    .line.c4 { stroke: #b3261e } .line.c5 { stroke: #5f6b76 }\n\
    .mark.c0 { fill: #0b62a4 } .mark.c1 { fill: #c44e00 } .mark.c2 { fill: #1a7f37 } .mark.c3 { fill: #8250df }\n\
    .mark.c4 { fill: #b3261e } .mark.c5 { fill: #5f6b76 }\n\
    @media (prefers-color-scheme: dark) { .paper { fill: #16191d } text { fill: #ddd } .grid { stroke: #444 } }\n";

impl Lines {
    /// The file.
    pub fn to_svg(&self) -> String {
        let height = TITLE + LAYOUT.height + LEGEND_LINE * self.series.len() as f64 + 10.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {height}\" width=\"{0}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{0}\" height=\"{height}\"/>\n<text class=\"title\" x=\"{1}\" y=\"20\">{2}</text>\n\
             <svg y=\"{TITLE}\" width=\"{0}\" height=\"{3}\">\n{4}</svg>\n",
            LAYOUT.width,
            LAYOUT.left,
            escape(&self.title),
            LAYOUT.height,
            self.drawing()
        );
        for (number, series) in self.series.iter().enumerate() {
            let y = TITLE + LAYOUT.height + LEGEND_LINE * (number as f64 + 0.5);
            let (x, colour) = (LAYOUT.left, number % 6);
            let _ = writeln!(
                svg,
                "<line class=\"line c{colour}\" x1=\"{x}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/><path class=\"mark c{colour}\" d=\"{}\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                x + 24.0,
                Shape::of_series(number).outline(x + 12.0, y, 5.0),
                x + 32.0,
                y + 4.0,
                escape(&series.name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn drawing(&self) -> String {
        let highest = self.series.iter().flat_map(|s| &s.points).map(|(_, y)| *y).fold(0.0, f64::max);
        let ticks = nice_ticks(highest, 5);
        let last = self.places.1.len().saturating_sub(1) as f64;
        let scales = (Scale::new(-0.5, last + 0.5), Scale::new(0.0, ticks.last().copied().unwrap_or(1.0)));
        let words = format!("{} over {}, one line each for: {}", self.values, self.places.0, self.names().join("; "));
        let mut chart = Chart::new("lines", &self.title, &words, LAYOUT, scales);
        chart.ticks_y(&ticks.iter().map(|t| (*t, short(*t))).collect::<Vec<_>>());
        chart.ticks_x(&self.places.1.iter().enumerate().map(|(i, name)| (i as f64, vec![name.clone()])).collect::<Vec<_>>());
        chart.names(&self.places.0, &self.values);
        for (number, series) in self.series.iter().enumerate() {
            let colour = number % 6;
            let points: Vec<(f64, f64)> = series.points.iter().map(|(place, y)| (*place as f64, *y)).collect();
            chart.path(&format!("line c{colour}"), &points);
            for (place, y) in &series.points {
                let name = self.places.1.get(*place).map_or("", String::as_str);
                let words = format!("{}: {name}: {}", series.name, short(*y));
                chart.mark(&format!("mark c{colour}"), Shape::of_series(number), (*place as f64, *y), &words);
            }
        }
        chart.finish()
    }

    fn names(&self) -> Vec<&str> {
        self.series.iter().map(|s| s.name.as_str()).collect()
    }
}

/// Three significant digits or so, without an exponent.
fn short(value: f64) -> String {
    let places = if value >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One file: its namespace, a polyline for each line, escaped text, no number that is none; nothing to draw is a frame.
    #[test]
    fn a_file_stands_alone() {
        let series = |name: &str, points: &[(usize, f64)]| Series { name: name.into(), points: points.to_vec() };
        let mut lines = Lines {
            title: "a < b".into(),
            places: ("slices".into(), vec!["1".into(), "32".into()]),
            values: "ms".into(),
            series: vec![series("fp32", &[(0, 40.0), (1, 1000.0)]), series("int8", &[(1, f64::NAN)])],
        };
        let svg = lines.to_svg();
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"));
        assert_eq!((svg.matches("<polyline").count(), svg.matches("a &lt; b").count()), (2, 2));
        assert!(!svg.contains("NaN,") && !svg.contains(",NaN"));
        lines.series.clear();
        assert!(lines.to_svg().contains("class=\"grid\""));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([short(0.0), short(0.25), short(12.0), short(1234.5)], ["0", "0.25", "12", "1234"]);
    }
}
