//! bf16 in tiles. A product adds the sixteen even and the sixteen odd products of a row to sums of their own, both to each other and that to the tile,
//! rounded to nearest at each step and with subnormals taken for zero: close to chains of fused multiply-adds, and not their bits.

use super::{Finish, NOWHERE, Precision, ROW_BYTES, SUMS_ROW};
use std::arch::x86_64::*;

/// bf16.
#[derive(Clone, Copy)]
pub(crate) struct Half;

/// scale and shift of every channel, in the order in which inputs are packed ([`crate::cpu::bf16::layout::channel`]): of 32 channels first the even ones,
/// since those are where they lie once 32 bf16 are seen as 16 floats.
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
                let (low, dst) = (_mm512_loadu_ps(sums.add(r * SUMS_ROW).cast()), dst.add(place));
                let high = if PANELS == 2 { _mm512_loadu_ps(sums.add(r * SUMS_ROW + ROW_BYTES).cast()) } else { low };
                let row = if RELU { relu(narrow(low, high)) } else { narrow(low, high) };
                match PANELS {
                    2 => _mm512_storeu_si512(dst.cast(), row),
                    _ => _mm256_storeu_si256(dst.cast(), _mm512_castsi512_si256(row)),
                }
            }
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
        unsafe fn normalise(norm: Norm, channels: usize, pixels: usize, (src, stride): (*const u16, usize), dst: *mut u16) {
            let packed = Self::packed_stride(channels);
            let fours = pixels / 4 * 4;
            unsafe {
                for p in (0..fours).step_by(4) {
                    normalise_pixels::<4>(norm, channels, src.add(p * stride), stride, dst.add(p * packed), packed);
                }
                for p in fours..pixels {
                    normalise_pixels::<1>(norm, channels, src.add(p * stride), stride, dst.add(p * packed), packed);
                }
            }
        }

        #[inline(always)]
        unsafe fn pool(norm: Norm, channels: usize, src: [*const u16; 4], dst: *mut u16, _: usize) {
            unsafe {
                let zero = _mm512_setzero_ps();
                for c in (0..channels).step_by(32) {
                    let factors = factors(norm, c);
                    let mut pooled = [[zero; 2]; 4];
                    for i in 0..4 {
                        let [even, odd] = normed(channels32(src[i], c, channels), &factors);
                        pooled[i] = [_mm512_max_ps(even, zero), _mm512_max_ps(odd, zero)];
                    }
                    let [a, b, d, e] = pooled;
                    let even = _mm512_add_ps(_mm512_add_ps(a[0], b[0]), _mm512_add_ps(d[0], e[0]));
                    let odd = _mm512_add_ps(_mm512_add_ps(a[1], b[1]), _mm512_add_ps(d[1], e[1]));
                    _mm512_storeu_si512(dst.add(c).cast(), narrow(even, odd));
                }
            }
        }
    }

    /// Scale and shift of 32 channels in the order of packed inputs.
    #[inline(always)]
    unsafe fn factors(norm: Norm, c: usize) -> [[__m512; 2]; 2] {
        unsafe {
            [
                [_mm512_loadu_ps(norm.scale.add(c)), _mm512_loadu_ps(norm.scale.add(c + 16))],
                [_mm512_loadu_ps(norm.shift.add(c)), _mm512_loadu_ps(norm.shift.add(c + 16))],
            ]
        }
    }

    /// 32 channels from `c` on of a pixel that has `channels`, and zeros for the rest.
    #[inline(always)]
    unsafe fn channels32(src: *const u16, c: usize, channels: usize) -> __m512i {
        unsafe {
            match channels - c {
                32.. => _mm512_loadu_si512(src.add(c).cast()),
                left => _mm512_maskz_loadu_epi16((1 << left) - 1, src.add(c).cast()),
            }
        }
    }

    /// scale · x + shift of the even and of the odd channels of 32.
    #[inline(always)]
    unsafe fn normed(x: __m512i, [scale, shift]: &[[__m512; 2]; 2]) -> [__m512; 2] {
        unsafe {
            let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
            let odd = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(!0xFFFF)));
            [_mm512_fmadd_ps(even, scale[0], shift[0]), _mm512_fmadd_ps(odd, scale[1], shift[1])]
        }
    }

    /// `R` pixels at once, so that scale and shift are loaded once for all of them. ReLU is taken of bf16 as of integers: what has a sign becomes 0.
    #[inline(always)]
    unsafe fn normalise_pixels<const R: usize>(norm: Norm, channels: usize, src: *const u16, stride: usize, dst: *mut u16, packed: usize) {
        unsafe {
            for c in (0..channels).step_by(32) {
                let factors = factors(norm, c);
                for r in 0..R {
                    let [even, odd] = normed(channels32(src.add(r * stride), c, channels), &factors);
                    _mm512_storeu_si512(dst.add(r * packed + c).cast(), relu(narrow(even, odd)));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn relu(x: __m512i) -> __m512i {
        unsafe { _mm512_max_epi16(x, _mm512_setzero_si512()) }
    }
}
