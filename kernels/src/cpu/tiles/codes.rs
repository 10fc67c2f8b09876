//! 8-bit codes in tiles: four products of a code and a weight at once, exact in 32 bits, and so the sums of every other level.

use super::bf16::ZEROS;
use super::{Finish, Precision};
use crate::cpu::int8::gemm::Requantise;
use crate::cpu::int8::prologue::Bounds;
use std::arch::x86_64::*;

/// Codes.
#[derive(Clone, Copy)]
pub(crate) struct Code;

// SAFETY (all blocks below): as in `bf16`.
#[allow(clippy::undocumented_unsafe_blocks)]
mod body {
    use super::*;

    impl Finish for Requantise {
        type Number = u8;

        #[inline(always)]
        unsafe fn start(self, _: usize) -> *const u8 {
            ZEROS.start()
        }

        #[inline(always)]
        unsafe fn row<const PANELS: usize>(self, sums: *const u8, output: usize, dst: *mut u8) {
            unsafe {
                for p in 0..PANELS {
                    let o = output + 16 * p;
                    let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.add(64 * p).cast()));
                    let y = _mm512_fmadd_ps(sum, _mm512_loadu_ps(self.scale.add(o)), _mm512_loadu_ps(self.offset.add(o)));
                    // Negative codes become 0 here, since the conversion to bytes takes them for large ones; those beyond 255 it makes 255.
                    let code = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_min_ps(y, _mm512_set1_ps(255.0))), _mm512_setzero_si512());
                    _mm_storeu_si128(dst.add(16 * p).cast(), _mm512_cvtusepi32_epi8(code));
                }
            }
        }
    }

    impl Precision for Code {
        type Number = u8;
        type Norm = Bounds;
        type Mid = Requantise;
        type New = Requantise;
        const STEP: usize = 64;
        const BYTES: bool = true;
        const CORNERS: usize = 4;

        #[inline(always)]
        unsafe fn normalise(norm: Bounds, channels: usize, src: *const u8, dst: *mut u8) {
            unsafe {
                let whole = channels / 64 * 64;
                for c in (0..whole).step_by(64) {
                    clamp(src, norm, c, u64::MAX, dst);
                }
                if whole < channels {
                    clamp(src, norm, whole, (1 << (channels - whole)) - 1, dst);
                }
            }
        }

        #[inline(always)]
        unsafe fn pool(norm: Bounds, channels: usize, src: [*const u8; 4], dst: *mut u8, corner: usize) {
            for (i, pixel) in src.into_iter().enumerate() {
                unsafe { Self::normalise(norm, channels, pixel, dst.add(i * corner)) }
            }
        }
    }

    /// Clamped codes of those channels from `c` on that `some` names, and zeros up to 64.
    #[inline(always)]
    unsafe fn clamp(src: *const u8, norm: Bounds, c: usize, some: u64, dst: *mut u8) {
        unsafe {
            let (low, high) =
                (_mm512_maskz_loadu_epi8(some, norm.low.add(c).cast()), _mm512_maskz_loadu_epi8(some, norm.high.add(c).cast()));
            let codes = _mm512_maskz_loadu_epi8(some, src.add(c).cast());
            _mm512_storeu_si512(dst.add(c).cast(), _mm512_min_epu8(_mm512_max_epu8(codes, low), high));
        }
    }
}
