//! NVIDIA's driver as a [`Gpu`].
//!
//! The library is loaded when a GPU is first asked for, its functions are looked up by name, and every result is checked: a machine without a
//! driver, an old driver, a device without kernels, a full or lost device are errors in words. What is made on a device holds its context, so
//! that the order in which things are dropped does not matter, and dropping never panics.

mod api;
mod context;
mod device;
#[cfg(test)]
mod fake;
mod graph;
mod marks;
mod modules;
mod stream;
#[cfg(test)]
mod tests;

use super::gpu::{Gpu, GpuError, GpuProperties, Result, Stream};
use super::prebuilt::{MODULES, Module};
use super::selftest;
use context::Context;
use device::Installed;
use modules::Modules;
use std::ffi::c_void;
use std::sync::Arc;
use stream::DriverStream;

pub(super) use api::NoLibrary;
pub(super) use device::version_text;

/// A device of NVIDIA's driver with the kernels that this program carries.
#[derive(Debug)]
pub struct Driver {
    context: Arc<Context>,
    modules: Arc<Modules>,
    properties: GpuProperties,
    isa: &'static str,
}

impl Driver {
    /// Opens the device at `index`, as the driver counts, and has it run a first kernel.
    ///
    /// # Errors
    /// `Unavailable` without a driver, with one too old, without such a device, without kernels for it, or when the first kernel does not do
    /// what it should; `OutOfMemory`.
    pub fn open(index: usize) -> Result<Self> {
        let installed = installed().unwrap_or_else(|NoLibrary| Err(device::unavailable(no_driver())));
        let installed = installed.map_err(|error| GpuError::new(error.kind, format!("cuda:{index}: {}", error.message)))?;
        Self::with(installed, index, MODULES)
    }

    fn with(installed: Installed, index: usize, modules: &'static [Module]) -> Result<Self> {
        let context = Arc::new(Context::open(installed, index)?);
        let modules = Arc::new(Modules::new(Arc::clone(&context), modules)?);
        let first = modules.function(selftest::KERNEL)?;
        let properties = GpuProperties { compute_capability: first.capability, ..context.properties.clone() };
        let driver = Self { context, modules, properties, isa: first.target };
        selftest::run(&driver)?;
        Ok(driver)
    }

    /// What the driver supports: "12.4".
    pub fn cuda_version(&self) -> String {
        version_text(self.context.driver)
    }
}

/// This machine's driver, ready for questions.
///
/// # Errors
/// [`NoLibrary`] outside; inside, `Unavailable`: too old, or it does not start.
pub(super) fn installed() -> Result<Result<Installed>, NoLibrary> {
    Ok(api::api()?.and_then(Installed::new))
}

/// That there is no driver, and what to do.
pub(super) fn no_driver() -> String {
    "no NVIDIA driver is installed (its library libcuda.so.1 is not found); install driver 525 or newer, or use the CPU".to_owned()
}

impl Gpu for Driver {
    fn properties(&self) -> &GpuProperties {
        &self.properties
    }

    fn label(&self) -> String {
        self.context.label.clone()
    }

    fn isa(&self) -> String {
        self.isa.to_owned()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let mut address = 0;
        let what = || {
            let free = self.context.memory_mib().map_or(String::new(), |(free, total)| format!(" ({free} of {total} MiB are free)"));
            format!("get {} MiB{free}", bytes.div_ceil(1 << 20))
        };
        // SAFETY: writes one address; the driver aligns it to 256 bytes at least.
        self.context.call(what, |api| unsafe { (api.memory_allocate)(&mut address, bytes) })?;
        Ok(address)
    }

    unsafe fn free(&self, address: u64) {
        // SAFETY: the caller promises that the address is this device's and freed once.
        self.context.release(|api| unsafe { (api.memory_free)(address) });
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<*mut u8> {
        let mut address: *mut c_void = std::ptr::null_mut();
        let what = || format!("pin {} MiB of host memory", bytes.div_ceil(1 << 20));
        // SAFETY: writes one address. No flags: memory that the host caches, since it reads results from it.
        self.context.call(what, |api| unsafe { (api.host_allocate)(&mut address, bytes, 0) })?;
        Ok(address.cast())
    }

    unsafe fn free_pinned(&self, address: *mut u8) {
        // SAFETY: the caller promises that the address is this device's and freed once.
        self.context.release(|api| unsafe { (api.host_free)(address.cast()) });
    }

    fn stream(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(DriverStream::new(&self.context, &self.modules)?))
    }
}
