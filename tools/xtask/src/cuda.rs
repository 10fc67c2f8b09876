//! The CUDA kernels, compiled: from `kernels/cuda/*.cu` to what is committed in `kernels/cuda/prebuilt` (its README says what is there).

mod build;
mod check;
mod claims;
mod manifest;
mod nvrtc;
mod packed;
mod report;
mod table;
mod toolchain;

pub use build::{Built, build, write};
pub use check::check;
pub use manifest::{Kernel, Manifest, Module, fresh, sha256};
pub use table::write_table;
pub use toolchain::Toolchain;

use std::path::PathBuf;

/// What cubins are made for, from the oldest on, then the PTX. 8.6, 8.7 and 8.9 run the machine code of 8.0.
pub const TARGETS: [&str; 5] = ["sm_80", "sm_90a", "sm_100a", "sm_120", PTX_TARGET];

/// The one target that yields assembler text.
pub const PTX_TARGET: &str = "compute_80";

/// Where the kernels' sources are.
pub fn sources_folder() -> PathBuf {
    crate::repository().join("kernels/cuda")
}

/// Where what was compiled is.
pub fn prebuilt_folder() -> PathBuf {
    sources_folder().join("prebuilt")
}
