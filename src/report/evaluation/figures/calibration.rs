//! The reliability diagram: what the scores promise against what came true.

use super::{figure, unit_axes};
use crate::evaluate::Evaluation;
use crate::evaluate::stats::wilson;
use crate::report::chart::{Chart, Layout, Scale, Shape};
use crate::report::evaluation::words::{counted, percent, plain};

const LAYOUT: Layout = Layout { width: 360.0, height: 352.0, left: 48.0, right: 14.0, top: 34.0, bottom: 44.0 };

/// One mark per bin with the Wilson interval of its rate; the numbers of cases stand above.
pub(in crate::report::evaluation) fn calibration(e: &Evaluation) -> String {
    let ece = plain(e.calibration.ece, 3);
    let description = format!("Share of positive cases over mean score in ten bins; expected calibration error {ece}.");
    let mut chart = Chart::new("calibration", "Calibration", &description, LAYOUT, (Scale::UNIT, Scale::UNIT));
    unit_axes(&mut chart, "mean score, %", "positive in truth, %");
    chart.path("guide", &[(0.0, 0.0), (1.0, 1.0)]);
    let mut line = Vec::new();
    for bin in &e.calibration.bins {
        let (Some(mean), Some(rate)) = (bin.mean_p, bin.rate) else { continue };
        line.push((mean, rate));
        let positives = (rate * bin.n as f64).round() as usize;
        if let Some([low, high]) = wilson(positives.min(bin.n), bin.n).ci95 {
            chart.path("interval c0", &[(mean, low), (mean, high)]);
        }
    }
    chart.path("line c0", &line);
    chart.text("end small", [44.0, 22.0], "n");
    for bin in &e.calibration.bins {
        let at = chart.x((bin.low + bin.high) / 2.0);
        chart.text("middle small", [at, 22.0], &short(bin.n));
        if let (Some(mean), Some(rate)) = (bin.mean_p, bin.rate) {
            let words = format!("{}, mean score {}, {} positive", counted(bin.n, "case", "cases"), percent(mean), percent(rate));
            chart.mark("mark c0", Shape::Circle, (mean, rate), &words);
        }
    }
    let caption = format!(
        "<p>Expected calibration error {ece}. On the dashed diagonal a score means what it says; above it the model says too little, \
            below it too much. Bars are 95 % intervals (Wilson); n counts the cases of each bin.</p>"
    );
    figure("Calibration", &chart.finish(), &caption)
}

/// Counts that fit over a bin: 950, 12k, 1.5M.
fn short(n: usize) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{}k", n / 1000),
        _ => format!("{:.1}M", n as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_short() {
        assert_eq!([0, 9999, 12_345, 999_999, 1_500_000].map(super::short), ["0", "9999", "12k", "999k", "1.5M"]);
    }
}
