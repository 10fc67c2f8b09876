//! `radnet calibrate` as it is written on the command line.

use crate::evaluate::run::RunArguments;
use clap::{ArgGroup, Args};
use radnet::calibrate::threshold::Target;
use radnet::evaluate::IdKind;
use radnet::evaluate::labels::Format;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("answers").required(true).args(["results", "run"])))]
#[command(group(ArgGroup::new("target").required(true).args(["sensitivity", "specificity", "youden"])))]
pub(crate) struct CalibrateArguments {
    /// The truth: CQ500's reads.csv, RSNA 2019's ID,Label rows, or a CSV id,label with reader:<name> columns
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    /// Layout of the labels: auto, cq500, rsna or csv
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = parsed::<Format>)]
    pub(crate) labels_format: Format,
    /// Results of `radnet predict --json` with this very model: .json documents, or .jsonl with a document a line
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) results: Vec<PathBuf>,
    /// Predict every study under FOLDER first
    #[arg(long, value_name = "FOLDER")]
    pub(crate) run: Option<PathBuf>,
    /// The model to calibrate; it is not changed
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// The new model
    #[arg(long, value_name = "NEW.safetensors")]
    pub(crate) out: PathBuf,
    /// The class to calibrate, by the model's name for it or the data set's (ICH, SDH, ...); the others stay
    #[arg(long, value_name = "CLASS", default_value = "any")]
    pub(crate) class: String,
    /// What the labels name: study, series, sop or folder [default: folder for CQ500, sop for RSNA, else study]
    #[arg(long, value_name = "KIND", value_parser = parsed::<IdKind>)]
    pub(crate) id: Option<IdKind>,
    /// The highest threshold with at least this sensitivity
    #[arg(long, value_name = "SHARE", value_parser = wanted)]
    pub(crate) sensitivity: Option<f64>,
    /// The lowest threshold with at least this specificity
    #[arg(long, value_name = "SHARE", value_parser = wanted)]
    pub(crate) specificity: Option<f64>,
    /// The threshold with the largest sensitivity + specificity - 1
    #[arg(long)]
    pub(crate) youden: bool,
    /// Choose a threshold only; leave the probabilities as they are
    #[arg(long)]
    pub(crate) no_temperature: bool,
    /// Version of the new model [default: the old one with +calibrated]
    #[arg(long, value_name = "TEXT")]
    pub(crate) model_version: Option<String>,
    /// Leave out, and count, cases that are only labelled or only scored, instead of refusing
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Resamples of the threshold's interval; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = resamples)]
    pub(crate) bootstrap: usize,
    /// Seed of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write what was found as JSON to FILE, or with `-` to standard output instead of the text
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// How --run runs.
    #[command(flatten)]
    pub(crate) running: RunArguments,
}

pub(crate) const HELP: &str = "\
The temperature T has the lowest log loss of p = sigmoid(z / T) on the cases, between 0.05 and 20; it is folded into the classifier's row
of the class, which is then stored as F32. The threshold lies midway between two neighbouring scores. With --id sop both are fitted to
single slices, though the engine compares the score of a scan with the threshold. A calibrated model can be calibrated again: its file
keeps the record of every calibration, and `radnet inspect` shows them.
Sensitivity and specificity are those of the cases that the threshold was chosen on: judge the new model on others.
Exit status: 0 done; 1 a file could not be read, or these cases cannot support the threshold; 2 wrong usage.";

impl CalibrateArguments {
    pub(crate) fn target(&self) -> Target {
        match (self.sensitivity, self.specificity) {
            (Some(share), _) => Target::Sensitivity(share),
            (None, Some(share)) => Target::Specificity(share),
            (None, None) => Target::Youden,
        }
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

fn wanted(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("a number above 0 and up to 1 is needed".to_owned()),
    }
}

fn resamples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= 1_000_000 => Ok(n),
        _ => Err("a number from 0 to 1000000 is needed".to_owned()),
    }
}
