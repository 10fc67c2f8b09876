//! A chart as inline SVG: a frame, two linear scales, marks. Coordinates are always finite, text is always escaped.
//!
//! Own code rather than a plotting crate: what `plotters` draws as SVG has neither title nor description and its colours are fixed,
//! so that a page could not be read aloud, darkened or printed well.

mod scale;
mod shape;

pub(super) use scale::{Scale, nice_ticks, thin};
pub(super) use shape::{Shape, key};

use super::html::escape;
use std::fmt::Write;

/// Size and margins, in the units of the drawing; text is 12 of them high.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Layout {
    /// About as wide as a phone, so that its text is legible there and not large elsewhere.
    pub(super) const SQUARE: Self = Self { width: 360.0, height: 330.0, left: 48.0, right: 14.0, top: 12.0, bottom: 44.0 };
}

/// A chart being drawn.
pub(super) struct Chart {
    svg: String,
    layout: Layout,
    x: Scale,
    y: Scale,
}

impl Chart {
    /// An empty chart. `id` is unique in its page; title and description are what a screen reader says.
    pub(super) fn new(id: &str, title: &str, description: &str, layout: Layout, scales: (Scale, Scale)) -> Self {
        let mut svg = String::new();
        let _ = write!(
            svg,
            "<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\">\n\
             <title id=\"{id}-title\">{}</title><desc id=\"{id}-text\">{}</desc>\n",
            layout.width,
            layout.height,
            escape(title),
            escape(description)
        );
        Self { svg, layout, x: scales.0, y: scales.1 }
    }

    /// A value on the horizontal scale, in units of the drawing.
    pub(super) fn x(&self, value: f64) -> f64 {
        let Layout { width, left, right, .. } = self.layout;
        left + (width - left - right) * self.x.share(value)
    }

    /// A value on the vertical scale, in units of the drawing.
    pub(super) fn y(&self, value: f64) -> f64 {
        let Layout { height, top, bottom, .. } = self.layout;
        top + (height - top - bottom) * (1.0 - self.y.share(value))
    }

    /// Grid lines up the chart with labels under them; a label has one or more lines.
    pub(super) fn ticks_x(&mut self, ticks: &[(f64, Vec<String>)]) {
        let (top, low) = (self.layout.top, self.layout.height - self.layout.bottom);
        for (value, lines) in ticks {
            let at = self.x(*value);
            let _ = writeln!(self.svg, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{low:.1}\"/>");
            for (number, line) in lines.iter().enumerate() {
                self.text("middle", [at, low + 15.0 + 14.0 * number as f64], line);
            }
        }
    }

    /// Grid lines across the chart with labels beside them.
    pub(super) fn ticks_y(&mut self, ticks: &[(f64, String)]) {
        let (left, right) = (self.layout.left, self.layout.width - self.layout.right);
        for (value, label) in ticks {
            let at = self.y(*value);
            let _ = writeln!(self.svg, "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
            self.text("end", [left - 6.0, at + 4.0], label);
        }
    }

    /// What the axes show.
    pub(super) fn names(&mut self, x: &str, y: &str) {
        let Layout { width, height, left, right, top, bottom } = self.layout;
        self.text("middle strong", [(left + width - right) / 2.0, height - 6.0], x);
        let (at, middle) = (12.0, (top + height - bottom) / 2.0);
        let _ = writeln!(
            self.svg,
            "<text class=\"middle strong\" transform=\"translate({at:.1} {middle:.1}) rotate(-90)\">{}</text>",
            escape(y)
        );
    }

    /// A line through points.
    pub(super) fn path(&mut self, style: &str, points: &[(f64, f64)]) {
        let _ = write!(self.svg, "<polyline class=\"{style}\" points=\"");
        for (x, y) in points {
            let _ = write!(self.svg, "{:.1},{:.1} ", self.x(*x), self.y(*y));
        }
        self.svg.truncate(self.svg.trim_end().len());
        self.svg.push_str("\"/>\n");
    }

    /// A mark with words that show under the pointer.
    pub(super) fn mark(&mut self, style: &str, shape: Shape, at: (f64, f64), words: &str) {
        let outline = shape.outline(self.x(at.0), self.y(at.1), 5.0);
        let _ = writeln!(self.svg, "<path class=\"{style}\" d=\"{outline}\"><title>{}</title></path>", escape(words));
    }

    /// A filled rectangle between two corners, likewise.
    pub(super) fn bar(&mut self, style: &str, from: (f64, f64), to: (f64, f64), words: &str) {
        let ([x0, x1], [y0, y1]) = ([self.x(from.0), self.x(to.0)], [self.y(from.1), self.y(to.1)]);
        let (x, y, width, height) = (x0.min(x1), y0.min(y1), (x1 - x0).abs(), (y1 - y0).abs());
        let _ = writeln!(
            self.svg,
            "<rect class=\"{style}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            escape(words)
        );
    }

    /// A square of side 1 above and right of `corner`, filled to `opacity`.
    pub(super) fn cell(&mut self, style: &str, corner: (f64, f64), opacity: f64, words: &str) {
        let (x, y) = (self.x(corner.0) + 2.0, self.y(corner.1 + 1.0) + 2.0);
        let (width, height) = (self.x(corner.0 + 1.0) - x - 2.0, self.y(corner.1) - y - 2.0);
        let _ = writeln!(
            self.svg,
            "<rect class=\"bar {style}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"4\" \
             fill-opacity=\"{opacity:.2}\"><title>{}</title></rect>",
            escape(words)
        );
    }

    /// Text at a place of the drawing (not of the scales).
    pub(super) fn text(&mut self, style: &str, at: [f64; 2], words: &str) {
        let _ = writeln!(self.svg, "<text class=\"{style}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", at[0], at[1], escape(words));
    }

    /// The drawing.
    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}
