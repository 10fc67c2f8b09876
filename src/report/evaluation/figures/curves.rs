//! ROC and precision-recall curves with the model's operating point and the readers.

use super::{CURVE_POINTS, figure, unit_axes};
use crate::evaluate::stats::Estimate;
use crate::evaluate::{Evaluation, ReaderSummary};
use crate::report::chart::{Chart, Layout, Scale, Shape, key, thin};
use crate::report::evaluation::comparison::{NAME, said};
use crate::report::evaluation::words::{number, percent, plain, threshold};
use crate::report::html::{clipped, escape};
use std::fmt::Write;

/// Readers drawn; more marks than that hide each other.
const READERS: usize = 12;

/// A judge as a point with intervals on both axes.
struct Point {
    name: String,
    x: Estimate,
    y: Estimate,
    colour: usize,
    shape: Shape,
}

impl Point {
    /// Draws the point with a cross of intervals; nothing where a coordinate is unknown.
    fn draw(&self, chart: &mut Chart, style: &str) {
        let (Some(x), Some(y)) = (self.x.value, self.y.value) else { return };
        let interval = format!("interval c{}", self.colour);
        if let Some([low, high]) = self.x.ci95 {
            chart.path(&interval, &[(low, y), (high, y)]);
        }
        if let Some([low, high]) = self.y.ci95 {
            chart.path(&interval, &[(x, low), (x, high)]);
        }
        chart.mark(&format!("{style} c{}", self.colour), self.shape, (x, y), &self.name);
    }

    fn is_known(&self) -> bool {
        self.x.value.is_some() && self.y.value.is_some()
    }

    fn sign(&self, style: &str) -> String {
        key(None, Some((&format!("{style} c{}", self.colour), self.shape)))
    }
}

/// Sensitivity over 1 − specificity.
pub(in crate::report::evaluation) fn roc(e: &Evaluation) -> String {
    let auc = if e.auc.degenerate {
        format!("{} (degenerate, no interval)", plain(e.auc.estimate.value, 3))
    } else {
        joined(number(&e.auc.estimate, 3))
    };
    let description = format!(
        "Area under the curve {auc}. Model at its threshold: {}, {}.{}",
        said("sensitivity", &e.sensitivity),
        said("specificity", &e.specificity),
        readers_said(e)
    );
    let mut chart = Chart::new("roc", "ROC curve", &description, Layout::SQUARE, (Scale::UNIT, Scale::UNIT));
    unit_axes(&mut chart, "1 − specificity, %", "sensitivity, %");
    chart.path("guide", &[(0.0, 0.0), (1.0, 1.0)]);
    let known = !e.roc.is_empty();
    if known {
        chart.path("line c0", &thin(e.roc.iter().map(|p| (p.fpr, p.tpr)), CURVE_POINTS));
    }
    let points = readers(e, |r| complement(&r.specificity), |r| r.sensitivity);
    let legend = judged(&mut chart, e, (complement(&e.specificity), e.sensitivity), points, &format!("model, AUC {auc}"), known);
    let empty = if known { "" } else { "<p>No curve: it needs positive and negative cases.</p>" };
    figure("ROC curve", &chart.finish(), &format!("{empty}{legend}<p>Crosses are 95 % intervals; the dashed diagonal is chance.</p>"))
}

/// Precision over recall, as the steps whose area is the average precision.
pub(in crate::report::evaluation) fn precision_recall(e: &Evaluation) -> String {
    let prevalence = if e.n == 0 { 0.0 } else { e.positives as f64 / e.n as f64 };
    let ap = joined(number(&e.average_precision, 3));
    let description = format!(
        "Average precision {ap}. Prevalence {}. Model at its threshold: {}, {}.",
        percent(prevalence),
        said("recall", &e.sensitivity),
        said("precision", &e.ppv)
    );
    let mut chart = Chart::new("precision-recall", "Precision-recall curve", &description, Layout::SQUARE, (Scale::UNIT, Scale::UNIT));
    unit_axes(&mut chart, "recall (sensitivity), %", "precision (PPV), %");
    chart.path("guide", &[(0.0, prevalence), (1.0, prevalence)]);
    let known = !e.pr.is_empty();
    if known {
        chart.path("line c0", &thin(steps(e.pr.iter().map(|p| (p.recall, p.precision))), CURVE_POINTS));
    }
    let points = readers(e, |r| r.sensitivity, |r| r.ppv);
    let legend = judged(&mut chart, e, (e.sensitivity, e.ppv), points, &format!("model, average precision {ap}"), known);
    let empty = if known { "" } else { "<p>No curve: no case is positive in truth.</p>" };
    let caption = format!(
        "{empty}{legend}<p>The dashed line is the prevalence, {}: what calling everything positive would give.</p>",
        percent(prevalence)
    );
    figure("Precision and recall", &chart.finish(), &caption)
}

/// A step up or down where each score begins, then level as far as its recall.
fn steps(curve: impl Iterator<Item = (f64, f64)>) -> impl Iterator<Item = (f64, f64)> {
    let mut before = 0.0;
    curve.flat_map(move |(recall, precision)| [(std::mem::replace(&mut before, recall), precision), (recall, precision)])
}

/// Draws model and readers; the legend.
fn judged(chart: &mut Chart, e: &Evaluation, model: (Estimate, Estimate), readers: Vec<Point>, name: &str, curve: bool) -> String {
    let mut legend = String::from("<ul class=\"legend\">");
    if curve {
        let _ = write!(legend, "<li>{}<span>{}</span></li>", key(Some("line c0"), None), escape(name));
    }
    let words = format!("model at the threshold {}", threshold(e.threshold));
    let model = Point { name: words, x: model.0, y: model.1, colour: 0, shape: Shape::Circle };
    readers.iter().for_each(|reader| reader.draw(chart, "mark"));
    model.draw(chart, "hollow");
    let styled = std::iter::once((&model, "hollow")).chain(readers.iter().map(|reader| (reader, "mark")));
    for (point, style) in styled {
        let unknown = if point.is_known() { "" } else { ": not known" };
        let _ = write!(legend, "<li>{}<span>{}{unknown}</span></li>", point.sign(style), escape(&point.name));
    }
    if e.readers.len() > READERS {
        let _ = write!(legend, "<li>{} more readers are not drawn</li>", e.readers.len() - READERS);
    }
    legend + "</ul>"
}

fn readers(e: &Evaluation, x: impl Fn(&ReaderSummary) -> Estimate, y: impl Fn(&ReaderSummary) -> Estimate) -> Vec<Point> {
    let point = |(number, reader): (usize, &ReaderSummary)| Point {
        name: clipped(&reader.name, NAME),
        x: x(reader),
        y: y(reader),
        colour: 1 + number % 5,
        shape: Shape::of_series(number + 1),
    };
    e.readers.iter().take(READERS).enumerate().map(point).collect()
}

fn readers_said(e: &Evaluation) -> String {
    let one = |r: &ReaderSummary| {
        let name = clipped(&r.name, NAME);
        format!(" Reader {name}: {}, {}.", said("sensitivity", &r.sensitivity), said("specificity", &r.specificity))
    };
    e.readers.iter().take(READERS).map(one).collect()
}

fn complement(estimate: &Estimate) -> Estimate {
    Estimate { value: estimate.value.map(|v| 1.0 - v), ci95: estimate.ci95.map(|[low, high]| [1.0 - high, 1.0 - low]) }
}

fn joined((value, interval): (String, String)) -> String {
    if interval.is_empty() { value } else { format!("{value} {interval}") }
}
