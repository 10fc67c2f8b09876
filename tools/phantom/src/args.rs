//! The command line.

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use radnet_phantom::{BleedChoice, Kind, Scanner, Settings};

/// Synthetic head CT series with hemorrhages, seeded. Not patients.
#[derive(Debug, Parser)]
#[command(name = "radnet-phantom", version)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A DICOM series, with its truth in another folder.
    Series {
        /// Seed.
        #[arg(long)]
        seed: u64,
        /// How to generate.
        #[command(flatten)]
        options: Options,
        /// Folder, made if missing.
        #[arg(long)]
        out: PathBuf,
        /// Folder of truth.json and mask.npy; OUT-truth when missing.
        #[arg(long)]
        truth: Option<PathBuf>,
        /// Adds a lateral localizer.
        #[arg(long)]
        localizer: bool,
        /// Adds a dose sheet and files that are no images.
        #[arg(long)]
        junk: bool,
    },
    /// Raw arrays for training, one folder a scan.
    Export {
        /// Seeds, the last one excluded: 100..200.
        #[arg(long, value_parser = seeds)]
        seeds: Range<u64>,
        /// How to generate.
        #[command(flatten)]
        options: Options,
        /// Writes only this many slices of each series, evenly spread: more heads in the same time and space.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=400))]
        sample: Option<u16>,
        /// Folder, made if missing.
        #[arg(long)]
        out: PathBuf,
    },
    /// A contact sheet.
    View {
        /// Seed.
        #[arg(long)]
        seed: u64,
        /// How to generate.
        #[command(flatten)]
        options: Options,
        /// PNG file.
        #[arg(long)]
        out: PathBuf,
        /// Bone window instead of brain window.
        #[arg(long)]
        bone: bool,
        /// Without outlines of the masks.
        #[arg(long)]
        plain: bool,
    },
}

/// What all commands share.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Options {
    /// Scanner: ge, siemens, philips, toshiba; drawn when missing.
    #[arg(long, value_parser = scanner)]
    pub(crate) scanner: Option<Scanner>,
    /// epidural, intraparenchymal, intraventricular, subarachnoid, subdural, none or auto.
    #[arg(long, value_parser = bleed, default_value = "auto")]
    pub(crate) bleed: BleedChoice,
    /// Rows and columns.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(32..=1024))]
    pub(crate) size: u16,
    /// Greatest number of slices.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub(crate) slices: u16,
    /// Distance of slices in mm; drawn when missing.
    #[arg(long)]
    pub(crate) spacing: Option<f32>,
    /// Held-out distribution: other noise, thickness, tilt, lesion sizes.
    #[arg(long)]
    pub(crate) shift: bool,
}

impl Options {
    /// Settings for one seed.
    pub(crate) fn settings(&self, seed: u64) -> Settings {
        Settings {
            seed,
            scanner: self.scanner,
            bleed: self.bleed,
            size: usize::from(self.size),
            max_slices: usize::from(self.slices),
            spacing_mm: self.spacing,
            shift: self.shift,
            sample: None,
        }
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (a, b) = text.split_once("..").ok_or("expected A..B")?;
    let number = |t: &str| t.parse::<u64>().map_err(|e| format!("{t}: {e}"));
    let (a, b) = (number(a)?, number(b)?);
    if a < b { Ok(a..b) } else { Err("the range is empty".into()) }
}

fn scanner(text: &str) -> Result<Scanner, String> {
    Scanner::from_name(text).ok_or_else(|| format!("unknown scanner {text}"))
}

fn bleed(text: &str) -> Result<BleedChoice, String> {
    match text {
        "auto" => Ok(BleedChoice::Auto),
        "none" => Ok(BleedChoice::None),
        _ => Kind::from_name(text).map(BleedChoice::Of).ok_or_else(|| format!("unknown hemorrhage {text}")),
    }
}
