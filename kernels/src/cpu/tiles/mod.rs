//! Kernels over AMX tiles, for bf16 and for codes: registers of 16 rows of 64 bytes, and one instruction that multiplies two of them and adds the
//! products to a third. It does sixteen times the work of a fused multiply-add of 512 bits, so that what surrounds the products decides: a 3×3 goes
//! directly, since the transforms of Winograd would cost more than what they save.
//!
//! The two precisions differ in what a number is, how a norm with its ReLU is taken and what becomes of sums ([`Precision`]); cut, order and products are
//! one code for both. Packed weights are those of the other tiers: a panel of 16 outputs with inputs in pairs (bf16) or fours (codes) is a stack of tiles.
//!
//! Instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS, TDPBUSD, TILELOADD; volume 1, chapter 18. Rust has no
//! intrinsics for them yet, so that they are written as assembly, each product with its loads and stores in one block.

mod bf16;
mod codes;
pub(crate) mod dense;
mod product;
pub(crate) mod roof;
pub(crate) mod stem;
pub(crate) mod transition;

pub(crate) use bf16::{BiasRelu, Half, Norm, Plain};
pub(crate) use codes::Code;

use crate::cpu::layout::PANEL;
use crate::isa::Amx;
use std::arch::asm;

/// Rows of a tile, and bytes of one of them.
pub(crate) const ROWS: usize = 16;
pub(crate) const ROW_BYTES: usize = 64;
/// Rows of a product: two tiles.
pub(crate) const BLOCK: usize = 2 * ROWS;

/// A kernel with its arguments, to be run where tiles are configured.
pub(crate) trait TileKernel {
    /// The body; implementations are `#[inline(always)]` so that they are compiled inside the shim.
    fn run(self);
}

/// Runs another kernel from one that runs, without inlining it there.
///
/// # Safety
/// Tiles are configured.
pub(crate) unsafe fn call<K: TileKernel>(kernel: K) {
    // SAFETY: whoever configured the tiles holds the token.
    unsafe { called(kernel) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx512vnni,avx2,fma")]
#[inline(never)]
fn called<K: TileKernel>(kernel: K) {
    kernel.run();
}

/// Runs a kernel with all eight tiles at their full size, and leaves none in use.
pub(crate) fn run<K: TileKernel>(_: Amx, kernel: K) {
    // SAFETY: the token proves that the processor has what the shim is compiled for, and that the process may use tiles.
    unsafe { shim(kernel) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx512vnni,avx2,fma")]
#[inline(never)]
fn shim<K: TileKernel>(kernel: K) {
    /// Palette 1: columns in bytes and rows of every tile (SDM volume 1, 18.2).
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        column_bytes: [u16; 16],
        rows: [u8; 16],
    }
    static WHOLE: Configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        column_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    // SAFETY: a valid configuration; `run` holds the token. Tiles belong to this thread, and nothing else in this process uses them meanwhile.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly, preserves_flags)) };
    kernel.run();
    // SAFETY: as above. Without tiles in use the system has less to save when it switches threads.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
}

/// Bytes from one row of sums to the next.
pub(crate) const SUMS_ROW: usize = 2 * ROW_BYTES;
/// Place of a row that is not wanted.
pub(crate) const NOWHERE: usize = usize::MAX;

/// What sums become.
pub(crate) trait Finish: Copy {
    /// A number of the result.
    type Number: Copy;

    /// What the sums of sixteen outputs from `output` on start with.
    ///
    /// # Safety
    /// The outputs exist.
    unsafe fn start(self, output: usize) -> *const u8;

    /// Rows of sums of `PANELS` times 16 outputs from `output` on, to `dst` at a place each, unless that is [`NOWHERE`].
    ///
    /// # Safety
    /// The rows, [`SUMS_ROW`] bytes apart, are readable, the numbers at the places writable, and the outputs exist.
    unsafe fn rows<const PANELS: usize>(self, sums: *const u8, output: usize, dst: *mut Self::Number, places: &[usize]);
}

/// Numbers that tiles hold.
pub(crate) trait Precision: Copy {
    /// A number of a slab, of a packed pixel and of the map between convolutions.
    type Number: Copy + Send + Sync;
    /// A norm with its ReLU.
    type Norm: Copy;
    /// norm2's ReLU.
    type Mid: Finish<Number = Self::Number>;
    /// To a slab.
    type New: Finish<Number = Self::Number>;
    /// Numbers of a tile's row.
    const STEP: usize;
    /// Which instruction multiplies.
    const BYTES: bool;
    /// Blocks of packed pixels that are summed for one pooled pixel: the four themselves, or one that holds their sum.
    const CORNERS: usize;

    /// norm and ReLU of the channels of `pixels` pixels that are `src_stride` numbers apart, in the order of the packed weights and with zeros up to a whole
    /// step, to pixels [`Self::packed_stride`] apart.
    ///
    /// # Safety
    /// `channels`, a multiple of 16, are readable in each pixel, and whole steps writable.
    unsafe fn normalise(norm: Self::Norm, channels: usize, pixels: usize, from: (*const Self::Number, usize), dst: *mut Self::Number);

    /// The same of one pixel, summed over four: into one, or into [`Self::CORNERS`] that are `corner` numbers apart.
    ///
    /// # Safety
    /// As [`Self::normalise`], for each of the four.
    unsafe fn pool(norm: Self::Norm, channels: usize, src: [*const Self::Number; 4], dst: *mut Self::Number, corner: usize);

    /// `channels` rounded up to whole steps.
    fn padded(channels: usize) -> usize {
        channels.next_multiple_of(Self::STEP)
    }

    /// Bytes of numbers.
    fn bytes(numbers: usize) -> usize {
        numbers * size_of::<Self::Number>()
    }

    /// Bytes from one panel of `k` inputs to the next, as the layouts of both precisions have it.
    fn panel_bytes(k: usize) -> usize {
        unaliased(Self::bytes(PANEL * k))
    }

    /// Numbers from one packed pixel to the next.
    fn packed_stride(channels: usize) -> usize {
        unaliased(Self::bytes(Self::padded(channels))) / size_of::<Self::Number>()
    }
}

/// At least so many bytes, not a multiple of 4096.
fn unaliased(bytes: usize) -> usize {
    if bytes.is_multiple_of(4096) { bytes + ROW_BYTES } else { bytes }
}
