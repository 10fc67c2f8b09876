//! The primary context of a device: shared with whatever else the process does on it, never left current on a thread of the host.

use super::super::gpu::{GpuError, GpuErrorKind, GpuProperties, Result};
use super::api::{Api, Status};
use super::device::{Installed, unavailable};
use cudarc::driver::sys;
use std::fmt;
use std::sync::OnceLock;

/// A retained context.
pub(super) struct Context {
    api: &'static Api,
    /// As `cuDriverGetVersion` counts.
    pub(super) driver: u32,
    pub(super) label: String,
    pub(super) properties: GpuProperties,
    device: sys::CUdevice,
    raw: sys::CUcontext,
    /// Why nothing works any more.
    lost: OnceLock<String>,
}

// SAFETY: the driver's functions may be called from any thread; each call here makes the context current on its own thread first. The handles
// are not changed after the context is made.
unsafe impl Send for Context {}
// SAFETY: as above; the driver synchronises access to a context itself.
unsafe impl Sync for Context {}

/// The context is current on this thread while this lives; then the one before it is again.
struct Current<'a>(&'a Context);

impl Context {
    /// Starts the device at `index`, or joins those who did.
    ///
    /// # Errors
    /// `Unavailable`, `OutOfMemory`.
    pub(super) fn open(installed: Installed, index: usize) -> Result<Self> {
        let described = installed.describe(index)?;
        let label = format!("cuda:{index}");
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle; the device came from the driver.
        let status = unsafe { (installed.api.context_retain)(&mut raw, described.handle) };
        match status {
            Status::SUCCESS => Ok(Self {
                api: installed.api,
                driver: installed.version,
                label,
                properties: described.properties,
                device: described.handle,
                raw,
                lost: OnceLock::new(),
            }),
            Status::OUT_OF_MEMORY => {
                let message = format!("{label}: no memory to start on it: other programs fill it; stop them or choose another device");
                Err(GpuError::new(GpuErrorKind::OutOfMemory, message))
            }
            status => Err(unavailable(format!("{label}: it cannot be started ({})", installed.api.describe(status)))),
        }
    }

    /// Calls the driver with the context current. `what` completes "could not".
    ///
    /// # Errors
    /// `OutOfMemory`, `Failed`; once the context is lost, always.
    pub(super) fn call(&self, what: impl FnOnce() -> String, function: impl FnOnce(&Api) -> Status) -> Result<()> {
        self.status(function).and_then(|status| self.check(status, what))
    }

    /// As [`Context::call`], for those who act on some results themselves.
    pub(super) fn status(&self, function: impl FnOnce(&Api) -> Status) -> Result<Status> {
        if let Some(reason) = self.lost.get() {
            return Err(GpuError::new(GpuErrorKind::Failed, reason.clone()));
        }
        let _current = self.make_current()?;
        Ok(function(self.api))
    }

    /// Calls what gives something back; nobody is told of a failure, since nobody could do anything about it.
    pub(super) fn release(&self, function: impl FnOnce(&Api) -> Status) {
        if let Ok(_current) = self.make_current() {
            function(self.api);
        }
    }

    /// An error with words, unless the driver was content. A lost context is remembered.
    pub(super) fn check(&self, status: Status, what: impl FnOnce() -> String) -> Result<()> {
        if status == Status::SUCCESS {
            return Ok(());
        }
        let (label, reason) = (&self.label, self.api.describe(status));
        if status.loses_the_context() {
            let lost = self.lost.get_or_init(|| {
                format!(
                    "{label} was lost: {reason}; drop every engine on it and open it again, or go on without it (device cpu); if it happens \
                     again, check the GPU and its driver"
                )
            });
            return Err(GpuError::new(GpuErrorKind::Failed, lost.clone()));
        }
        let what = what();
        if status == Status::OUT_OF_MEMORY {
            let message =
                format!("{label}: out of memory: could not {what}; run fewer sessions, free memory on it, or choose another device");
            return Err(GpuError::new(GpuErrorKind::OutOfMemory, message));
        }
        Err(GpuError::new(GpuErrorKind::Failed, format!("{label}: could not {what} ({reason})")))
    }

    /// Free and total global memory in MiB, where the driver says.
    pub(super) fn memory_mib(&self) -> Option<(usize, usize)> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes; the context is current.
        let status = self.status(|api| unsafe { (api.memory_info)(&mut free, &mut total) });
        (status == Ok(Status::SUCCESS)).then_some((free >> 20, total >> 20))
    }

    /// What the driver calls a result.
    pub(super) fn describe(&self, status: Status) -> String {
        self.api.describe(status)
    }

    fn make_current(&self) -> Result<Current<'_>> {
        // SAFETY: the context is retained as long as `self` lives.
        match unsafe { (self.api.context_push)(self.raw) } {
            Status::SUCCESS => Ok(Current(self)),
            status => {
                let message = format!("{}: it cannot be used on this thread ({})", self.label, self.api.describe(status));
                Err(GpuError::new(GpuErrorKind::Failed, message))
            }
        }
    }
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let mut popped = std::ptr::null_mut();
        // SAFETY: pops what `make_current` pushed on this thread; the guard is not sent to another, since it lives inside one call.
        unsafe { (self.0.api.context_pop)(&mut popped) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`; streams, graphs and modules hold the context, so they are gone.
        unsafe { (self.api.context_release)(self.device) };
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("label", &self.label).field("lost", &self.lost.get()).finish_non_exhaustive()
    }
}
