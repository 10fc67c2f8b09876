//! A GPU as the kernels see it: memory, streams, launches and graphs. The driver implements it, and so does the emulation of the tests.

use std::fmt;
use std::sync::Arc;

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuProperties {
    /// "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// Compute capability that kernels may rely on, as (9, 0): the device's, or less where its driver compiles text written for older devices.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Largest dynamic shared memory of a block, in bytes.
    pub shared_bytes_per_block: u32,
    /// Shared memory of a multiprocessor, in bytes.
    pub shared_bytes_per_multiprocessor: u32,
    /// Global memory, in bytes.
    pub memory_bytes: u64,
}

/// Why a device could not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuErrorKind {
    /// No driver, no device, a driver too old, or no kernels for this device.
    Unavailable,
    /// The device's memory, or pinned host memory, is used up.
    OutOfMemory,
    /// A launch or copy failed; the context may be lost.
    Failed,
}

/// A device's refusal, in words that say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuError {
    /// What kind.
    pub kind: GpuErrorKind,
    /// One sentence without a final stop.
    pub message: String,
}

impl GpuError {
    /// An error of `kind`.
    pub fn new(kind: GpuErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for GpuError {}

/// The result of everything that touches a device.
pub type Result<T, E = GpuError> = std::result::Result<T, E>;

/// One kernel launch. Every kernel takes one struct by value.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The entry point's name, which is unique among all kernels.
    pub kernel: &'static str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block; a multiple of 32.
    pub block: u32,
    /// Blocks along x that share a cluster; 1 for none.
    pub cluster: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// The argument struct, as bytes.
    pub arguments: &'a [u8],
    /// Whether the launch may begin while the launch before it in the stream still runs (programmatic dependent launch): only for kernels
    /// that wait for their predecessor themselves before they touch global memory.
    pub overlaps: bool,
}

/// A device with its kernels loaded. Addresses are device addresses; pinned memory is the host's.
pub trait Gpu: Send + Sync + fmt::Debug {
    /// What it is.
    fn properties(&self) -> &GpuProperties;

    /// What results call it: "cuda:1".
    fn label(&self) -> String {
        "cuda:0".to_owned()
    }

    /// Which of the kernels it runs: "sm_90a".
    fn isa(&self) -> String {
        let (major, minor) = self.properties().compute_capability;
        format!("sm_{major}{minor}")
    }

    /// Global memory, at least 256-byte aligned, contents undefined.
    ///
    /// # Errors
    /// `OutOfMemory`, `Failed`.
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// Gives memory back.
    ///
    /// # Safety
    /// `address` came from [`Gpu::allocate`] of this device, once, and nothing that was queued still uses it.
    unsafe fn free(&self, address: u64);

    /// Host memory that the device reads and writes directly, 64-byte aligned, cached by the host.
    ///
    /// # Errors
    /// `OutOfMemory`, `Failed`.
    fn allocate_pinned(&self, bytes: usize) -> Result<*mut u8>;

    /// Gives pinned memory back.
    ///
    /// # Safety
    /// `address` came from [`Gpu::allocate_pinned`] of this device, once, and nothing that was queued still uses it.
    unsafe fn free_pinned(&self, address: *mut u8);

    /// A queue of work, independent of other queues.
    ///
    /// # Errors
    /// `Failed`.
    fn stream(&self) -> Result<Box<dyn Stream>>;
}

/// Work in order.
pub trait Stream: Send {
    /// Queues a kernel.
    ///
    /// # Safety
    /// The arguments are the kernel's own struct, and every address in it is valid for what the kernel does until the stream is done.
    ///
    /// # Errors
    /// `Unavailable` when the device has no such kernel, `Failed`.
    unsafe fn launch(&mut self, launch: &Launch<'_>) -> Result<()>;

    /// Queues a copy from pinned host memory to the device.
    ///
    /// # Safety
    /// Both ranges are valid until the stream is done.
    ///
    /// # Errors
    /// `Failed`.
    unsafe fn upload(&mut self, to: u64, from: *const u8, bytes: usize) -> Result<()>;

    /// Queues a copy from the device to pinned host memory.
    ///
    /// # Safety
    /// Both ranges are valid until the stream is done.
    ///
    /// # Errors
    /// `Failed`.
    unsafe fn download(&mut self, to: *mut u8, from: u64, bytes: usize) -> Result<()>;

    /// Queues zeros.
    ///
    /// # Safety
    /// The range is valid until the stream is done.
    ///
    /// # Errors
    /// `Failed`.
    unsafe fn clear(&mut self, to: u64, bytes: usize) -> Result<()>;

    /// Waits for everything queued.
    ///
    /// # Errors
    /// `Failed`: what a kernel did wrong is often reported here.
    fn synchronize(&mut self) -> Result<()>;

    /// From here on, work is recorded instead of run.
    ///
    /// # Errors
    /// `Failed`.
    fn begin_capture(&mut self) -> Result<()>;

    /// What was recorded, ready to be run any number of times on this stream.
    ///
    /// # Errors
    /// `Failed`.
    fn end_capture(&mut self) -> Result<Box<dyn Graph>>;

    /// Queues a recorded graph.
    ///
    /// # Safety
    /// Every address that was recorded is still valid until the stream is done.
    ///
    /// # Errors
    /// `Failed`.
    unsafe fn replay(&mut self, graph: &dyn Graph) -> Result<()>;

    /// Queues a mark; the time between two marks is the device's own.
    ///
    /// # Errors
    /// `Failed`.
    fn mark(&mut self) -> Result<u32>;

    /// Milliseconds between two marks, after [`Stream::synchronize`]; none where the device has no clock.
    ///
    /// # Errors
    /// `Failed`.
    fn elapsed_ms(&mut self, from: u32, to: u32) -> Result<Option<f64>>;
}

/// Recorded work of a stream.
pub trait Graph: Send + fmt::Debug {
    /// The implementation's own type.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Global memory that is freed with its owner.
#[derive(Debug)]
pub struct DeviceMemory {
    gpu: Arc<dyn Gpu>,
    address: u64,
    bytes: usize,
}

impl DeviceMemory {
    /// Allocates at least one byte.
    ///
    /// # Errors
    /// `OutOfMemory`, `Failed`.
    pub fn new(gpu: &Arc<dyn Gpu>, bytes: usize) -> Result<Self> {
        let address = gpu.allocate(bytes.max(1))?;
        Ok(Self { gpu: Arc::clone(gpu), address, bytes })
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The range from `offset` on; none when it reaches past the end or `offset` is no multiple of 16.
    pub fn span(&self, offset: usize, bytes: usize) -> Option<Span<'_>> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) && offset.is_multiple_of(16);
        inside.then(|| Span { address: self.address + offset as u64, bytes, memory: std::marker::PhantomData })
    }

    /// All of it.
    pub fn all(&self) -> Span<'_> {
        Span { address: self.address, bytes: self.bytes, memory: std::marker::PhantomData }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: the address came from this device's `allocate` and is freed only here; whoever queued work that uses it waits for its
        // stream before it lets go of the memory, as the entry points of the kernel families ask.
        unsafe { self.gpu.free(self.address) }
    }
}

/// A range of a [`DeviceMemory`], 16-byte aligned.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    address: u64,
    bytes: usize,
    memory: std::marker::PhantomData<&'a DeviceMemory>,
}

impl<'a> Span<'a> {
    /// Bytes.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// The device address of its first byte.
    pub fn address(self) -> u64 {
        self.address
    }

    /// A part of it; none when it reaches past the end or `offset` is no multiple of 16.
    pub fn part(self, offset: usize, bytes: usize) -> Option<Span<'a>> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) && offset.is_multiple_of(16);
        inside.then(|| Span { address: self.address + offset as u64, bytes, memory: self.memory })
    }
}
