//! The pictures: the two-by-two table, ROC, precision and recall, calibration, scores by truth, subgroups.

mod calibration;
mod confusion;
mod curves;
mod forest;
mod histogram;

pub(super) use calibration::calibration;
pub(super) use confusion::confusion;
pub(super) use curves::{precision_recall, roc};
pub(super) use forest::forest;
pub(super) use histogram::histogram;

use crate::report::chart::Chart;

/// Points of a curve that are drawn.
const CURVE_POINTS: usize = 1000;

/// A picture with its title above and what explains it below.
fn figure(title: &str, drawing: &str, caption: &str) -> String {
    format!("<figure>\n<h3>{title}</h3>\n{drawing}<figcaption>{caption}</figcaption></figure>\n")
}

/// Both axes from 0 to 100 %.
fn unit_axes(chart: &mut Chart, x: &str, y: &str) {
    let ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    chart.ticks_x(&ticks.map(|t| (t, vec![format!("{:.0}", t * 100.0)])));
    chart.ticks_y(&ticks.map(|t| (t, format!("{:.0}", t * 100.0))));
    chart.names(x, y);
}
