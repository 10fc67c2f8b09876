//! `radnet-gpu`: what to run on the day a GPU is there. It builds nothing, checks every kernel, compares with the CPU, then measures.

mod program;

use clap::{Parser, Subcommand};
use program::{checks, report, run, starts};
use radnet_gpu::launches;
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks and measures RADnet's CUDA kernels on a device.
#[derive(Parser)]
#[command(name = "radnet-gpu", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Kernel checks, comparison with the CPU, and times; writes results.json and RESULTS.md
    Run {
        #[command(flatten)]
        options: run::Options,
    },
    /// The kernel checks alone, in this process (for compute-sanitizer); a line of JSON for each
    Check {
        /// Which GPU
        #[arg(long, default_value_t = 0)]
        device: usize,
        /// Only this family
        #[arg(long, value_name = "NAME")]
        family: Option<String>,
        /// Begin at the case of this number
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: usize,
    },
    /// Adds what run.sh has put beside results.json, and writes RESULTS.md again
    Finish {
        /// Where results.json is
        #[arg(long, value_name = "DIR", default_value = "benches/gpu")]
        out: PathBuf,
    },
    /// One scan through a model from the start of the process, and nothing else
    First {
        /// Which GPU
        #[arg(long, default_value_t = 0)]
        device: usize,
        /// The model
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
    },
    /// What launches of DenseNet-121 need, on paper: needs no GPU
    Launches {
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "benches/gpu/launches.json")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Run { options } => run::run(&options),
        Task::Check { device, family, from } => checks::check(device, family.as_deref(), from),
        Task::Finish { out } => report::finish(&out),
        Task::First { device, model } => starts::first(device, &model),
        Task::Launches { out } => launches::list(&launches::SIZES, &launches::SLICES).and_then(|list| report::write_json(&out, &list)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
