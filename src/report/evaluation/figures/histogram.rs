//! Scores by truth: how far the two kinds of cases lie apart, and where the threshold cuts.

use super::figure;
use crate::evaluate::Evaluation;
use crate::report::chart::{Chart, Layout, Scale, key, nice_ticks};
use crate::report::evaluation::words::{counted, percent, threshold};

/// Cases of one tenth of the scores, by truth.
struct Tenth {
    low: f64,
    high: f64,
    positive: usize,
    negative: usize,
}

/// Side by side in each tenth, as shares of their own kind, so that rare positives stay visible.
pub(in crate::report::evaluation) fn histogram(e: &Evaluation) -> String {
    let tenths: Vec<Tenth> = e
        .calibration
        .bins
        .iter()
        .map(|b| {
            let positive = b.rate.map_or(0, |rate| (rate * b.n as f64).round() as usize).min(b.n);
            Tenth { low: b.low, high: b.high, positive, negative: b.n - positive }
        })
        .collect();
    let positives: usize = tenths.iter().map(|t| t.positive).sum();
    let negatives: usize = tenths.iter().map(|t| t.negative).sum();
    let share = |count: usize, all: usize| if all == 0 { 0.0 } else { count as f64 / all as f64 };
    let top = tenths.iter().map(|t| share(t.positive, positives).max(share(t.negative, negatives))).fold(0.0, f64::max);
    let ticks = nice_ticks(top, 5);
    let scale = Scale::new(0.0, ticks.last().copied().unwrap_or(1.0));
    let description = format!(
        "Scores of {} and {} in tenths, as shares of each kind. {}",
        counted(positives, "positive case", "positive cases"),
        counted(negatives, "negative case", "negative cases"),
        sides(e)
    );
    let mut chart = Chart::new("histogram", "Scores by truth", &description, Layout::SQUARE, (Scale::UNIT, scale));
    chart.ticks_y(&ticks.iter().map(|t| (*t, format!("{:.0}", t * 100.0))).collect::<Vec<_>>());
    chart.ticks_x(&[0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|t| (t, vec![t.to_string()])));
    chart.names("score", "share of its kind, %");
    for t in &tenths {
        let (middle, room) = ((t.low + t.high) / 2.0, (t.high - t.low) * 0.42);
        for (style, from, count, all, kind) in
            [("hollow-bar c1", middle - room, t.negative, negatives, "negative"), ("bar c0", middle, t.positive, positives, "positive")]
        {
            if count > 0 {
                let words = format!("{count} of {all} {kind} cases score {:.1} to {:.1}: {}", t.low, t.high, percent(share(count, all)));
                chart.bar(style, (from, 0.0), (from + room, share(count, all)), &words);
            }
        }
    }
    let high = ticks.last().copied().unwrap_or(1.0);
    chart.path("guide", &[(e.threshold, 0.0), (e.threshold, high)]);
    let legend = format!(
        "<ul class=\"legend\"><li>{}<span>positive in truth ({positives})</span></li>\
         <li>{}<span>negative in truth ({negatives})</span></li><li>{}<span>threshold {}</span></li></ul>",
        block("bar c0"),
        block("hollow-bar c1"),
        key(Some("guide"), None),
        threshold(e.threshold)
    );
    figure("Scores by truth", &chart.finish(), &legend)
}

fn sides(e: &Evaluation) -> String {
    format!("At or above the threshold {} lie {} positive and {} negative cases.", threshold(e.threshold), e.tp, e.fp)
}

fn block(style: &str) -> String {
    format!("<svg viewBox=\"0 0 22 12\" aria-hidden=\"true\"><rect class=\"{style}\" x=\"4\" y=\"1\" width=\"14\" height=\"10\"/></svg>")
}
