//! The figures of a measurement, as JSON and as text.

use crate::args::{Arguments, From, name};
use crate::console::{Emphasis, Paint};
use crate::measure::Measurement;
use comfy_table::{CellAlignment, Table, presets};
use radnet::backend::StageTime;
use radnet::backend::cpu::Roof;
use std::fmt::Write;
use std::ops::Range;

/// The document of `--json`; the keys up to `stages` are the contract's.
#[derive(serde::Serialize)]
pub(crate) struct Summary {
    median_ms: f64,
    min_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    /// GPU event time; null on a CPU.
    device_ms: Option<f64>,
    slices: usize,
    /// Height of the network's input; `extent` has both sides.
    size: usize,
    device: String,
    isa: String,
    precision: String,
    threads: usize,
    peak_rss_mb: Option<f64>,
    load_ms: f64,
    first_result_ms: f64,
    stages: Vec<Stage>,
    version: &'static str,
    model: String,
    extent: [usize; 2],
    channels: usize,
    input: String,
    from: String,
    reps: usize,
    warmup: usize,
    /// 10⁹ operations of one scan, counted as the model's specification writes it.
    gflop: f64,
    gflop_per_s: f64,
    /// `stages` layer by layer.
    steps: Vec<Stage>,
    /// What all threads together can do at most, measured after the repetitions; null on a GPU.
    roof: Option<RoofFigures>,
}

/// The roofs of a processor.
#[derive(serde::Serialize)]
struct RoofFigures {
    /// Fused multiply-adds of float32 in registers.
    gflop_per_s: f64,
    /// What the precision multiplies in dense layers and transitions.
    product_gflop_per_s: f64,
    /// Reading memory.
    gbyte_per_s: f64,
}

/// One part of a scan.
#[derive(serde::Serialize)]
struct Stage {
    name: String,
    /// Its share of the scan's time: on a CPU, time in it over all threads, divided by their number; on a GPU, time between its events.
    median_ms: f64,
    /// As a direct convolution counts them.
    gflop: f64,
    /// Activations and weights that it has to move at the least, in 10⁶ bytes.
    mbyte: f64,
    /// The least time that the measured roofs of this machine allow a direct convolution, in % of the stage's; above 100 where fewer
    /// operations do the same. Null on a GPU, and where there is nothing to count.
    roof_pct: Option<f64>,
}

impl Summary {
    pub(crate) fn new(arguments: &Arguments, m: &Measurement) -> Self {
        let totals = sorted(m.repetitions.iter().map(|r| r.total));
        let [height, width] = m.card.config.input.size;
        let gflop = m.card.gflop_per_slice * arguments.slices as f64;
        let median_ms = median(&totals);
        let device: Option<Vec<f64>> = m.repetitions.iter().map(|r| r.device).collect();
        Self {
            median_ms,
            min_ms: totals[0],
            p90_ms: percentile(&totals, 90),
            p99_ms: percentile(&totals, 99),
            device_ms: device.map(|times| median(&sorted(times.into_iter()))),
            slices: arguments.slices,
            size: height,
            device: m.info.device.clone(),
            isa: m.info.isa.clone(),
            precision: m.info.precision.clone(),
            threads: m.info.threads,
            peak_rss_mb: m.peak_rss_mb,
            load_ms: m.load_ms,
            first_result_ms: m.first_result_ms,
            stages: grouped(arguments, m),
            version: env!("CARGO_PKG_VERSION"),
            model: m.name.clone(),
            extent: [height, width],
            channels: m.network.channels,
            input: name(arguments.input),
            from: name(arguments.from),
            reps: m.repetitions.len(),
            warmup: arguments.warmup,
            gflop,
            gflop_per_s: gflop / (median_ms / 1e3),
            steps: steps(m, |name| name),
            roof: None,
        }
        .under(m.roof)
    }

    /// Compares every stage with the roofs of the processor.
    fn under(mut self, roof: Option<Roof>) -> Self {
        let Some(roof) = roof else { return self };
        for stage in self.stages.iter_mut().chain(&mut self.steps) {
            let share = 100.0 * roof.least_ms(&stage.name, stage.gflop, stage.mbyte) / stage.median_ms;
            stage.roof_pct = Some(share).filter(|s| s.is_finite() && stage.gflop > 0.0);
        }
        let Roof { gflop_per_s, product_gflop_per_s, gbyte_per_s } = roof;
        self.roof = Some(RoofFigures { gflop_per_s, product_gflop_per_s, gbyte_per_s });
        self
    }

    /// For a person.
    pub(crate) fn text(&self, with_stages: bool, paint: Paint) -> String {
        let [height, width] = self.extent;
        let mut text = format!(
            "{}: {} slices of {}×{height}×{width}, {} from {}, {} on {} ({}), {} threads\n",
            paint.text(Emphasis::Bold, &self.model),
            self.slices,
            self.channels,
            self.input,
            self.from,
            self.precision,
            self.device,
            self.isa,
            self.threads
        );
        let _ = writeln!(
            text,
            "  median {} ms   min {}   p90 {}   p99 {}   ({} repetitions after {})",
            figure(self.median_ms),
            figure(self.min_ms),
            figure(self.p90_ms),
            figure(self.p99_ms),
            self.reps,
            self.warmup
        );
        if let Some(ms) = self.device_ms {
            let _ = writeln!(text, "  the device's own time: median {} ms", figure(ms));
        }
        let _ = writeln!(
            text,
            "  {:.1} GFLOP per scan, {:.1} GFLOP/s   {} ms per slice",
            self.gflop,
            self.gflop_per_s,
            figure(self.median_ms / self.slices as f64)
        );
        let rss = self.peak_rss_mb.map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"));
        let _ = writeln!(text, "  load {:.1} ms   first result after {:.1} ms   peak memory {rss}", self.load_ms, self.first_result_ms);
        if with_stages {
            text.push_str(&self.stage_table());
            if let Some(RoofFigures { gflop_per_s, product_gflop_per_s, gbyte_per_s }) = self.roof {
                let _ = write!(text, "  roofs measured: {gflop_per_s:.0} GFLOP/s");
                if self.precision != "fp32" {
                    let _ = write!(text, " in float32, {product_gflop_per_s:.0} in {} (blocks and transitions)", self.precision);
                }
                let _ = writeln!(text, ", {gbyte_per_s:.1} GB/s");
            }
        }
        text
    }

    fn stage_table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(["stage", "median ms", "share", "GFLOP", "GFLOP/s", "MB", "of roof"]);
        for stage in &self.stages {
            let rate =
                if stage.gflop > 0.0 && stage.median_ms > 0.0 { format!("{:.1}", stage.gflop / stage.median_ms * 1e3) } else { "-".into() };
            table.add_row([
                stage.name.clone(),
                figure(stage.median_ms),
                format!("{:.1} %", 100.0 * stage.median_ms / self.median_ms),
                format!("{:.2}", stage.gflop),
                rate,
                format!("{:.1}", stage.mbyte),
                stage.roof_pct.map_or("-".into(), |share| format!("{share:.0} %")),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
    }
}

/// Blocks as wholes, and pre-processing where it is timed.
fn grouped(arguments: &Arguments, m: &Measurement) -> Vec<Stage> {
    let mut stages = Vec::new();
    if arguments.from == From::Hu {
        let times = sorted(m.repetitions.iter().map(|r| r.parts[0]));
        let bytes = (arguments.slices * 2 * 512 * 512) as f64;
        stages.push(Stage { name: "preprocess".to_owned(), median_ms: median(&times), gflop: 0.0, mbyte: bytes / 1e6, roof_pct: None });
    }
    stages.extend(steps(m, |name| name.find(" layer ").map_or(name, |at| &name[..at])));
    stages
}

/// One stage for each run of steps to which `group` gives the same name.
fn steps(m: &Measurement, group: impl Fn(&str) -> &str) -> Vec<Stage> {
    let Some(first) = m.steps.first() else { return Vec::new() };
    let mut ranges: Vec<(&str, Range<usize>)> = Vec::new();
    for (index, step) in first.iter().enumerate() {
        match ranges.last_mut().filter(|(name, _)| *name == group(&step.name)) {
            Some((_, range)) => range.end = index + 1,
            None => ranges.push((group(&step.name), index..index + 1)),
        }
    }
    // A GPU's steps are timed by its own clock, one after the other.
    let workers = if m.info.device == "cpu" { m.info.threads } else { 1 };
    let stage = |(name, range): (&str, Range<usize>)| {
        let time = |steps: &[StageTime]| steps[range.clone()].iter().map(|s| s.ns as f64).sum::<f64>() / (1e6 * workers as f64);
        let sum = |value: &dyn Fn(&StageTime) -> u64| first[range.clone()].iter().map(|s| (value(s) * s.runs) as f64).sum::<f64>();
        Stage {
            name: name.to_owned(),
            median_ms: median(&sorted(m.steps.iter().map(|steps| time(steps)))),
            gflop: sum(&|s| s.flop) / 1e9,
            mbyte: sum(&|s| s.bytes) / 1e6,
            roof_pct: None,
        }
    };
    // Segmentation heads run only when maps are asked for, which is not what is timed.
    ranges.into_iter().filter(|(name, _)| !name.starts_with("segmentation")).map(stage).collect()
}

/// Milliseconds to three places where they are few.
fn figure(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.3}") } else { format!("{ms:.1}") }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

/// Nearest rank: the smallest value that at least `percent` of all do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Input;

    #[test]
    fn ranks_are_counted_by_hand() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((median(&values), percentile(&values, 90), percentile(&values, 99)), (10.5, 18.0, 20.0));
        assert_eq!((median(&[7.0]), percentile(&[7.0], 99)), (7.0, 7.0));
    }

    #[test]
    fn options_have_their_names() {
        assert_eq!((name(Input::Head), name(From::Hu)), ("head".to_owned(), "hu".to_owned()));
    }
}
