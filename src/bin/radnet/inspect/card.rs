//! A model's card as text.

use super::ModelEntry;
use crate::console::{Emphasis, Paint};
use crate::table::{intended_use, one_line};
use comfy_table::{CellAlignment, Table, presets};
use radnet::model::config::{Attention, Backbone, Config, Rnn, ScanRule};
use radnet::report::card::Card;
use serde_json::Value;
use std::fmt::Write;

/// The card, or why there is none.
pub(super) fn text(entry: &ModelEntry, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.text(Emphasis::Bold, &one_line(&entry.source)));
    match (&entry.card, &entry.error) {
        (Some(card), _) => text.push_str(&body(card, paint)),
        (None, Some(error)) => {
            let _ = writeln!(text, "{}  {}: {}", paint.text(Emphasis::Alarm, "ERROR"), error.code, one_line(&error.message));
        }
        (None, None) => {}
    }
    text.push('\n');
    text
}

fn body(card: &Card, paint: Paint) -> String {
    let config = &card.config;
    let said = |v: &Option<String>| v.as_deref().map_or("-".to_owned(), one_line);
    let mut text = String::new();
    for (key, value) in [
        ("model", format!("{} {}", said(&card.model.name), said(&card.model.version))),
        ("sha256", said(&card.model.sha256)),
        ("input", input(config)),
        ("windows", windows(config)),
        ("backbone", backbone(config)),
        ("attention", attention(config.attention)),
        ("recurrence", recurrence(config.rnn)),
        (
            "classes",
            config
                .classes
                .iter()
                .map(|c| format!("{} (threshold {})", one_line(c), config.thresholds.get(c).copied().unwrap_or(f64::NAN)))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("scan score", rule(config.scan)),
        ("parameters", format!("{} in {} layers", grouped(card.parameters), card.layers)),
        ("work", format!("{:.2} GFLOP per slice, {:.3} more for segmentation maps", card.gflop_per_slice, card.gflop_per_slice_maps)),
    ] {
        let _ = writeln!(text, "  {key:<11} {value}");
    }
    for record in &card.calibration {
        let _ = writeln!(text, "  {:<11} {}", "calibrated", calibration(record));
    }
    if let Some(record) = &card.quantisation {
        let _ = writeln!(text, "  {:<11} {}", "int8", quantisation(record));
    }
    text.push_str(&steps(card));
    text.push_str(&intended_use(&card.model, paint));
    text
}

/// One record of `radnet.calibration`; of another writer's whatever is there.
fn calibration(record: &Value) -> String {
    let at =
        |pointer: &str| record.pointer(pointer).filter(|v| !v.is_null()).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    let (Some(class), Some(threshold)) = (at("/class"), at("/threshold/after")) else { return one_line(&record.to_string()) };
    let said = |pointer: &str| at(pointer).unwrap_or_else(|| "unknown".to_owned());
    let share = |name: &str| match (record[name]["value"].as_f64(), record[name]["ci95"][0].as_f64(), record[name]["ci95"][1].as_f64()) {
        (Some(value), Some(low), Some(high)) => {
            format!(", {name} {:.1} % [{:.1}, {:.1}]", value * 100.0, low * 100.0, high * 100.0)
        }
        _ => String::new(),
    };
    let temperature = at("/temperature/value").map_or_else(String::new, |t| format!("temperature {t}, "));
    one_line(&format!(
        "{} {class}: {temperature}threshold {threshold} for {}{}{} on {} cases ({} positive) of {}",
        said("/date"),
        said("/target"),
        share("sensitivity"),
        share("specificity"),
        said("/n"),
        said("/positives"),
        said("/labels/name"),
    ))
}

/// The record of `radnet.quantisation`; of another writer's whatever is there.
fn quantisation(record: &Value) -> String {
    let number = |name: &str| record["ranges"][name].as_f64();
    let source = match (record["ranges"]["from"].as_str(), number("deviations"), number("scans"), number("slices")) {
        (Some("norms"), Some(k), ..) => format!("ranges from the norms, {k} standard deviations either way"),
        (Some("scans"), _, Some(scans), Some(slices)) => format!("ranges from {slices} slices of {scans} scan(s)"),
        _ if record.as_str() == Some("") => return "ranges of unknown origin".to_owned(),
        _ => return one_line(&record.to_string()),
    };
    one_line(&format!("{}: {source}", record["date"].as_str().unwrap_or("unknown")))
}

fn steps(card: &Card) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["step", "output", "layers", "parameters", "GFLOP"]);
    for step in &card.steps {
        let row = [step.name.clone(), step.output.clone(), step.layers.to_string(), grouped(step.parameters), format!("{:.4}", step.gflop)];
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

fn input(config: &Config) -> String {
    let [height, width] = config.input.size;
    match config.input.spacing_mm {
        Some(mm) => format!("{height}×{width} at {mm} mm, cropped or padded with {} HU", config.input.outside_hu),
        None => format!("{height}×{width}, the whole slice resized"),
    }
}

fn windows(config: &Config) -> String {
    let one = |c: &radnet::model::config::Channel| match c.slice_offset {
        0 => format!("{}/{}", c.window.level, c.window.width),
        offset => format!("{}/{} of slice {offset:+}", c.window.level, c.window.width),
    };
    format!("{} (level/width in HU)", config.input.channels.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn backbone(config: &Config) -> String {
    let Backbone::Densenet { init_features, growth_rate, block_config, bn_size, .. } = &config.backbone;
    let layers = 4 + 2 * block_config.iter().sum::<usize>() + block_config.len() - 4;
    let name = if block_config.len() == 4 { format!("DenseNet-{}", layers + 1) } else { "DenseNet".to_owned() };
    format!("{name}: {init_features} first features, growth {growth_rate}, blocks {block_config:?}, bottleneck {bn_size}")
}

fn attention(attention: Attention) -> String {
    match attention {
        Attention::None => "none: mean over positions".to_owned(),
        Attention::Sigmoid { heads } => format!("sigmoid, {heads} head(s)"),
        Attention::Softmax { heads } => format!("softmax, {heads} head(s)"),
    }
}

fn recurrence(rnn: Rnn) -> String {
    let (name, shape) = match rnn {
        Rnn::None => return "none: slices are judged alone".to_owned(),
        Rnn::Lstm(shape) => ("LSTM", shape),
        Rnn::Gru(shape) => ("GRU", shape),
    };
    let ways = if shape.bidirectional { "both ways" } else { "upwards" };
    format!("{name}, {} hidden, {} layer(s), {ways}", shape.hidden, shape.layers)
}

fn rule(rule: ScanRule) -> String {
    match rule {
        ScanRule::Consecutive { n: 1 } => "the highest slice".to_owned(),
        ScanRule::Consecutive { n } => format!("the best run of {n} consecutive slices, by its lowest"),
        ScanRule::MeanTopK { k } => format!("the mean of the {k} highest slices"),
        ScanRule::NoisyOr {} => "noisy or over all slices".to_owned(),
    }
}

/// 6953856 as "6 953 856".
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_shapes_have_their_names() {
        for (config, name) in
            [(Config::densenet121(), "DenseNet-121:"), (Config::densenet169(), "DenseNet-169:"), (Config::densenet201(), "DenseNet-201:")]
        {
            assert!(backbone(&config).starts_with(name), "{}", backbone(&config));
        }
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(6_953_856)], ["0", "999", "1 000", "6 953 856"]);
    }

    #[test]
    fn where_ranges_come_from_is_said() {
        let record = serde_json::json!({"date": "d", "ranges": {"from": "norms", "deviations": 12.0}});
        assert_eq!(quantisation(&record), "d: ranges from the norms, 12 standard deviations either way");
        assert_eq!(quantisation(&Value::String(String::new())), "ranges of unknown origin");
    }
}
