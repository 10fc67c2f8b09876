//! `radnet quantize` as it is written on the command line.

use crate::engine::threads;
use clap::Args;
use radnet::evaluate::IdKind;
use radnet::evaluate::labels::Format;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct QuantizeArguments {
    /// The model to quantise; it is not changed
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// The new model; a file that is there already is not replaced
    #[arg(long, value_name = "NEW.safetensors")]
    pub(crate) out: PathBuf,
    /// Take the ranges from these scans instead of the model's norms: DICOM files, or folders to search for them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) scans: Vec<PathBuf>,
    /// Then judge these scans in fp32 and in int8, and say what differs
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) check: Vec<PathBuf>,
    /// The truth for --check, to say how the AUC changes: CQ500's reads.csv, or a CSV id,label
    #[arg(long, value_name = "FILE", requires = "check")]
    pub(crate) labels: Option<PathBuf>,
    /// Layout of the labels: auto, cq500 or csv
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = parsed::<Format>)]
    pub(crate) labels_format: Format,
    /// What the labels name: study, series or folder [default: folder for CQ500, else study]
    #[arg(long, value_name = "KIND", value_parser = id_of_scans)]
    pub(crate) id: Option<IdKind>,
    /// Leave out scans that are only labelled or only judged, instead of refusing
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Version of the new model [default: the old one with +int8]
    #[arg(long, value_name = "TEXT")]
    pub(crate) model_version: Option<String>,
    /// Write what was done and found as JSON to FILE, or with `-` to standard output instead of the text
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// Worker threads [default: the CPUs that affinity and cgroup quota allow]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

pub(crate) const HELP: &str = "\
The new file holds every tensor of the old one byte for byte, and beside them the ranges that 8-bit codes stand for; in fp32 it gives the
same bits. `radnet predict --precision int8` uses its ranges. It also runs files without any, with the ranges that their norms imply, which
is what `quantize` writes without --scans. Scans for --scans need no labels and should not be those that the model is judged on; a few
of every kind will do. Their slices run through the network in plain float32, at about two a second and core.
A scan that cannot be read is named and left out.
Exit status: 0 done; 1 a scan could not be read, or the model, a file or the device failed; 2 wrong usage.";

fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

/// A decision is a scan's.
fn id_of_scans(text: &str) -> Result<IdKind, String> {
    match text.parse()? {
        IdKind::Sop => Err("`sop` names slices; scans are compared: study, series or folder".to_owned()),
        kind => Ok(kind),
    }
}
