//! The GPUs of this machine.

use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::{Driver, Gpu, GpuErrorKind};
use std::sync::Arc;

pub use radnet_kernels::cuda::prebuilt::{Choice, Verdict};
pub use radnet_kernels::cuda::probe::{Absent, Found, probe};

/// Opens the GPU at `index`: driver, kernels, and a first launch whose result is checked.
///
/// # Errors
/// `device` with the reason when it cannot be used, `out_of_memory`.
pub fn open(index: usize) -> Result<Arc<dyn Gpu>> {
    match Driver::open(index) {
        Ok(driver) => Ok(Arc::new(driver)),
        Err(error) => {
            let kind = if error.kind == GpuErrorKind::OutOfMemory { ErrorKind::OutOfMemory } else { ErrorKind::Device };
            Err(Error::new(kind, error.message.clone()).caused_by(error))
        }
    }
}

/// Opens the first GPU that can be used.
///
/// # Errors
/// Why there is none: for each GPU, where there are any.
pub fn open_any() -> Result<Arc<dyn Gpu>, Absent> {
    let mut refusals = Vec::new();
    for found in probe()? {
        match open(found.index) {
            Ok(gpu) => return Ok(gpu),
            Err(error) => refusals.push(error.message().to_owned()),
        }
    }
    Err(Absent::Unusable(refusals.join("; ")))
}
