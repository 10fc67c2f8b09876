//! The command line, and the model and shapes that follow from it.

use crate::environment;
use crate::sweep::{self, Axis};
use clap::{Parser, ValueEnum};
use radnet::Error;
use radnet::engine::{self, Device, Precision};
use radnet::model::Config;
use radnet::model::config::{Channel, Window};
use radnet::weights::{Model, synthetic};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time one scan, from the host's slices to probabilities on the host.
#[derive(Debug, Parser)]
#[command(name = "radnet-bench", version, about, after_help = environment::HELP)]
pub(crate) struct Arguments {
    /// A model file
    #[arg(long, value_name = "FILE", conflicts_with = "arch")]
    pub(crate) model: Option<PathBuf>,
    /// The standard network on this backbone, with seeded random weights: densenet121, densenet169 or densenet201
    #[arg(long, value_name = "NAME", default_value = "densenet121")]
    pub(crate) arch: String,
    /// Slices of the scan
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = count)]
    pub(crate) slices: usize,
    /// Side of the network's input; a model file has its own [default: 256]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) size: Option<usize>,
    /// Input channels; a model file has its own [default: 3]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) channels: Option<usize>,
    /// Where to run: cpu, cuda, cuda:N, or auto, which is the first GPU that can be used, else the CPU
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub(crate) device: Device,
    /// Arithmetic: auto, fp32, bf16, fp16 or int8; auto is fp16 on a GPU and fp32 on the CPU
    #[arg(long, value_name = "PRECISION", default_value = "auto", value_parser = precision)]
    pub(crate) precision: Precision,
    /// Worker threads [default: the CPUs that affinity and cgroup quota allow]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) threads: Option<usize>,
    /// What the slices show
    #[arg(long, value_enum, default_value_t = Input::Noise)]
    pub(crate) input: Input,
    /// Where a repetition starts: at the windowed float32 tensor, or at int16 HU slices of 512×512
    #[arg(long, value_enum, default_value_t = From::Tensor)]
    pub(crate) from: From,
    /// Repetitions before the timed ones
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) warmup: usize,
    /// Timed repetitions
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count)]
    pub(crate) reps: usize,
    /// Write the figures as JSON to FILE, or with `-` to standard output instead of the text
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// Write Chrome trace events (open in Perfetto)
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Add a table of stages to the text; a GPU measures them in further repetitions, kernel by kernel
    #[arg(long)]
    pub(crate) stages: bool,
    /// Time nothing: put two documents of --json side by side
    #[arg(long, num_args = 2, value_names = ["BEFORE.json", "AFTER.json"], conflicts_with_all = ["model", "arch", "trace", "stages"])]
    pub(crate) compare: Option<Vec<PathBuf>>,
    /// Time every combination of these values, each in a process of its own: slices=N,…  size=N,…  threads=N,…  precision=NAME,… ; what is
    /// not named has its one value, and without any it is slices=1,2,4,8,16,32
    #[arg(long, num_args = 0.., value_name = "AXIS=VALUES", value_parser = sweep::axis, conflicts_with_all = ["compare", "trace", "stages"])]
    pub(crate) sweep: Option<Vec<Axis>>,
    /// Draw the medians of --sweep as SVG
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub(crate) svg: Option<PathBuf>,
}

/// What the slices show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// Random values everywhere: no air to skip
    Noise,
    /// A synthetic head; about 40 % of the pixels are not air
    Head,
}

/// Where a repetition starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// Windowed float32 NCHW
    Tensor,
    /// int16 HU, pre-processing included
    Hu,
}

/// The model to time, the threads that run it, and how long they took to start and to read it.
pub(crate) struct Setup {
    pub(crate) model: Model,
    pub(crate) name: String,
    pub(crate) pool: Arc<rayon::ThreadPool>,
    /// Starting the threads and reading the file; making random weights is not loading and counts as nothing.
    pub(crate) read: Duration,
}

/// Why there is nothing to time.
pub(crate) enum Refusal {
    /// Options that contradict each other or the model.
    Usage(String),
    /// The model cannot be had.
    Failed(Error),
}

impl Setup {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Refusal> {
        let start = Instant::now();
        let pool = engine::pool(arguments.threads).map_err(Refusal::Failed)?;
        let Some(path) = &arguments.model else { return Self::random(arguments, pool, start.elapsed()) };
        let model = pool.install(|| Model::open(path)).map_err(Refusal::Failed)?;
        let read = start.elapsed();
        let [height, width] = model.config.input.size;
        if arguments.size.is_some_and(|size| [size; 2] != [height, width]) {
            return Err(Refusal::Usage(format!("--size: the model's input is {height}×{width}")));
        }
        if arguments.channels.is_some_and(|n| n != model.config.input.channels.len()) {
            return Err(Refusal::Usage(format!("--channels: the model has {}", model.config.input.channels.len())));
        }
        Ok(Self { name: path.display().to_string(), model, pool, read })
    }

    fn random(arguments: &Arguments, pool: Arc<rayon::ThreadPool>, read: Duration) -> Result<Self, Refusal> {
        let Some(mut config) = Config::preset(&arguments.arch) else {
            return Err(Refusal::Usage(format!("--arch: {} is none of densenet121, densenet169, densenet201", arguments.arch)));
        };
        config.input.size = [arguments.size.unwrap_or(256); 2];
        set_channels(&mut config, arguments.channels.unwrap_or(3));
        config.validate().map_err(|e| Refusal::Usage(e.message().to_owned()))?;
        let model = synthetic(&config, SEED).map_err(Refusal::Failed)?;
        Ok(Self { name: arguments.arch.clone(), model, pool, read })
    }
}

const SEED: u64 = 1;

/// The standard windows, repeated on the neighbouring slices: 0, +1, −1, +2, −2 ...
fn set_channels(config: &mut Config, channels: usize) {
    let windows: Vec<Window> = config.input.channels.iter().map(|c| c.window).collect();
    let channel = |i: usize| {
        let turn = (i / windows.len()) as i64;
        let slice_offset = if turn % 2 == 0 { -turn / 2 } else { turn / 2 + 1 };
        Channel { slice_offset, window: windows[i % windows.len()] }
    };
    config.input.channels = (0..channels).map(channel).collect();
    config.input.mean = vec![0.0; channels];
    config.input.std = vec![1.0; channels];
}

/// What an option calls a value.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned())
}

pub(crate) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=100_000).contains(&n) => Ok(n),
        _ => Err("a number from 1 to 100000 is needed".to_owned()),
    }
}

fn device(text: &str) -> Result<Device, String> {
    text.parse().map_err(|e: Error| e.message().to_owned())
}

pub(crate) fn precision(text: &str) -> Result<Precision, String> {
    text.parse().map_err(|e: Error| e.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
        let defaults = Arguments::try_parse_from(["radnet-bench"]).unwrap();
        assert_eq!((defaults.slices, defaults.warmup, defaults.reps, &*defaults.arch), (32, 3, 20, "densenet121"));
        assert!(Arguments::try_parse_from(["radnet-bench", "--model", "m", "--arch", "densenet121"]).is_err());
    }

    #[test]
    fn channels_repeat_on_neighbours() {
        let mut config = Config::densenet121();
        set_channels(&mut config, 16);
        config.validate().unwrap();
        let offsets: Vec<i64> = config.input.channels.iter().map(|c| c.slice_offset).collect();
        assert_eq!(offsets, [0, 0, 0, 1, 1, 1, -1, -1, -1, 2, 2, 2, -2, -2, -2, 3]);
    }
}
