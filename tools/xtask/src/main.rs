//! `cargo xtask …`.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use xtask::Failure;
use xtask::cuda::{self, Toolchain};

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
}

fn main() -> ExitCode {
    let Task::Cuda { check, table, nvrtc } = Arguments::parse().task;
    match run(check, table, nvrtc) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(check: bool, table: bool, nvrtc: Option<PathBuf>) -> Result<(), Failure> {
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
