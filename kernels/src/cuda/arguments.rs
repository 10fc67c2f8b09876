//! From checked spans to the bytes of a kernel's argument struct.

use super::gpu::{GpuError, GpuErrorKind, Launch, Result, Span, Stream};

/// How many slices a launch is for. A recorded graph serves every count up to its capacity: the grid covers the capacity, and blocks whose
/// slice is not among the first `count` return at once.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a> {
    /// One u32 in device memory.
    pub count: Span<'a>,
    /// What the spans of the launch have room for.
    pub capacity: usize,
}

impl Slices<'_> {
    pub(super) fn count(&self) -> Result<u64> {
        address(self.count, 4, "the slice count")
    }
}

/// A struct that is copied to the device byte for byte.
///
/// # Safety
/// `repr(C)`, of integers and floats only, without padding.
pub(super) unsafe trait Arguments: Copy {
    /// As the device reads it.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the struct has no padding, so that all of its bytes are initialised; the slice borrows it.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}

/// Declares an argument struct, and refuses to compile when it has padding.
macro_rules! arguments {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        struct $name {
            $($field: $type,)+
        }
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$type>())+, "an argument struct has no padding");
        // SAFETY: `repr(C)`, and without padding by the assertion; the fields are plain numbers, since only those are written here.
        unsafe impl $crate::cuda::arguments::Arguments for $name {}
    };
}
pub(super) use arguments;

/// The address of a span that has at least `bytes`.
pub(super) fn address(span: Span<'_>, bytes: usize, what: &str) -> Result<u64> {
    if span.bytes() < bytes {
        let message = format!("{what}: {} bytes of device memory where {bytes} are needed", span.bytes());
        return Err(GpuError::new(GpuErrorKind::Failed, message));
    }
    Ok(span.address())
}

/// A size as kernels count.
pub(super) fn narrow(n: usize, what: &str) -> Result<u32> {
    match i32::try_from(n) {
        Ok(n) => Ok(n as u32),
        Err(_) => Err(GpuError::new(GpuErrorKind::Failed, format!("{what}: {n} is more than a kernel can count"))),
    }
}

/// Grid, block and shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) grid: [u32; 3],
    pub(super) block: u32,
    pub(super) cluster: u32,
    pub(super) shared_bytes: u32,
}

/// Queues a kernel that waits for its predecessor itself. Nothing is queued where the grid is empty.
///
/// # Safety
/// `arguments` is the kernel's own struct, and its addresses are valid for what the kernel does until the stream is done.
pub(super) unsafe fn launch(stream: &mut dyn Stream, kernel: &'static str, geometry: Geometry, arguments: &impl Arguments) -> Result<()> {
    let Geometry { grid, block, cluster, shared_bytes } = geometry;
    if grid.contains(&0) {
        return Ok(());
    }
    if grid[1] > 65_535 || grid[2] > 65_535 {
        return Err(GpuError::new(GpuErrorKind::Failed, format!("{kernel}: a grid of {grid:?} blocks is too large")));
    }
    let launch = Launch { kernel, grid, block, cluster, shared_bytes, arguments: arguments.bytes(), overlaps: true };
    // SAFETY: the caller's promise.
    unsafe { stream.launch(&launch) }
}

/// Appends float32 as the device reads them.
pub(super) fn floats(values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    super::Element::F32.encode(values, &mut bytes);
    bytes
}
