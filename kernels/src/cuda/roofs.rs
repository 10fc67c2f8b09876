//! The roofs that other kernels are judged by: how fast a device copies, and how fast its tensor cores multiply.

use super::arguments::{Geometry, address, arguments, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};
use super::{Element, GpuProperties};

const THREADS: u32 = 256;
/// 16-byte vectors that a block copies.
const VECTORS_PER_BLOCK: usize = 4 * THREADS as usize;
/// Independent sums of a warp in `roof_mma`.
const SUMS: u64 = 8;
/// Products of a warpgroup in an iteration of `roof_wgmma`, each of 64×128×16, into 64 sums of a thread.
const PRODUCTS: u64 = 16;
/// Shared memory of `roof_wgmma`: 128×64 elements.
const GROUP_SHARED_BYTES: u32 = 128 * 64 * 2;
/// Blocks that a multiprocessor multiplies in at once.
const BLOCKS: u32 = 2;
/// What a and b of the products hold: small powers of two, so that every sum is exact.
const FACTORS: [f64; 2] = [0.5, 0.25];

arguments! {
    /// The twin of `CopyArguments` in `roofs.cu`.
    struct CopyArguments {
        from: u64,
        to: u64,
        vectors: u32,
        unused: u32,
    }
}

arguments! {
    /// The twin of `MultiplyArguments` in `roofs.cu`.
    struct MultiplyArguments {
        out: u64,
        iterations: u32,
        a: u32,
        b: u32,
        unused: u32,
    }
}

/// Queues a copy of all of `from`, a multiple of 16 bytes, by a kernel: twice its bytes move.
///
/// # Errors
/// `Failed` when `to` is shorter, or from the launch.
pub fn copy(stream: &mut dyn Stream, from: Span<'_>, to: Span<'_>) -> Result<()> {
    if !from.bytes().is_multiple_of(16) {
        return Err(GpuError::new(GpuErrorKind::Failed, format!("{} bytes are no multiple of 16", from.bytes())));
    }
    let vectors = from.bytes() / 16;
    let arguments =
        CopyArguments { from: from.address(), to: address(to, from.bytes(), "a copy")?, vectors: narrow(vectors, "a copy")?, unused: 0 };
    let grid = [narrow(vectors.div_ceil(VECTORS_PER_BLOCK), "a copy")?, 1, 1];
    let geometry = Geometry { grid, block: THREADS, cluster: 1, shared_bytes: 0 };
    // SAFETY: the kernel reads and writes `vectors` vectors from each address, which the spans have; the caller keeps the memory behind them
    // until the stream is done.
    unsafe { launch(stream, "roof_copy", geometry, &arguments) }
}

/// What [`multiply`] does on a device.
#[derive(Clone, Copy, Debug)]
pub struct Multiplication {
    /// f16 or bf16.
    pub element: Element,
    /// By the asynchronous products of compute capability 9.0 instead of those of a warp.
    pub asynchronous: bool,
    /// Products into every sum.
    pub iterations: u32,
    /// Blocks; [`Multiplication::filling`] knows how many fill a device.
    pub blocks: u32,
}

impl Multiplication {
    /// One that keeps every multiprocessor busy, by the fastest products that the device has.
    pub fn filling(device: &GpuProperties, element: Element, iterations: u32) -> Self {
        let asynchronous = device.compute_capability == (9, 0);
        Self { element, asynchronous, iterations, blocks: BLOCKS * device.multiprocessors }
    }

    /// Bytes of its results: a float32 per thread.
    pub fn bytes(&self) -> usize {
        self.blocks as usize * THREADS as usize * 4
    }

    /// Multiplications and additions.
    pub fn flop(&self) -> u64 {
        let warps = u64::from(self.blocks) * u64::from(THREADS / 32);
        let of_a_warp = if self.asynchronous { PRODUCTS * 2 * 64 * 128 * 16 / 4 } else { SUMS * 2 * 16 * 8 * 16 };
        warps * u64::from(self.iterations) * of_a_warp
    }

    /// What every result is, exactly while it is below 2²⁴.
    pub fn result(&self) -> f64 {
        let products = if self.asynchronous { 64 * PRODUCTS * 16 } else { SUMS * 4 * 16 };
        products as f64 * f64::from(self.iterations) * FACTORS[0] * FACTORS[1]
    }
}

/// Queues products on tensor cores, from registers alone.
///
/// # Errors
/// `Failed` when `out` is shorter than its results or the element is float32, or from the launch.
pub fn multiply(stream: &mut dyn Stream, work: &Multiplication, out: Span<'_>) -> Result<()> {
    let kernel = match (work.element, work.asynchronous) {
        (Element::F16, false) => "roof_mma_f16",
        (Element::Bf16, false) => "roof_mma_bf16",
        (Element::F16, true) => "roof_wgmma_f16",
        (Element::Bf16, true) => "roof_wgmma_bf16",
        (Element::F32, _) => return Err(GpuError::new(GpuErrorKind::Failed, "tensor cores do not multiply float32")),
    };
    let pair = |value: f64| {
        let mut bytes = Vec::with_capacity(4);
        work.element.encode([value, value], &mut bytes);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    };
    let [a, b] = FACTORS.map(pair);
    let shared_bytes = if work.asynchronous { GROUP_SHARED_BYTES } else { 0 };
    let out = address(out, work.bytes(), "the results of a multiplication")?;
    let arguments = MultiplyArguments { out, iterations: work.iterations, a, b, unused: 0 };
    let geometry = Geometry { grid: [work.blocks, 1, 1], block: THREADS, cluster: 1, shared_bytes };
    // SAFETY: every thread of the grid writes one float, for which `out` was checked; the caller keeps the memory behind it until the stream
    // is done.
    unsafe { launch(stream, kernel, geometry, &arguments) }
}
