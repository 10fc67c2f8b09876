//! The first thing a device does: a kernel whose result is known, through shared memory, a barrier, both copies and a stream.

use super::gpu::{Gpu, GpuError, GpuErrorKind, Launch, Result};

/// The entry point of `selftest.cu`.
pub const KERNEL: &str = "selftest";

/// `SelftestArguments` of `selftest.cu`.
#[repr(C)]
struct Arguments {
    out: u64,
    count: u32,
    seed: u32,
}

const BLOCK: u32 = 128;
const BLOCKS: u32 = 4;
/// More than a kernel gets without asking, and no more than any device that we have kernels for can give.
const SHARED_BYTES: u32 = 64 << 10;
/// Not a multiple of the block, so that the last one is ragged.
const COUNT: u32 = BLOCK * BLOCKS - 5;
/// Bytes that are compared.
pub const BYTES: usize = COUNT as usize * 4;
const SEED: u32 = 0x5EED_0001;

/// Runs the kernel and compares every word.
///
/// # Errors
/// `Unavailable` when a word is wrong; what the device says otherwise.
pub fn run(gpu: &dyn Gpu) -> Result<()> {
    let device = gpu.allocate(BYTES)?;
    let host = gpu.allocate_pinned(BYTES);
    let outcome = host.as_ref().map_err(Clone::clone).and_then(|host| words(gpu, device, *host));
    if let Ok(host) = host {
        // SAFETY: allocated above, and the stream that used it is gone after it was waited for.
        unsafe { gpu.free_pinned(host) };
    }
    // SAFETY: as above.
    unsafe { gpu.free(device) };
    let words = outcome?;
    match words.iter().zip(0..).find(|(word, index)| **word != expected(*index)) {
        None => Ok(()),
        Some((word, index)) => {
            let message = format!(
                "{} ({}): its first kernel wrote {word:#x} instead of {:#x} to word {index}; it is not used",
                gpu.label(),
                gpu.properties().name,
                expected(index)
            );
            Err(GpuError::new(GpuErrorKind::Unavailable, message))
        }
    }
}

/// What the kernel wrote to `device`, by way of `host`.
fn words(gpu: &dyn Gpu, device: u64, host: *mut u8) -> Result<Vec<u32>> {
    let arguments = Arguments { out: device, count: COUNT, seed: SEED };
    // SAFETY: the struct has no padding, and lives as long as the slice.
    let arguments = unsafe { std::slice::from_raw_parts((&raw const arguments).cast::<u8>(), size_of::<Arguments>()) };
    let launch =
        Launch { kernel: KERNEL, grid: [BLOCKS, 1, 1], block: BLOCK, cluster: 1, shared_bytes: SHARED_BYTES, arguments, overlaps: false };
    let mut stream = gpu.stream()?;
    // SAFETY: both ranges are `BYTES` long, the arguments are the kernel's own and name such a range; nothing is freed before the stream was
    // waited for, below in every case.
    let queued =
        unsafe { stream.clear(device, BYTES).and_then(|()| stream.launch(&launch)).and_then(|()| stream.download(host, device, BYTES)) };
    let finished = stream.synchronize();
    queued.and(finished)?;
    // SAFETY: the download filled `BYTES` bytes of pinned memory, which is aligned for words.
    Ok(unsafe { std::slice::from_raw_parts(host.cast::<u32>(), COUNT as usize) }.to_vec())
}

/// What the kernel writes to word `index`: the mixed number of the thread opposite in its block.
pub fn expected(index: u32) -> u32 {
    let opposite = index / BLOCK * BLOCK + (BLOCK - 1 - index % BLOCK);
    (opposite ^ SEED).wrapping_mul(0x9E37_79B1).rotate_left(13)
}
