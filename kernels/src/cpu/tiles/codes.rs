//! 8-bit codes in tiles: four products of a code and a weight at once, exact in 32 bits, and so the sums of every other level.

use super::bf16::ZEROS;
use super::{Finish, NOWHERE, Precision, ROW_BYTES, SUMS_ROW};
use crate::cpu::int8::gemm::Requantise;
use crate::cpu::int8::prologue::Bounds;
use crate::cpu::layout::PANEL;
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
        unsafe fn rows<const PANELS: usize>(self, sums: *const u8, output: usize, dst: *mut u8, places: &[usize]) {
            unsafe {
                let mut factors = [(_mm512_setzero_ps(), _mm512_setzero_ps()); PANELS];
                for p in 0..PANELS {
                    let o = output + PANEL * p;
                    factors[p] = (_mm512_loadu_ps(self.scale.add(o)), _mm512_loadu_ps(self.offset.add(o)));
                }
                let dst = dst.add(output);
                for (r, pair) in places.chunks(2).enumerate() {
                    let sums = sums.add(2 * r * SUMS_ROW);
                    match *pair {
                        [NOWHERE] | [NOWHERE, NOWHERE] => {}
                        [first, NOWHERE] | [first] => {
                            let row = codes(sums, &factors);
                            store::<PANELS>([row, row], [dst.add(first), dst.add(first)]);
                        }
                        [NOWHERE, second] => {
                            let row = codes(sums.add(SUMS_ROW), &factors);
                            store::<PANELS>([row, row], [dst.add(second), dst.add(second)]);
                        }
                        [first, second, ..] => {
                            let rows = [codes(sums, &factors), codes(sums.add(SUMS_ROW), &factors)];
                            store::<PANELS>(rows, [dst.add(first), dst.add(second)]);
                        }
                        [] => {}
                    }
                }
            }
        }
    }

    /// The codes of a row, as integers that need not be in their range yet but are in that of 16 bits above it.
    #[inline(always)]
    unsafe fn codes<const PANELS: usize>(sums: *const u8, factors: &[(__m512, __m512); PANELS]) -> [__m512i; PANELS] {
        unsafe {
            let mut codes = [_mm512_setzero_si512(); PANELS];
            for p in 0..PANELS {
                let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.add(ROW_BYTES * p).cast()));
                // What is beyond 32 bits would be converted to the least integer.
                let y = _mm512_min_ps(_mm512_fmadd_ps(sum, factors[p].0, factors[p].1), _mm512_set1_ps(255.0));
                codes[p] = _mm512_cvtps_epi32(y);
            }
            codes
        }
    }

    /// Two rows, saturated on their way to bytes; the second one last.
    #[inline(always)]
    unsafe fn store<const PANELS: usize>(rows: [[__m512i; PANELS]; 2], [first, second]: [*mut u8; 2]) {
        unsafe {
            if PANELS == 1 {
                let words = _mm512_packs_epi32(rows[0][0], rows[1][0]);
                // Every 16 bytes: four of the first row, four of the second, and those again.
                let bytes = _mm512_permutexvar_epi32(
                    _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0),
                    _mm512_packus_epi16(words, words),
                );
                _mm_storeu_si128(first.cast(), _mm512_castsi512_si128(bytes));
                _mm_storeu_si128(second.cast(), _mm512_extracti32x4_epi32::<1>(bytes));
                return;
            }
            let (upper, lower) = (_mm512_packs_epi32(rows[0][0], rows[0][PANELS - 1]), _mm512_packs_epi32(rows[1][0], rows[1][PANELS - 1]));
            // Every 16 bytes: four of each panel of the first row, then of the second.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(upper, lower));
            _mm256_storeu_si256(first.cast(), _mm512_castsi512_si256(bytes));
            _mm256_storeu_si256(second.cast(), _mm512_extracti64x4_epi64::<1>(bytes));
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
        unsafe fn normalise(norm: Bounds, channels: usize, pixels: usize, (src, stride): (*const u8, usize), dst: *mut u8) {
            let packed = Self::packed_stride(channels);
            let fours = pixels / 4 * 4;
            unsafe {
                for p in (0..fours).step_by(4) {
                    clamp_pixels::<4>(norm, channels, src.add(p * stride), stride, dst.add(p * packed), packed);
                }
                for p in fours..pixels {
                    clamp_pixels::<1>(norm, channels, src.add(p * stride), stride, dst.add(p * packed), packed);
                }
            }
        }

        #[inline(always)]
        unsafe fn pool(norm: Bounds, channels: usize, src: [*const u8; 4], dst: *mut u8, corner: usize) {
            unsafe {
                for c in (0..channels).step_by(64) {
                    let (low, high) = (channels64(norm.low, c, channels), channels64(norm.high, c, channels));
                    for i in 0..4 {
                        let codes = _mm512_max_epu8(channels64(src[i], c, channels), low);
                        _mm512_storeu_si512(dst.add(i * corner + c).cast(), _mm512_min_epu8(codes, high));
                    }
                }
            }
        }
    }

    /// 64 channels from `c` on of a pixel, or of bounds, of `channels`, and zeros for the rest.
    #[inline(always)]
    unsafe fn channels64(src: *const u8, c: usize, channels: usize) -> __m512i {
        unsafe {
            match channels - c {
                64.. => _mm512_loadu_si512(src.add(c).cast()),
                left => _mm512_maskz_loadu_epi8((1 << left) - 1, src.add(c).cast()),
            }
        }
    }

    /// Clamped codes of `R` pixels at once, so that bounds are loaded once for all of them.
    #[inline(always)]
    unsafe fn clamp_pixels<const R: usize>(norm: Bounds, channels: usize, src: *const u8, stride: usize, dst: *mut u8, packed: usize) {
        unsafe {
            for c in (0..channels).step_by(64) {
                let (low, high) = (channels64(norm.low, c, channels), channels64(norm.high, c, channels));
                for r in 0..R {
                    let codes = _mm512_max_epu8(channels64(src.add(r * stride), c, channels), low);
                    _mm512_storeu_si512(dst.add(r * packed + c).cast(), _mm512_min_epu8(codes, high));
                }
            }
        }
    }
}
