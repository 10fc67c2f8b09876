//! The command line as it is written; `settings` turns it into what the commands need.

use crate::calibrate::args::{CalibrateArguments, HELP as CALIBRATE_HELP};
use crate::engine::{EngineArguments, threads};
use crate::environment;
use crate::evaluate::args::{EvaluateArguments, HELP as EVALUATE_HELP, RUN_HELP};
use crate::quantize::args::{HELP as QUANTIZE_HELP, QuantizeArguments};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Hemorrhage probabilities from DICOM head CT. Not a medical device.
#[derive(Debug, Parser)]
#[command(name = "radnet", version, about, after_help = environment::HELP, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge head CT series: probabilities per slice, a score and a verdict per scan
    #[command(after_help = PREDICT_HELP)]
    Predict(PredictArguments),
    /// Show what is in there: series, geometry, quality findings; or a model's card
    #[command(after_help = INSPECT_HELP)]
    Inspect(InspectArguments),
    /// Judge a model on labelled scans: the statistics of a diagnostic accuracy study, beside readers
    #[command(after_help = format!("{EVALUATE_HELP}\n\n{RUN_HELP}"))]
    Evaluate(Box<EvaluateArguments>),
    /// Fit a model's probabilities and its threshold to labelled scans, and write a new model
    #[command(after_help = format!("{CALIBRATE_HELP}\n\n{RUN_HELP}"))]
    Calibrate(Box<CalibrateArguments>),
    /// Give a model the ranges that int8 needs, from its norms or from scans, say what int8 changes, and write a new model
    #[command(after_help = QUANTIZE_HELP)]
    Quantize(Box<QuantizeArguments>),
    /// Show what this machine offers, which instruction set would be used, and why not the others
    Devices(DevicesArguments),
}

#[derive(Args, Debug)]
pub(crate) struct PredictArguments {
    /// DICOM files, or folders to search for them
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The model
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Write the results as JSON to FILE, or with `-` to standard output instead of the table
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// Write overlays (PNG) and the raw maps (.npy) into DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) maps: Option<PathBuf>,
    /// Write a report that stands alone in one file
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// SeriesInstanceUID of the series to judge, instead of the one that the rules choose
    #[arg(long, value_name = "UID")]
    pub(crate) series: Option<String>,
    /// Where and how it runs.
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArguments {
    /// DICOM files, folders to search for them, or model files (.safetensors)
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Write JSON to FILE, or with `-` to standard output instead of the tables
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// SeriesInstanceUID of the series to look into
    #[arg(long, value_name = "UID")]
    pub(crate) series: Option<String>,
    /// Worker threads [default: the CPUs that affinity and cgroup quota allow]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct DevicesArguments {
    /// Write JSON to FILE, or with `-` to standard output instead of the table
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
}

const PREDICT_HELP: &str = "\
Results go to standard output, everything else to standard error. A study that fails does not stop the others.
Exit status: 0 every result is ok; 1 at least one error, or the model or device failed; 2 wrong usage.
When the model or device fails, --json still writes a document: every PATH carries that error.";

const INSPECT_HELP: &str = "\
Exit status: 0 everything could be read; 1 at least one error; 2 wrong usage.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use radnet::engine::Device;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_words_are_refused() {
        for wrong in [
            &["predict", "x"][..],
            &["predict", "--model", "m"],
            &["predict", "x", "--model", "m", "--threads", "0"],
            &["predict", "x", "--model", "m", "--device", "tpu"],
            &["predict", "x", "--model", "m", "--device", "cuda:x"],
            &["predict", "x", "--model", "m", "--precision", "fp8"],
            &["inspect"],
            &["nothing"],
            &[],
        ] {
            let words = std::iter::once(&"radnet").chain(wrong);
            assert!(Arguments::try_parse_from(words).is_err(), "{wrong:?}");
        }
        let words = ["radnet", "predict", "x", "y", "--model", "m", "--json", "-", "--device", "cuda:1", "--threads", "3"];
        let Command::Predict(p) = Arguments::try_parse_from(words).unwrap().command else { panic!("another command") };
        assert_eq!((p.paths.len(), p.engine.device, p.engine.threads), (2, Device::Cuda(1), Some(3)));
    }
}
