//! `cargo xtask …`.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use xtask::cuda::{self, Toolchain};
use xtask::{Failure, count, select};

/// Tasks of RADnet's developers.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compiles kernels/cuda/*.cu and writes kernels/cuda/prebuilt
    Cuda {
        /// Compiles, writes nothing, and fails where the committed files differ, a kernel spills, or an instruction is missing
        #[arg(long)]
        check: bool,
        /// Writes benches/gpu/RESOURCES.md from kernels/cuda/prebuilt/manifest.json, compiling nothing
        #[arg(long, conflicts_with = "check")]
        table: bool,
        /// Folder of libnvrtc.so.12, cuobjdump, nvdisasm and ptxas-11.8; else they are downloaded by pip into target/cuda-toolchain
        #[arg(long, value_name = "DIR")]
        nvrtc: Option<PathBuf>,
    },
    /// Counts instructions (valgrind) and what the innermost loops hold (binutils), and compares with benches/counts.json
    Count {
        /// Writes benches/counts.json instead
        #[arg(long)]
        update: bool,
        /// Runs the counted workloads on a tier; what valgrind is given
        #[arg(long, hide = true, conflicts_with = "update")]
        run: Option<String>,
    },
    /// Times the tier that the engine selects against every other one of this machine, kernel by kernel; the machine should be idle
    Select {
        /// Rounds of which the fastest counts
        #[arg(long, value_name = "N", default_value_t = 5)]
        rounds: usize,
        /// Only workloads whose name contains this
        #[arg(long, value_name = "TEXT", default_value = "")]
        filter: String,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Cuda { check, table, nvrtc } => compile(check, table, nvrtc),
        Task::Count { run: Some(tier), .. } => count::run_workloads(&tier).map_err(Failure::from),
        Task::Count { update: true, .. } => count::update(),
        Task::Count { .. } => count::check(),
        Task::Select { rounds, filter } => select::check(rounds, &filter),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn compile(check: bool, table: bool, nvrtc: Option<PathBuf>) -> Result<(), Failure> {
    if table {
        return Ok(cuda::write_table()?);
    }
    let toolchain = match nvrtc {
        Some(folder) => Toolchain::in_folder(&folder)?,
        None => Toolchain::downloaded()?,
    };
    let built = cuda::build(&toolchain, !check)?;
    match check {
        true => Ok(cuda::check(&toolchain, &built)?),
        false => Ok(cuda::write(&built)?),
    }
}
