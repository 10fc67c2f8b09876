//! bf16 in tiles. A product adds the sixteen even and the sixteen odd products of a row to sums of their own, both to each other and that to the tile,
//! rounded to nearest at each step and with subnormals taken for zero: close to chains of fused multiply-adds, and not their bits.

use super::{Finish, NOWHERE, Precision, ROW_BYTES, SUMS_ROW};
use std::arch::x86_64::*;

/// bf16.
#[derive(Clone, Copy)]
pub(crate) struct Half;

/// scale and shift of every channel.
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
}

/// ReLU of sums that start with a bias.
#[derive(Clone, Copy)]
pub(crate) struct BiasRelu(pub(crate) *const f32);

/// Sums as they are.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// A cache line of zeros for sums to start with.
#[repr(align(64))]
pub(super) struct Zeros([u8; 64]);
pub(super) static ZEROS: Zeros = Zeros([0; 64]);

impl Zeros {
    pub(super) fn start(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

// SAFETY (all blocks below): these run inside the shim of tiles alone, which is reached with a token of AMX and so of AVX-512F, BW, VL and BF16;
// loads and stores pass their caller's promise on. Casts are between registers of one size that any bits may fill.
#[allow(clippy::undocumented_unsafe_blocks)]
mod body {
    use super::*;

    /// 32 floats as bf16, the first sixteen in the lower half.
    #[inline(always)]
    pub(super) unsafe fn narrow(low: __m512, high: __m512) -> __m512i {
        unsafe { core::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
    }

    /// Sixteen bf16 as floats.
    #[inline(always)]
    pub(super) unsafe fn widen(x: __m256i) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))) }
    }

    /// relu(scale · x + shift) of sixteen channels.
    #[inline(always)]
    pub(super) unsafe fn norm_relu(x: *const u16, norm: Norm, c: usize) -> __m512 {
        unsafe {
            let (scale, shift) = (_mm512_loadu_ps(norm.scale.add(c)), _mm512_loadu_ps(norm.shift.add(c)));
            _mm512_max_ps(_mm512_fmadd_ps(widen(_mm256_loadu_si256(x.add(c).cast())), scale, shift), _mm512_setzero_ps())
        }
    }

    impl Finish for BiasRelu {
        type Number = u16;

        #[inline(always)]
        unsafe fn start(self, output: usize) -> *const u8 {
            unsafe { self.0.add(output).cast() }
        }

        #[inline(always)]
        unsafe fn rows<const PANELS: usize>(self, sums: *const u8, output: usize, dst: *mut u16, places: &[usize]) {
            unsafe { store_rows::<PANELS, true>(sums, dst.add(output), places) }
        }
    }

    impl Finish for Plain {
        type Number = u16;

        #[inline(always)]
        unsafe fn start(self, _: usize) -> *const u8 {
            ZEROS.start()
        }

        #[inline(always)]
        unsafe fn rows<const PANELS: usize>(self, sums: *const u8, output: usize, dst: *mut u16, places: &[usize]) {
            unsafe { store_rows::<PANELS, false>(sums, dst.add(output), places) }
        }
    }

    /// Rows of sums, with or without their ReLU, as bf16.
    #[inline(always)]
    unsafe fn store_rows<const PANELS: usize, const RELU: bool>(sums: *const u8, dst: *mut u16, places: &[usize]) {
        for (r, &place) in places.iter().enumerate() {
            if place == NOWHERE {
                continue;
            }
            unsafe {
                let low = value::<RELU>(sums.add(r * SUMS_ROW));
                let dst = dst.add(place);
                if PANELS == 2 {
                    let high = value::<RELU>(sums.add(r * SUMS_ROW + ROW_BYTES));
                    _mm512_storeu_si512(dst.cast(), narrow(low, high));
                } else {
                    _mm256_storeu_si256(dst.cast(), _mm512_castsi512_si256(narrow(low, low)));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn value<const RELU: bool>(sums: *const u8) -> __m512 {
        unsafe {
            let x = _mm512_loadu_ps(sums.cast());
            if RELU { _mm512_max_ps(x, _mm512_setzero_ps()) } else { x }
        }
    }

    impl Precision for Half {
        type Number = u16;
        type Norm = Norm;
        type Mid = BiasRelu;
        type New = Plain;
        const STEP: usize = 32;
        const BYTES: bool = false;
        const CORNERS: usize = 1;

        #[inline(always)]
        unsafe fn normalise(norm: Norm, channels: usize, src: *const u16, dst: *mut u16) {
            unsafe {
                let whole = channels / 32 * 32;
                for c in (0..whole).step_by(32) {
                    _mm512_storeu_si512(dst.add(c).cast(), narrow(norm_relu(src, norm, c), norm_relu(src, norm, c + 16)));
                }
                if whole < channels {
                    _mm512_storeu_si512(dst.add(whole).cast(), narrow(norm_relu(src, norm, whole), _mm512_setzero_ps()));
                }
            }
        }

        #[inline(always)]
        unsafe fn pool(norm: Norm, channels: usize, src: [*const u16; 4], dst: *mut u16, _: usize) {
            unsafe {
                let whole = channels / 32 * 32;
                for c in (0..whole).step_by(32) {
                    _mm512_storeu_si512(dst.add(c).cast(), narrow(pooled(src, norm, c), pooled(src, norm, c + 16)));
                }
                if whole < channels {
                    _mm512_storeu_si512(dst.add(whole).cast(), narrow(pooled(src, norm, whole), _mm512_setzero_ps()));
                }
            }
        }
    }

    /// The sum over four pixels, in the order of the other tiers.
    #[inline(always)]
    unsafe fn pooled(src: [*const u16; 4], norm: Norm, c: usize) -> __m512 {
        unsafe {
            let [a, b, c, d] =
                [norm_relu(src[0], norm, c), norm_relu(src[1], norm, c), norm_relu(src[2], norm, c), norm_relu(src[3], norm, c)];
            _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d))
        }
    }
}
