//! The GPUs of this machine.

use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::Gpu;
use std::sync::Arc;

/// Why no GPU is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No NVIDIA driver is installed; on such a machine nobody expects a GPU.
    NoDriver(String),
    /// There is a driver, and this is in the way.
    Unusable(String),
}

/// Opens the GPU at `index`: driver, kernels and a first launch.
///
/// # Errors
/// `device` with the reason when it cannot be used, `out_of_memory`.
pub fn open(index: usize) -> Result<Arc<dyn Gpu>> {
    Err(Error::new(ErrorKind::Device, format!("cuda:{index}: this build has no CUDA backend; use --device cpu or auto")))
}

/// Opens the first GPU that can be used.
///
/// # Errors
/// Why there is none.
pub fn open_any() -> Result<Arc<dyn Gpu>, Absent> {
    Err(Absent::NoDriver("this build has no CUDA backend".to_owned()))
}
