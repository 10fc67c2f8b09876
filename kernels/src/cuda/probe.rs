//! Which GPUs there are, and what each would run, without starting any of them.

use super::driver::{NoLibrary, installed, no_driver, version_text};
use super::gpu::{GpuError, GpuProperties};
use super::prebuilt::Choice;
use std::fmt;

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As the driver counts.
    pub index: usize,
    /// What it is.
    pub properties: GpuProperties,
    /// What the driver supports: "12.4".
    pub cuda_version: String,
    /// Which kernels it would run, and why not the others.
    pub choice: Choice,
}

/// Why there is no GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No driver is installed: nobody expects a GPU of such a machine.
    NoDriver(String),
    /// There is a driver, and it is too old, does not start, or finds no device.
    Unusable(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver(reason) | Self::Unusable(reason) => f.write_str(reason),
        }
    }
}

/// The GPUs of this machine, at least one.
///
/// # Errors
/// Why there is none.
pub fn probe() -> Result<Vec<Found>, Absent> {
    let installed = installed().map_err(|NoLibrary| Absent::NoDriver(no_driver()))?;
    let list = || {
        let installed = installed?;
        let found = |index| {
            let properties = installed.describe(index)?.properties;
            let choice = Choice::of_this_build(properties.compute_capability);
            Ok(Found { index, properties, cuda_version: version_text(installed.version), choice })
        };
        (0..installed.count()?).map(found).collect::<Result<Vec<_>, GpuError>>()
    };
    list().map_err(|error| Absent::Unusable(error.message))
}
