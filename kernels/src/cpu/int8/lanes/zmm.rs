//! Sixteen sums in a zmm register, with the instruction that multiplies pairs and adds to the sum (`VNNI`) or without.

use super::ymm::YmmWords;
use super::{IntLanes, avx512_bw, avx512_vnni};
use crate::cpu::int8::IntKernel;
use crate::cpu::lanes::avx512::Avx512Lanes;
use core::arch::x86_64::*;

/// Sixteen sums or pairs.
#[derive(Clone, Copy)]
pub(crate) struct ZmmInts<const VNNI: bool>(__m512i);

// SAFETY (all blocks below): a value of this type is only made inside the shim of its module, which a caller reaches with a token of the level or
// from a kernel that already runs on it, so AVX-512F and BW, and VNNI where it says so, are here; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> IntLanes for ZmmInts<VNNI> {
    const LANES: usize = 16;
    const QUADS: bool = VNNI;
    type Floats = Avx512Lanes;
    type Words = YmmWords;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        unsafe { if VNNI { avx512_vnni::shim(kernel) } else { avx512_bw::shim(kernel) } }
    }

    #[inline(always)]
    unsafe fn load<T>(src: *const T) -> Self {
        Self(unsafe { _mm512_loadu_si512(src.cast()) })
    }

    #[inline(always)]
    unsafe fn splat<T>(src: *const T) -> Self {
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
    unsafe fn store_wide_codes2(y: [Avx512Lanes; 2], dst: *mut i16) {
        unsafe {
            // Packing goes within quarters of the register: their order is put right.
            let packed = _mm512_packus_epi32(_mm512_cvtps_epi32(y[0].0), _mm512_cvtps_epi32(y[1].0));
            let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            _mm512_storeu_si512(dst.cast(), _mm512_permutexvar_epi64(order, packed));
        }
    }

    #[inline(always)]
    unsafe fn clamp_codes(src: *const u8, [low, high]: [*const u8; 2], dst: *mut u8) {
        unsafe {
            let raised = _mm512_max_epu8(_mm512_loadu_si512(src.cast()), _mm512_loadu_si512(low.cast()));
            _mm512_storeu_si512(dst.cast(), _mm512_min_epu8(raised, _mm512_loadu_si512(high.cast())));
        }
    }

    #[inline(always)]
    fn zero() -> Self {
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn madd(self, a: Self, w: Self) -> Self {
        Self(unsafe { if VNNI { _mm512_dpwssd_epi32(self.0, a.0, w.0) } else { _mm512_add_epi32(self.0, _mm512_madd_epi16(a.0, w.0)) } })
    }

    #[inline(always)]
    fn madd_quads(self, codes: Self, w: Self) -> Self {
        Self(unsafe { if VNNI { _mm512_dpbusd_epi32(self.0, codes.0, w.0) } else { unreachable!("this level has pairs only") } })
    }

    #[inline(always)]
    fn to_floats(self) -> Avx512Lanes {
        Avx512Lanes(unsafe { _mm512_cvtepi32_ps(self.0) })
    }
}
