//! `cargo xtask cuda` compiles the CUDA kernels and keeps what is committed under `kernels/cuda/prebuilt` true; `cargo xtask count` counts
//! what the processor's kernels cost; `cargo xtask select` checks that the fastest of them run.

pub mod count;
pub mod cuda;
pub mod select;

use std::path::PathBuf;

/// The repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Why a task ended without doing what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Something is wrong with the kernels, the committed files or the compiler.
    Wrong(String),
    /// The compiler is neither here nor to be had.
    NoToolchain(String),
}

impl Failure {
    /// The exit status: 3 where only the compiler is missing.
    pub fn status(&self) -> u8 {
        match self {
            Self::Wrong(_) => 1,
            Self::NoToolchain(_) => 3,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrong(message) | Self::NoToolchain(message) => f.write_str(message),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Wrong(message)
    }
}
