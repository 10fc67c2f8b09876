//! Sixteen sums in a zmm register.

use super::IntLanes;
use super::avx2::Avx2Words;
use crate::cpu::int8::IntKernel;
use crate::cpu::lanes::avx512::Avx512Lanes;
use core::arch::x86_64::*;

/// Sixteen sums or pairs.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Ints(__m512i);

/// The one place where a kernel body meets AVX-512BW: everything inlined below is compiled for it.
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: IntKernel>(kernel: K) {
    kernel.run::<Avx512Ints>();
}

// SAFETY (all blocks below): a value of this type is only made inside `shim`, which a caller reaches with the tokens of AVX-512F and
// AVX-512BW or from a kernel that already runs on this tier, so both are here; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl IntLanes for Avx512Ints {
    const LANES: usize = 16;
    type Floats = Avx512Lanes;
    type Words = Avx2Words;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn load(src: *const i16) -> Self {
        Self(unsafe { _mm512_loadu_si512(src.cast()) })
    }

    #[inline(always)]
    unsafe fn splat(src: *const i16) -> Self {
        Self(unsafe { _mm512_set1_epi32(src.cast::<i32>().read_unaligned()) })
    }

    #[inline(always)]
    unsafe fn code_floats(src: *const u8) -> Avx512Lanes {
        unsafe { Avx512Lanes(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(src.cast())))) }
    }

    #[inline(always)]
    unsafe fn store_codes(y: Avx512Lanes, dst: *mut u8) {
        unsafe { _mm_storeu_si128(dst.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(y.0))) }
    }

    #[inline(always)]
    unsafe fn store_wide_codes(y: Avx512Lanes, dst: *mut i16) {
        unsafe { _mm256_storeu_si256(dst.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(y.0))) }
    }

    #[inline(always)]
    fn zero() -> Self {
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn madd(self, a: Self, w: Self) -> Self {
        Self(unsafe { _mm512_add_epi32(self.0, _mm512_madd_epi16(a.0, w.0)) })
    }

    #[inline(always)]
    fn to_floats(self) -> Avx512Lanes {
        Avx512Lanes(unsafe { _mm512_cvtepi32_ps(self.0) })
    }
}
