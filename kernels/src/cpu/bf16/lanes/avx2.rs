//! Eight lanes in a ymm register, pairs widened by a shift and a mask.

use super::HalfLanes;
use crate::cpu::bf16::HalfKernel;
use crate::cpu::lanes::avx2::Avx2Lanes;
use core::arch::x86_64::*;

/// AVX2 and FMA.
pub(crate) struct Avx2Halves;

/// The one place where a kernel body meets AVX2: everything inlined below is compiled for it.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: HalfKernel>(kernel: K) {
    kernel.run::<Avx2Halves>();
}

/// The wanted halves of pairs, as f32.
#[inline(always)]
fn half<const HIGH: bool>(pairs: __m256i) -> Avx2Lanes {
    // SAFETY: as below.
    let bits = unsafe { if HIGH { _mm256_and_si256(pairs, _mm256_set1_epi32(!0xFFFF)) } else { _mm256_slli_epi32::<16>(pairs) } };
    // SAFETY: as below.
    Avx2Lanes(unsafe { _mm256_castsi256_ps(bits) })
}

// SAFETY (all blocks below): these run inside `shim` alone, which a caller reaches with a token of AVX2 and FMA or from a kernel that already runs
// on this tier; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl HalfLanes for Avx2Halves {
    type Floats = Avx2Lanes;

    #[inline(always)]
    unsafe fn call<K: HalfKernel>(kernel: K) {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn widen(src: *const u16) -> Avx2Lanes {
        unsafe { half::<false>(_mm256_cvtepu16_epi32(_mm_loadu_si128(src.cast()))) }
    }

    #[inline(always)]
    unsafe fn narrow(x: Avx2Lanes, dst: *mut u16) {
        unsafe {
            let bits = _mm256_castps_si256(x.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
            // A zero exponent leaves the sign alone.
            let exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7F80_0000));
            let tiny = _mm256_srli_epi32::<1>(_mm256_cmpeq_epi32(exponent, _mm256_setzero_si256()));
            let rounded = _mm256_andnot_si256(tiny, rounded);
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x.0, x.0));
            let words = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
            let packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(dst.cast(), packed);
        }
    }

    #[inline(always)]
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> Avx2Lanes {
        unsafe { half::<HIGH>(_mm256_loadu_si256(src.cast())) }
    }

    #[inline(always)]
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> Avx2Lanes {
        unsafe { half::<HIGH>(_mm256_set1_epi32(src.cast::<i32>().read_unaligned())) }
    }
}
