//! The C++ runtime, behind safe types where it can be.

use radnet_kernels::cuda::gpu::Result;
use radnet_kernels::cuda::{GpuError, GpuErrorKind};

/// A launch as the runtime takes it.
#[repr(C)]
pub(crate) struct LaunchRequest {
    pub(crate) kernel: *const std::ffi::c_char,
    pub(crate) arguments: *const u8,
    pub(crate) memory: *mut RawMemory,
    pub(crate) seed: u64,
    pub(crate) grid: [u32; 3],
    pub(crate) block: u32,
    pub(crate) cluster: u32,
    pub(crate) shared_bytes: u32,
    pub(crate) overlaps: u32,
    pub(crate) hopper: u32,
    pub(crate) threads: u32,
}

/// The runtime's own.
#[repr(C)]
pub(crate) struct RawMemory {
    _opaque: [u8; 0],
}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Pinned,
}

const MESSAGE_BYTES: usize = 1024;

#[cfg(emulated)]
mod raw {
    use super::{LaunchRequest, RawMemory};
    use std::ffi::{c_char, c_int, c_void};

    unsafe extern "C" {
        pub(super) fn radnet_emulation_memory_new() -> *mut RawMemory;
        pub(super) fn radnet_emulation_memory_delete(memory: *mut RawMemory);
        pub(super) fn radnet_emulation_allocate(memory: *mut RawMemory, bytes: usize, pinned: c_int) -> *mut c_void;
        pub(super) fn radnet_emulation_inside(memory: *mut RawMemory, at: *const c_void, bytes: usize, pinned: c_int) -> c_int;
        pub(super) fn radnet_emulation_free(
            memory: *mut RawMemory,
            at: *mut c_void,
            pinned: c_int,
            message: *mut c_char,
            bytes: usize,
        ) -> c_int;
        pub(super) fn radnet_emulation_kernel(name: *const c_char, argument_bytes: *mut usize, max_threads: *mut u32) -> c_int;
        pub(super) fn radnet_emulation_launch(
            request: *const LaunchRequest,
            before: *const LaunchRequest,
            message: *mut c_char,
            bytes: usize,
        ) -> c_int;
    }
}

/// Never reached: no [`Memory`] exists without a C++ compiler.
#[cfg(not(emulated))]
mod raw {
    use super::{LaunchRequest, RawMemory};
    use std::ffi::{c_char, c_int, c_void};

    pub(super) unsafe fn radnet_emulation_memory_new() -> *mut RawMemory {
        std::ptr::null_mut()
    }
    pub(super) unsafe fn radnet_emulation_memory_delete(_: *mut RawMemory) {}
    pub(super) unsafe fn radnet_emulation_allocate(_: *mut RawMemory, _: usize, _: c_int) -> *mut c_void {
        std::ptr::null_mut()
    }
    pub(super) unsafe fn radnet_emulation_inside(_: *mut RawMemory, _: *const c_void, _: usize, _: c_int) -> c_int {
        0
    }
    pub(super) unsafe fn radnet_emulation_free(_: *mut RawMemory, _: *mut c_void, _: c_int, _: *mut c_char, _: usize) -> c_int {
        1
    }
    pub(super) unsafe fn radnet_emulation_kernel(_: *const c_char, _: *mut usize, _: *mut u32) -> c_int {
        0
    }
    pub(super) unsafe fn radnet_emulation_launch(_: *const LaunchRequest, _: *const LaunchRequest, _: *mut c_char, _: usize) -> c_int {
        1
    }
}

/// The memory of one device.
#[derive(Debug)]
pub(crate) struct Memory(*mut RawMemory);

// SAFETY: the runtime guards its map of allocations by a mutex.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new() -> Result<Self> {
        if !crate::AVAILABLE {
            let message = "the CUDA kernels cannot be emulated: there was no C++ compiler when radnet-emulation was built";
            return Err(GpuError::new(GpuErrorKind::Unavailable, message));
        }
        // SAFETY: the function only allocates.
        let memory = unsafe { raw::radnet_emulation_memory_new() };
        if memory.is_null() { Err(GpuError::new(GpuErrorKind::OutOfMemory, "the host has no memory left")) } else { Ok(Self(memory)) }
    }

    pub(crate) fn raw(&self) -> *mut RawMemory {
        self.0
    }

    /// Poisoned memory between redzones, aligned to 1024 bytes; null when there is none.
    pub(crate) fn allocate(&self, bytes: usize, space: Space) -> *mut u8 {
        // SAFETY: the runtime's object lives as long as this one.
        unsafe { raw::radnet_emulation_allocate(self.0, bytes, i32::from(space == Space::Pinned)) }.cast()
    }

    /// Whether the range lies in one live allocation.
    pub(crate) fn holds(&self, address: u64, bytes: usize, space: Space) -> bool {
        // SAFETY: the address is only compared.
        unsafe { raw::radnet_emulation_inside(self.0, address as *const _, bytes, i32::from(space == Space::Pinned)) != 0 }
    }

    /// Frees an allocation; an error when it is none or its redzones were written to. Unknown addresses are left alone.
    pub(crate) fn free(&self, address: u64, space: Space) -> std::result::Result<(), String> {
        with_message(|text, bytes| {
            // SAFETY: the runtime frees only what it finds in its map; the message has `bytes` bytes.
            unsafe { raw::radnet_emulation_free(self.0, address as *mut _, i32::from(space == Space::Pinned), text, bytes) }
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `radnet_emulation_memory_new`, deleted once.
        unsafe { raw::radnet_emulation_memory_delete(self.0) }
    }
}

/// The bytes of a kernel's argument struct and the most threads of its blocks.
pub(crate) fn kernel(name: &std::ffi::CStr) -> Option<(usize, u32)> {
    let (mut argument_bytes, mut max_threads) = (0, 0);
    // SAFETY: the name ends in a zero and the two places are writable.
    let found = unsafe { raw::radnet_emulation_kernel(name.as_ptr(), &mut argument_bytes, &mut max_threads) };
    (found != 0).then_some((argument_bytes, max_threads))
}

/// Runs a launch to its end, and `before` when it first waits for it, or after it.
///
/// # Safety
/// The requests' pointers are valid, their arguments are as long as the kernels' structs, and every address in them is valid for what the kernels
/// do.
pub(crate) unsafe fn launch(request: &LaunchRequest, before: Option<&LaunchRequest>) -> std::result::Result<(), String> {
    let before = before.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the caller's.
    with_message(|text, bytes| unsafe { raw::radnet_emulation_launch(request, before, text, bytes) })
}

fn with_message(call: impl FnOnce(*mut std::ffi::c_char, usize) -> i32) -> std::result::Result<(), String> {
    let mut text = [0u8; MESSAGE_BYTES];
    if call(text.as_mut_ptr().cast(), text.len()) == 0 {
        return Ok(());
    }
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    Err(String::from_utf8_lossy(&text[..end]).into_owned())
}
