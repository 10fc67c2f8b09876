//! The two-by-two table as a picture, shaded by the share of its row.

use super::figure;
use crate::evaluate::Evaluation;
use crate::report::chart::{Chart, Layout, Scale};
use crate::report::evaluation::words::{counted, percent, threshold};

const LAYOUT: Layout = Layout { width: 360.0, height: 250.0, left: 92.0, right: 8.0, top: 40.0, bottom: 8.0 };

/// Rows are the truth, columns what the model said.
pub(in crate::report::evaluation) fn confusion(e: &Evaluation) -> String {
    let description = format!(
        "{} true positives, {} false negatives, {} false positives, {} true negatives at the threshold {}.",
        e.tp,
        e.fn_,
        e.fp,
        e.tn,
        threshold(e.threshold)
    );
    let mut chart = Chart::new("confusion", "Model against truth", &description, LAYOUT, (Scale::new(0.0, 2.0), Scale::new(0.0, 2.0)));
    let cells = [
        ("true positives", e.tp, e.tp + e.fn_, [0.0, 1.0], true),
        ("false negatives", e.fn_, e.tp + e.fn_, [1.0, 1.0], false),
        ("false positives", e.fp, e.fp + e.tn, [0.0, 0.0], false),
        ("true negatives", e.tn, e.fp + e.tn, [1.0, 0.0], true),
    ];
    for (name, count, of_row, [x, y], right) in cells {
        let share = if of_row == 0 { 0.0 } else { count as f64 / of_row as f64 };
        chart.cell(if right { "c0" } else { "c1" }, (x, y), 0.08 + 0.4 * share, &format!("{count} of {of_row}: {name}"));
        let (left, top) = (chart.x(x + 0.5), chart.y(y + 0.5));
        chart.text("middle large", [left, top], &count.to_string());
        let of = if of_row == 0 { String::new() } else { format!(", {}", percent(share)) };
        chart.text("middle small ink", [left, top + 18.0], &format!("{name}{of}"));
    }
    for (x, word) in [(0.5, "called positive"), (1.5, "called negative")] {
        let at = chart.x(x);
        chart.text("middle strong", [at, 30.0], word);
    }
    for (y, word, count) in [(1.5, "positive", e.tp + e.fn_), (0.5, "negative", e.fp + e.tn)] {
        let at = chart.y(y);
        chart.text("end strong", [84.0, at - 2.0], word);
        chart.text("end small", [84.0, at + 13.0], &counted(count, "case", "cases"));
    }
    chart.text("end small", [84.0, 30.0], "in truth");
    let caption = format!("Positive means a score of at least {}. Shares are of the row.", threshold(e.threshold));
    figure("Two-by-two table", &chart.finish(), &caption)
}
