//! The devices of the driver, before anything is started on them.

use super::super::gpu::{GpuError, GpuErrorKind, GpuProperties, Result};
use super::api::{Api, Status};
use cudarc::driver::sys;
use sys::CUdevice_attribute_enum as Attribute;

/// Drivers below this lack functions or do not run our images. As `cuDriverGetVersion` counts: 12.0.
pub(super) const OLDEST_DRIVER: u32 = 12_000;

/// A driver that is new enough, initialised.
#[derive(Clone, Copy)]
pub(in crate::cuda) struct Installed {
    pub(super) api: &'static Api,
    /// As `cuDriverGetVersion` counts: 12040 is CUDA 12.4.
    pub(in crate::cuda) version: u32,
}

/// One device as the driver describes it.
#[derive(Clone, Debug)]
pub(in crate::cuda) struct Described {
    pub(super) handle: sys::CUdevice,
    pub(in crate::cuda) properties: GpuProperties,
}

/// "12.4" of 12040.
pub(in crate::cuda) fn version_text(version: u32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

impl Installed {
    /// Checks the version and initialises the driver.
    ///
    /// # Errors
    /// `Unavailable`: too old, or the driver's reason.
    pub(super) fn new(api: &'static Api) -> Result<Self> {
        let mut version = 0;
        // SAFETY: writes one int; may be called before the driver is initialised.
        let status = unsafe { (api.driver_version)(&mut version) };
        if status != Status::SUCCESS {
            return Err(unavailable(format!("the NVIDIA driver does not tell its version ({})", api.describe(status))));
        }
        let version = u32::try_from(version).unwrap_or(0);
        if version < OLDEST_DRIVER {
            let (found, needed) = (version_text(version), version_text(OLDEST_DRIVER));
            let message =
                format!("the NVIDIA driver is too old: it supports CUDA {found}, and {needed} is needed; install driver 525 or newer");
            return Err(unavailable(message));
        }
        // SAFETY: takes no pointers; the flags must be 0.
        match unsafe { (api.init)(0) } {
            Status::SUCCESS => Ok(Self { api, version }),
            Status::NO_DEVICE => Err(unavailable("the NVIDIA driver finds no device that this process may use".to_owned())),
            status => Err(unavailable(format!("the NVIDIA driver does not start ({})", api.describe(status)))),
        }
    }

    /// How many devices there are.
    ///
    /// # Errors
    /// `Unavailable` when there is none.
    pub(in crate::cuda) fn count(&self) -> Result<usize> {
        let mut count = 0;
        // SAFETY: writes one int; the driver is initialised.
        let status = unsafe { (self.api.device_count)(&mut count) };
        match (status, usize::try_from(count)) {
            (Status::SUCCESS, Ok(count @ 1..)) => Ok(count),
            (Status::SUCCESS | Status::NO_DEVICE, _) => {
                Err(unavailable("the NVIDIA driver finds no device that this process may use".to_owned()))
            }
            (status, _) => Err(unavailable(format!("the NVIDIA driver does not count its devices ({})", self.api.describe(status)))),
        }
    }

    /// The device at `index`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(in crate::cuda) fn describe(&self, index: usize) -> Result<Described> {
        let count = self.count()?;
        if index >= count {
            let message = format!("cuda:{index}: there are {count} GPUs, counted from 0");
            return Err(unavailable(message));
        }
        let refused = |status| unavailable(format!("cuda:{index}: the NVIDIA driver does not describe it ({})", self.api.describe(status)));
        let mut handle = 0;
        // SAFETY: writes one handle; the index was checked, and fits since the count came as an int.
        status(unsafe { (self.api.device)(&mut handle, index as i32) }).map_err(refused)?;
        let properties = self.properties(handle).map_err(refused)?;
        Ok(Described { handle, properties })
    }

    fn properties(&self, device: sys::CUdevice) -> Result<GpuProperties, Status> {
        let attribute = |which| self.attribute(device, which);
        let mut memory_bytes = 0;
        // SAFETY: writes one size; the device came from the driver.
        status(unsafe { (self.api.device_memory)(&mut memory_bytes, device) })?;
        Ok(GpuProperties {
            name: self.name(device)?,
            compute_capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            shared_bytes_per_block: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            shared_bytes_per_multiprocessor: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?,
            memory_bytes: memory_bytes as u64,
        })
    }

    fn attribute(&self, device: sys::CUdevice, which: Attribute) -> Result<u32, Status> {
        let mut value = 0;
        // SAFETY: writes one int; the device came from the driver.
        status(unsafe { (self.api.device_attribute)(&mut value, which, device) })?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    fn name(&self, device: sys::CUdevice) -> Result<String, Status> {
        let mut name = [0_u8; 256];
        // SAFETY: the driver writes at most as many bytes as it is told, a terminator among them.
        status(unsafe { (self.api.device_name)(name.as_mut_ptr().cast(), name.len() as i32, device) })?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }
}

fn status(status: Status) -> Result<(), Status> {
    if status == Status::SUCCESS { Ok(()) } else { Err(status) }
}

pub(super) fn unavailable(message: String) -> GpuError {
    GpuError::new(GpuErrorKind::Unavailable, message)
}
