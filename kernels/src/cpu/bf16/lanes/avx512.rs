//! Sixteen lanes in a zmm register, twice: with the instruction that multiplies pairs, and with pairs widened for processors without it.

use super::HalfLanes;
use crate::cpu::bf16::HalfKernel;
use crate::cpu::lanes::avx512::Avx512Lanes;
use core::arch::x86_64::*;

/// AVX-512F.
pub(crate) struct Avx512Halves;

/// AVX-512F, BW, VL and BF16.
pub(crate) struct Bf16Halves;

/// The one place where a kernel body meets AVX-512: everything inlined below is compiled for it.
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: HalfKernel>(kernel: K) {
    kernel.run::<Avx512Halves>();
}

/// The same with AVX-512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
#[inline(never)]
pub(crate) fn bf16_shim<K: HalfKernel>(kernel: K) {
    kernel.run::<Bf16Halves>();
}

/// The wanted halves of pairs, as f32.
#[inline(always)]
fn half<const HIGH: bool>(pairs: __m512i) -> Avx512Lanes {
    // SAFETY: as below.
    let bits = unsafe { if HIGH { _mm512_and_si512(pairs, _mm512_set1_epi32(!0xFFFF)) } else { _mm512_slli_epi32::<16>(pairs) } };
    // SAFETY: as below.
    Avx512Lanes(unsafe { _mm512_castsi512_ps(bits) })
}

// SAFETY (all blocks below): these run inside `shim` alone, which a caller reaches with a token of AVX-512F or from a kernel that already runs
// on this tier; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl HalfLanes for Avx512Halves {
    type Floats = Avx512Lanes;

    #[inline(always)]
    unsafe fn call<K: HalfKernel>(kernel: K) {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn widen(src: *const u16) -> Avx512Lanes {
        unsafe { half::<false>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(src.cast()))) }
    }

    #[inline(always)]
    unsafe fn narrow(x: Avx512Lanes, dst: *mut u16) {
        unsafe {
            let bits = _mm512_castps_si512(x.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
            // A zero exponent leaves the sign alone.
            let tiny = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7F80_0000));
            let rounded = _mm512_mask_and_epi32(rounded, tiny, bits, _mm512_set1_epi32(i32::MIN));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x.0, x.0);
            let rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
            _mm256_storeu_si256(dst.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded)));
        }
    }

    #[inline(always)]
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> Avx512Lanes {
        unsafe { half::<HIGH>(_mm512_loadu_si512(src.cast())) }
    }

    #[inline(always)]
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> Avx512Lanes {
        unsafe { half::<HIGH>(_mm512_set1_epi32(src.cast::<i32>().read_unaligned())) }
    }
}

// SAFETY (all blocks below): as above, with `bf16_shim` and a token of AVX-512-BF16; the casts are between registers of one size that any bits may
// fill.
#[allow(clippy::undocumented_unsafe_blocks)]
impl HalfLanes for Bf16Halves {
    type Floats = Avx512Lanes;

    #[inline(always)]
    unsafe fn call<K: HalfKernel>(kernel: K) {
        unsafe { bf16_shim(kernel) }
    }

    #[inline(always)]
    unsafe fn widen(src: *const u16) -> Avx512Lanes {
        unsafe { Avx512Halves::widen(src) }
    }

    #[inline(always)]
    unsafe fn narrow(x: Avx512Lanes, dst: *mut u16) {
        unsafe { _mm256_storeu_si256(dst.cast(), core::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x.0))) }
    }

    #[inline(always)]
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> Avx512Lanes {
        unsafe { Avx512Halves::of_pairs::<HIGH>(src) }
    }

    #[inline(always)]
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> Avx512Lanes {
        unsafe { Avx512Halves::of_pair::<HIGH>(src) }
    }

    #[inline(always)]
    unsafe fn step<const MR: usize, const NR: usize>(a: [*const u16; MR], w: [*const u16; NR], sums: &mut [[Avx512Lanes; NR]; MR]) {
        unsafe {
            let mut b = [_mm512_setzero_si512(); NR];
            for j in 0..NR {
                b[j] = _mm512_loadu_si512(w[j].cast());
            }
            for i in 0..MR {
                let x = core::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(a[i].cast::<i32>().read_unaligned()));
                for j in 0..NR {
                    let w = core::mem::transmute::<__m512i, __m512bh>(b[j]);
                    sums[i][j] = Avx512Lanes(_mm512_dpbf16_ps(sums[i][j].0, x, w));
                }
            }
        }
    }
}
