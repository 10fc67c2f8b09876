//! `radnet evaluate` as it is written on the command line.

pub(crate) use super::run::HELP as RUN_HELP;
use super::run::RunArguments;
use clap::{ArgGroup, Args};
use radnet::evaluate::IdKind;
use radnet::evaluate::labels::Format;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("source").required(true).args(["results", "scores", "run"])))]
pub(crate) struct EvaluateArguments {
    /// The truth: CQ500's reads.csv, RSNA 2019's ID,Label rows, or a CSV id,label with reader:<name> columns
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    /// Layout of the labels: auto, cq500, rsna or csv
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = parsed::<Format>)]
    pub(crate) labels_format: Format,
    /// Results of `radnet predict --json`: .json documents, or .jsonl with a document a line
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) results: Vec<PathBuf>,
    /// Scores as CSV: id,score or id,class,score
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save", "restart"])]
    pub(crate) scores: Option<PathBuf>,
    /// Predict every study under FOLDER first, with --model
    #[arg(long, value_name = "FOLDER", requires = "model")]
    pub(crate) run: Option<PathBuf>,
    /// The model of --run
    #[arg(long, value_name = "FILE", requires = "run", conflicts_with_all = ["results", "scores"])]
    pub(crate) model: Option<PathBuf>,
    /// The class to judge, by the model's name for it or the data set's (ICH, SDH, ...)
    #[arg(long, value_name = "CLASS", default_value = "any")]
    pub(crate) class: String,
    /// What the labels name: study, series, sop or folder [default: folder for CQ500, sop for RSNA, else study]
    #[arg(long, value_name = "KIND", value_parser = parsed::<IdKind>)]
    pub(crate) id: Option<IdKind>,
    /// Scores at or above T are positive [default: the model's threshold, else 0.5]
    #[arg(long, value_name = "T", value_parser = share)]
    pub(crate) threshold: Option<f64>,
    /// Resamples of the bootstrap intervals; 0 leaves those intervals out
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = resamples)]
    pub(crate) bootstrap: usize,
    /// Seed of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Leave out, and count, cases that are only labelled or only scored, instead of refusing
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Write the evaluation as JSON to FILE, or with `-` to standard output instead of the table
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// Write a report that stands alone in one file
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// How --run runs.
    #[command(flatten)]
    pub(crate) running: RunArguments,
}

pub(crate) const HELP: &str = "\
Intervals are 95 %: Wilson for shares, DeLong for the AUC, the log method for likelihood ratios, bootstrap for F1 and average precision.
Exit status: 0 done; 1 a file could not be read, or labels and scores do not belong together; 2 wrong usage.";

fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(t) if (0.0..=1.0).contains(&t) => Ok(t),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

fn resamples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= 1_000_000 => Ok(n),
        _ => Err("a number from 0 to 1000000 is needed".to_owned()),
    }
}
