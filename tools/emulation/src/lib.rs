#![doc = include_str!("../README.md")]

mod device;
mod foreign;
mod operation;
mod stream;

use radnet_kernels::cuda::{GpuError, GpuErrorKind};
use std::sync::Arc;

pub use device::Emulation;

/// What is emulated, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Decides the order of threads and blocks.
    pub seed: u64,
    /// (8, 0), or (9, 0) for clusters and asynchronous matrix products.
    pub compute_capability: (u32, u32),
    /// Largest dynamic shared memory of a block, in bytes.
    pub shared_bytes_per_block: u32,
    /// Global memory, in bytes.
    pub memory_bytes: u64,
    /// Threads of the host that share a launch's blocks.
    pub threads: u32,
}

impl Options {
    /// A device of compute capability 8.0, as an A100.
    pub fn ampere() -> Self {
        Self { seed: 1, compute_capability: (8, 0), shared_bytes_per_block: 163 * 1024, memory_bytes: 4 << 30, threads: 1 }
    }

    /// A device of compute capability 9.0, as an H100.
    pub fn hopper() -> Self {
        Self { compute_capability: (9, 0), shared_bytes_per_block: 227 * 1024, ..Self::ampere() }
    }

    /// The same with another order of threads and blocks.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::hopper()
    }
}

/// Whether kernels can be emulated: whether there was a C++ compiler when this crate was built.
pub const AVAILABLE: bool = cfg!(emulated);

/// A device, or none where there was no C++ compiler; then it says so on standard error, for a test that skips.
///
/// # Panics
/// Never for the options that this crate offers.
pub fn device_or_skip(options: Options) -> Option<Arc<Emulation>> {
    match Emulation::new(options) {
        Ok(device) => Some(device),
        Err(error) if !AVAILABLE => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn failed(message: impl Into<String>) -> GpuError {
    GpuError::new(GpuErrorKind::Failed, message)
}
