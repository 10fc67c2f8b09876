//! Eight sums, or sixteen numbers of 16 bits, in a ymm register; the sums with the instruction that multiplies pairs and adds to them (`VNNI`) or
//! without.

use super::{IntLanes, Words, avx_vnni, avx2};
use crate::cpu::int8::IntKernel;
use crate::cpu::lanes::avx2::Avx2Lanes;
use core::arch::x86_64::*;

/// Eight sums or pairs.
#[derive(Clone, Copy)]
pub(crate) struct YmmInts<const VNNI: bool>(__m256i);

/// Sixteen numbers of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct YmmWords(__m256i);

// SAFETY (all blocks below): a value of this type is only made inside the shim of its module, which a caller reaches with a token of the level or
// from a kernel that already runs on it, so AVX2 and FMA, and AVX-VNNI where it says so, are here; loads and stores pass their caller's promise
// on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> IntLanes for YmmInts<VNNI> {
    const LANES: usize = 8;
    const QUADS: bool = VNNI;
    type Floats = Avx2Lanes;
    type Words = YmmWords;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        unsafe { if VNNI { avx_vnni::shim(kernel) } else { avx2::shim(kernel) } }
    }

    #[inline(always)]
    unsafe fn load<T>(src: *const T) -> Self {
        Self(unsafe { _mm256_loadu_si256(src.cast()) })
    }

    #[inline(always)]
    unsafe fn splat<T>(src: *const T) -> Self {
        Self(unsafe { _mm256_set1_epi32(src.cast::<i32>().read_unaligned()) })
    }

    #[inline(always)]
    unsafe fn code_floats(src: *const u8) -> Avx2Lanes {
        unsafe { Avx2Lanes(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(src.cast())))) }
    }

    #[inline(always)]
    unsafe fn store_codes(y: Avx2Lanes, dst: *mut u8) {
        unsafe {
            let words = narrow(y);
            _mm_storel_epi64(dst.cast(), _mm_packus_epi16(words, words));
        }
    }

    #[inline(always)]
    unsafe fn store_wide_codes(y: Avx2Lanes, dst: *mut i16) {
        unsafe { _mm_storeu_si128(dst.cast(), narrow(y)) }
    }

    #[inline(always)]
    unsafe fn clamp_codes(src: *const u8, [low, high]: [*const u8; 2], dst: *mut u8) {
        unsafe {
            let raised = _mm256_max_epu8(_mm256_loadu_si256(src.cast()), _mm256_loadu_si256(low.cast()));
            _mm256_storeu_si256(dst.cast(), _mm256_min_epu8(raised, _mm256_loadu_si256(high.cast())));
        }
    }

    #[inline(always)]
    fn zero() -> Self {
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    fn madd(self, a: Self, w: Self) -> Self {
        Self(unsafe {
            if VNNI { _mm256_dpwssd_avx_epi32(self.0, a.0, w.0) } else { _mm256_add_epi32(self.0, _mm256_madd_epi16(a.0, w.0)) }
        })
    }

    #[inline(always)]
    fn madd_quads(self, codes: Self, w: Self) -> Self {
        Self(unsafe { if VNNI { _mm256_dpbusd_avx_epi32(self.0, codes.0, w.0) } else { unreachable!("this level has pairs only") } })
    }

    #[inline(always)]
    fn to_floats(self) -> Avx2Lanes {
        Avx2Lanes(unsafe { _mm256_cvtepi32_ps(self.0) })
    }
}

// SAFETY (all blocks below): as above; every level that uses these has AVX2.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Words for YmmWords {
    type Codes = __m128i;

    #[inline(always)]
    unsafe fn load(src: *const i16) -> Self {
        Self(unsafe { _mm256_loadu_si256(src.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut i16) {
        unsafe { _mm256_storeu_si256(dst.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn load_codes(src: *const u8) -> __m128i {
        unsafe { _mm_loadu_si128(src.cast()) }
    }

    #[inline(always)]
    unsafe fn store_codes(codes: __m128i, dst: *mut u8) {
        unsafe { _mm_storeu_si128(dst.cast(), codes) }
    }

    #[inline(always)]
    fn clamp(codes: __m128i, low: __m128i, high: __m128i) -> __m128i {
        unsafe { _mm_min_epu8(_mm_max_epu8(codes, low), high) }
    }

    #[inline(always)]
    fn widen(codes: __m128i) -> Self {
        Self(unsafe { _mm256_cvtepu8_epi16(codes) })
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(unsafe { _mm256_add_epi16(self.0, b.0) })
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(unsafe { _mm256_sub_epi16(self.0, b.0) })
    }

    #[inline(always)]
    fn times4(self) -> Self {
        Self(unsafe { _mm256_slli_epi16::<2>(self.0) })
    }
}

/// Eight floats of at most 16 bits, rounded to nearest as MXCSR says from the start of every thread.
#[inline(always)]
fn narrow(y: Avx2Lanes) -> __m128i {
    // SAFETY: as above.
    unsafe {
        let n = _mm256_cvtps_epi32(y.0);
        _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256::<1>(n))
    }
}
