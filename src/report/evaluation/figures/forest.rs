//! Sensitivity and specificity of each subgroup beside those of all cases.

use super::figure;
use crate::evaluate::Evaluation;
use crate::evaluate::stats::Estimate;
use crate::report::chart::{Chart, Layout, Scale, Shape, key};
use crate::report::evaluation::comparison::said;
use crate::report::evaluation::tables::by;
use crate::report::evaluation::words::share;
use crate::report::html::clipped;

/// Height of a group: its name above two intervals.
const ROW: f64 = 46.0;
/// Characters of a group's name that fit on its line.
const NAME: usize = 30;

/// Lines drawn; the tables have the rest.
const GROUPS: usize = 40;

/// One line of the picture.
struct Group {
    /// As text, not yet escaped.
    name: String,
    n: usize,
    positives: usize,
    sensitivity: Estimate,
    specificity: Estimate,
}

/// All cases first; their values go down the picture as dashed lines.
fn groups(e: &Evaluation) -> Vec<Group> {
    let all =
        Group { name: "All cases".to_owned(), n: e.n, positives: e.positives, sensitivity: e.sensitivity, specificity: e.specificity };
    let single = e.subgroups.iter().flat_map(|s| s.groups.iter().map(|g| (by(s.by), g)));
    let single = single.map(|(by, g)| Group {
        name: format!("{by}: {}", clipped(&g.name, 60)),
        n: g.n,
        positives: g.positives,
        sensitivity: g.sensitivity,
        specificity: g.specificity,
    });
    std::iter::once(all).chain(single).take(GROUPS).collect()
}

/// Two intervals for each group.
pub(in crate::report::evaluation) fn forest(e: &Evaluation) -> String {
    let groups = groups(e);
    let rows = groups.len() as f64;
    let layout = Layout { width: 360.0, height: 12.0 + ROW * rows + 44.0, left: 14.0, right: 14.0, top: 12.0, bottom: 44.0 };
    let description: String = groups
        .iter()
        .map(|g| format!("{}: {}, {}. ", g.name, said("sensitivity", &g.sensitivity), said("specificity", &g.specificity)))
        .collect();
    let mut chart = Chart::new("forest", "Subgroups", description.trim_end(), layout, (Scale::UNIT, Scale::new(0.0, rows)));
    chart.ticks_x(&[0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|t| (t, vec![format!("{:.0}", t * 100.0)])));
    chart.names("%, with 95 % intervals", "");
    let kinds = [("c0", Shape::Circle, "sensitivity"), ("c1", Shape::Square, "specificity")];
    if let Some(all) = groups.first() {
        for (colour, estimate) in [("c0", &all.sensitivity), ("c1", &all.specificity)] {
            if let Some(value) = estimate.value {
                chart.path(&format!("dashed {colour}"), &[(value, 0.0), (value, rows)]);
            }
        }
    }
    for (number, group) in groups.iter().enumerate() {
        let top = layout.top + ROW * number as f64;
        chart.text("strong halo", [layout.left, top + 13.0], &clipped(&group.name, NAME));
        chart.text("end small halo", [layout.width - layout.right, top + 13.0], &format!("n {}, {} positive", group.n, group.positives));
        for ((colour, shape, word), estimate) in kinds.into_iter().zip([&group.sensitivity, &group.specificity]) {
            let below = if shape == Shape::Circle { 22.0 } else { 34.0 };
            let y = rows - (number as f64 + below / ROW);
            if let Some([low, high]) = estimate.ci95 {
                chart.path(&format!("interval {colour}"), &[(low, y), (high, y)]);
            }
            if let Some(value) = estimate.value {
                let (value_text, interval) = share(estimate);
                chart.mark(&format!("mark {colour}"), shape, (value, y), &format!("{}: {word} {value_text} {interval}", group.name));
            }
        }
    }
    let signs: String = kinds
        .map(|(c, shape, word)| {
            format!("<li>{}<span>{word}</span></li>", key(Some(&format!("interval {c}")), Some((&format!("mark {c}"), shape))))
        })
        .concat();
    let caption = format!(
        "<ul class=\"legend\">{signs}</ul><p>The dashed lines are the values of all cases. A small group has a wide interval; many \
         groups make some look odd by chance.</p>"
    );
    figure("Subgroups", &chart.finish(), &caption)
}
