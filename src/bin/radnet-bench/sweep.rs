//! `--sweep`: every combination of slices, sizes, threads and precisions as a table, a document and a drawing.
//!
//! Each point is a process of its own, so that its start and its memory are its own and one that fails leaves the others.

use crate::args::{Arguments, name};
use crate::compare::Measured;
use crate::console::{Emphasis, Paint};
use comfy_table::{CellAlignment, Table, presets};
use radnet::engine::{Device, Precision};
use radnet::report::lines::{Lines, Series};
use radnet::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::process::Command;

/// One of `--sweep`'s values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Axis {
    Slices(Vec<usize>),
    Size(Vec<usize>),
    Threads(Vec<usize>),
    Precision(Vec<Precision>),
}

/// "slices=1,8,32".
pub(crate) fn axis(text: &str) -> std::result::Result<Axis, String> {
    let (axis, values) = text.split_once('=').ok_or("AXIS=VALUE,VALUE is needed, like slices=1,8,32")?;
    let counts = || values.split(',').map(crate::args::count).collect::<std::result::Result<Vec<_>, _>>();
    match axis {
        "slices" => counts().map(Axis::Slices),
        "size" => counts().map(Axis::Size),
        "threads" => counts().map(Axis::Threads),
        "precision" => values.split(',').map(crate::args::precision).collect::<std::result::Result<_, _>>().map(Axis::Precision),
        _ => Err(format!("{axis} is none of slices, size, threads, precision")),
    }
}

/// One combination; what is none is the program's default.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Setting {
    slices: usize,
    size: Option<usize>,
    threads: Option<usize>,
    precision: &'static str,
}

/// One combination, measured or not.
#[derive(Serialize)]
struct Point {
    #[serde(flatten)]
    setting: Setting,
    /// Its document, as `--json` writes it.
    measured: Option<Value>,
    /// Why there is none.
    error: Option<String>,
}

impl Point {
    fn figures(&self) -> Option<Measured> {
        serde_json::from_value(self.measured.clone()?).ok()
    }
}

/// All points; also the document of `--json`.
#[derive(Serialize)]
pub(crate) struct Sweep {
    model: String,
    input: String,
    from: String,
    points: Vec<Point>,
}

/// Every combination in the order of the axes, slices innermost.
fn settings(arguments: &Arguments, axes: &[Axis]) -> Vec<Setting> {
    let (mut slices, mut sizes, mut threads) = (vec![arguments.slices], vec![arguments.size], vec![arguments.threads]);
    let mut precisions = vec![arguments.precision];
    if axes.is_empty() {
        slices = vec![1, 2, 4, 8, 16, 32];
    }
    for axis in axes {
        match axis {
            Axis::Slices(values) => slices = values.clone(),
            Axis::Size(values) => sizes = values.iter().copied().map(Some).collect(),
            Axis::Threads(values) => threads = values.iter().copied().map(Some).collect(),
            Axis::Precision(values) => precisions = values.clone(),
        }
    }
    let mut settings = Vec::new();
    for precision in precisions.iter().map(|p| p.name()) {
        for &threads in &threads {
            for &size in &sizes {
                settings.extend(slices.iter().map(|&slices| Setting { slices, size, threads, precision }));
            }
        }
    }
    settings
}

/// What a point has on an axis.
type ValueOf = fn(&Measured) -> String;

impl Sweep {
    /// Runs this program once for every combination.
    ///
    /// # Errors
    /// When this program's own path is unknown.
    pub(crate) fn run(arguments: &Arguments, axes: &[Axis]) -> Result<Self> {
        let settings = settings(arguments, axes);
        let telling = std::io::stderr().is_terminal();
        let mut points = Vec::with_capacity(settings.len());
        for (number, setting) in settings.iter().enumerate() {
            if telling {
                // A terminal that went away hears nothing more.
                let _ = write!(std::io::stderr(), "\r\x1b[K{} of {}", number + 1, settings.len());
            }
            points.push(measure(arguments, setting)?);
        }
        if telling {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        let model = arguments.model.as_ref().map_or_else(|| arguments.arch.clone(), |path| path.display().to_string());
        Ok(Self { model, input: name(arguments.input), from: name(arguments.from), points })
    }

    /// Whether every combination was measured.
    pub(crate) fn complete(&self) -> bool {
        self.points.iter().all(|point| point.measured.is_some())
    }

    /// For a person.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "precision",
            "threads",
            "size",
            "slices",
            "median ms",
            "p90",
            "p99",
            "per slice",
            "GFLOP/s",
            "load",
            "first result",
            "MB",
        ]);
        let mut refused = Vec::new();
        for point in &self.points {
            if let Some(m) = point.figures() {
                table.add_row(row(&m));
            } else {
                refused.push(point);
            }
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{}: {} from {}, times in ms\n", paint.text(Emphasis::Bold, &self.model), self.input, self.from);
        table.lines().for_each(|line| text.push_str(&format!(" {}\n", line.trim_end())));
        for Point { setting: s, error, .. } in refused {
            let size = s.size.map_or(String::new(), |n| format!(" of {n}×{n}"));
            let threads = s.threads.map_or(String::new(), |n| format!(", {n} threads"));
            let error = error.as_deref().unwrap_or("its document cannot be read");
            text.push_str(&format!(" not measured: {} slices{size}{threads}, {}: {error}\n", s.slices, s.precision));
        }
        text
    }

    /// The medians per slice, a line for each combination of the other values.
    pub(crate) fn lines(&self) -> Lines {
        let figures: Vec<Measured> = self.points.iter().filter_map(Point::figures).collect();
        let distinct = |value: ValueOf| {
            let mut seen: Vec<String> = Vec::new();
            figures.iter().map(value).for_each(|v| {
                if !seen.contains(&v) {
                    seen.push(v)
                }
            });
            seen
        };
        let axes: [(&str, ValueOf); 4] = [
            ("slices", |m| m.slices.to_string()),
            ("threads", |m| m.threads.to_string()),
            ("size", |m| format!("{0}×{0}", m.size)),
            ("precision", |m| m.precision.clone()),
        ];
        // The first axis with the most values lies along the drawing.
        let along = (0..axes.len()).rev().max_by_key(|&i| distinct(axes[i].1).len()).unwrap_or(0);
        let places = distinct(axes[along].1);
        let mut series: Vec<Series> = Vec::new();
        for m in &figures {
            let others = axes.iter().enumerate().filter(|(i, axis)| *i != along && distinct(axis.1).len() > 1);
            let words: Vec<String> = others.map(|(_, (axis, value))| word(axis, &value(m))).collect();
            let name = if words.is_empty() { word("precision", &m.precision) } else { words.join(", ") };
            let Some(place) = places.iter().position(|p| *p == axes[along].1(m)) else { continue };
            let point = (place, m.median_ms / m.slices as f64);
            match series.iter_mut().find(|s| s.name == name) {
                Some(line) => line.points.push(point),
                None => series.push(Series { name, points: vec![point] }),
            }
        }
        let title = format!("{}, {}: median time per slice", self.model, self.input);
        Lines { title, places: (axes[along].0.to_owned(), places), values: "ms per slice".to_owned(), series }
    }
}

fn word(axis: &str, value: &str) -> String {
    match axis {
        "slices" | "threads" => format!("{value} {axis}"),
        _ => value.to_owned(),
    }
}

fn row(m: &Measured) -> [String; 12] {
    let figure = |ms: f64| if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") };
    [
        m.precision.clone(),
        m.threads.to_string(),
        m.size.to_string(),
        m.slices.to_string(),
        figure(m.median_ms),
        figure(m.p90_ms),
        figure(m.p99_ms),
        figure(m.median_ms / m.slices as f64),
        m.gflop_per_s.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
        figure(m.load_ms),
        figure(m.first_result_ms),
        m.peak_rss_mb.map_or("-".to_owned(), |mb| format!("{mb:.0}")),
    ]
}

/// Runs this program for one combination.
fn measure(arguments: &Arguments, setting: &Setting) -> Result<Point> {
    let program = std::env::current_exe().map_err(|e| Error::new(ErrorKind::Io, "this program's own path is unknown").caused_by(e))?;
    let mut command = Command::new(program);
    match &arguments.model {
        Some(path) => command.arg("--model").arg(path),
        None => command.args(["--arch", &arguments.arch]),
    };
    let device = match arguments.device {
        Device::Auto => "auto".to_owned(),
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
    };
    command.args(["--device", &device, "--precision", setting.precision, "--slices", &setting.slices.to_string()]);
    command.args(["--input", &name(arguments.input), "--from", &name(arguments.from)]);
    command.args(["--warmup", &arguments.warmup.to_string(), "--reps", &arguments.reps.to_string(), "--json", "-"]);
    for (option, value) in [("--size", setting.size), ("--threads", setting.threads), ("--channels", arguments.channels)] {
        if let Some(n) = value {
            command.args([option, &n.to_string()]);
        }
    }
    let output = command.output().map_err(|e| Error::new(ErrorKind::Io, "this program cannot start itself again").caused_by(e))?;
    let measured: Option<Value> = output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten();
    let error = measured.is_none().then(|| reason(&String::from_utf8_lossy(&output.stderr)));
    Ok(Point { setting: setting.clone(), measured, error })
}

/// What a process said last, without its name.
fn reason(stderr: &str) -> String {
    let said = stderr
        .lines()
        .map(str::trim)
        .find(|line| line.contains("error:") || line.starts_with("radnet-bench:"))
        .unwrap_or("no reason given");
    said.trim_start_matches("radnet-bench:").trim_start_matches("error:").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::try_parse_from(["radnet-bench"].iter().chain(words)).unwrap()
    }

    /// All combinations, slices innermost; a bare `--sweep` takes a scan's usual lengths; unknown axes and values are usage errors.
    #[test]
    fn axes_are_multiplied() {
        let swept = arguments(&["--sweep", "slices=1,32", "size=256,512", "precision=fp32,int8", "--threads", "2"]);
        let all = settings(&swept, swept.sweep.as_deref().unwrap());
        assert_eq!(all.len(), 8);
        assert_eq!(all[1], Setting { slices: 32, size: Some(256), threads: Some(2), precision: "fp32" });
        assert_eq!(all[6], Setting { slices: 1, size: Some(512), threads: Some(2), precision: "int8" });
        let bare = arguments(&["--sweep"]);
        assert_eq!(settings(&bare, bare.sweep.as_deref().unwrap()).len(), 6);
        for wrong in ["slices", "slices=", "slices=0", "depth=3", "precision=fp33"] {
            assert!(Arguments::try_parse_from(["radnet-bench", "--sweep", wrong]).is_err(), "{wrong}");
        }
    }

    fn point(slices: usize, threads: usize, median_ms: f64) -> Point {
        let measured = json!({"median_ms": median_ms, "min_ms": 1, "p90_ms": 2, "p99_ms": 3, "device_ms": null, "load_ms": 4, "first_result_ms": 5,
            "peak_rss_mb": 6, "slices": slices, "size": 256, "device": "cpu", "isa": "avx2", "precision": "fp32", "threads": threads,
            "gflop_per_s": 7, "stages": []});
        let setting = Setting { slices, size: None, threads: Some(threads), precision: "auto" };
        Point { setting, measured: Some(measured), error: None }
    }

    /// The longest axis lies along the drawing, the others name the lines; what was not measured is said and not drawn.
    #[test]
    fn a_sweep_is_shown() {
        let mut sweep = Sweep { model: "m".into(), input: "noise".into(), from: "tensor".into(), points: Vec::new() };
        for (slices, threads, ms) in [(1, 1, 60.0), (8, 1, 400.0), (32, 1, 1600.0), (1, 2, 40.0), (8, 2, 240.0), (32, 2, 960.0)] {
            sweep.points.push(point(slices, threads, ms));
        }
        assert!(sweep.complete());
        let lines = sweep.lines();
        assert_eq!(lines.places, ("slices".to_owned(), ["1", "8", "32"].map(String::from).to_vec()));
        assert_eq!(lines.series[1], Series { name: "2 threads".into(), points: vec![(0, 40.0), (1, 30.0), (2, 30.0)] });
        let setting = Setting { slices: 1, size: Some(256), threads: None, precision: "bf16" };
        sweep.points.push(Point { setting, measured: None, error: Some("precision bf16: no".into()) });
        let text = sweep.text(Paint { colour: false });
        assert!(text.contains("not measured: 1 slices of 256×256, bf16: precision bf16: no"), "{text}");
        assert!(!sweep.complete() && sweep.lines() == lines);
    }

    #[test]
    fn the_reason_is_what_was_said() {
        assert_eq!(reason("radnet-bench: precision bf16: the CPU has none\n"), "precision bf16: the CPU has none");
        assert_eq!(reason("error: invalid value\n\nUsage: …\n"), "invalid value");
        assert_eq!(reason(""), "no reason given");
    }
}
