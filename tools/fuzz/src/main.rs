//! `radnet-fuzz`: hostile inputs, thousands a second, the same ones for the same seed.
//!
//! A target mutates valid inputs with knowledge of their structure and hands them to the library. A run passes when the library
//! returns a value or an error; a panic, a hang or memory beyond the limit fails, named by the seed that repeats it.

mod dicom;
mod drive;
mod rng;
mod safetensors;

use clap::{Args, Parser, Subcommand};
use drive::{Plan, drive};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    target: Target,
}

#[derive(Subcommand)]
enum Target {
    /// DICOM slices, from the file to the pixels.
    Dicom(Common),
    /// Model files.
    Safetensors(Common),
}

/// What every target takes.
#[derive(Args)]
struct Common {
    /// Number of mutated inputs.
    #[arg(long, default_value_t = 20_000)]
    runs: u64,
    /// Seed of the first input; input i has seed + i.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A valid input to mutate beside the built-in ones; may be given several times.
    #[arg(long, value_name = "FILE")]
    start: Vec<PathBuf>,
    /// Peak resident memory that fails the run.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    max_rss: u64,
    /// Names every seed on stderr before it runs, to find one that ends the process.
    #[arg(long)]
    trace: bool,
}

impl Common {
    fn plan(&self) -> Plan {
        Plan { runs: self.runs, seed: self.seed, max_rss_mib: self.max_rss, trace: self.trace }
    }
}

fn main() -> ExitCode {
    let Arguments { target } = Arguments::parse();
    let passed = match &target {
        Target::Dicom(common) => dicom::Target::new(&common.start).map(|target| drive(common.plan(), |seed| target.run(seed))),
        Target::Safetensors(common) => safetensors::Target::new(&common.start).map(|target| drive(common.plan(), |seed| target.run(seed))),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("radnet-fuzz: {message}");
            ExitCode::from(2)
        }
    }
}
