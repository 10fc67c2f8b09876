//! Sixteen lanes in a zmm register.

use super::{F32Lanes, ROUND_BIAS};
use crate::cpu::Kernel;
use core::arch::x86_64::*;

/// Sixteen f32.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Lanes(pub(crate) __m512);

/// The one place where a kernel body meets AVX-512: everything inlined below is compiled for it.
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512Lanes>()
}

// SAFETY (all blocks below): a value of this type is only made inside `shim`, which a caller reaches with an `Avx512` token or from a
// kernel that already runs on this tier, so AVX-512F is here; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl F32Lanes for Avx512Lanes {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(src) })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        unsafe { _mm512_storeu_ps(dst, self.0) }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(unsafe { _mm512_sub_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(unsafe { _mm512_mul_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        Self(unsafe { _mm512_div_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self(unsafe { _mm512_max_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self(unsafe { _mm512_min_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn select_lt(a: Self, b: Self, x: Self, y: Self) -> Self {
        Self(unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0), y.0, x.0) })
    }

    #[inline(always)]
    fn pow2_of_biased(self) -> Self {
        unsafe {
            let bias = _mm512_set1_epi32(127i32.wrapping_sub(ROUND_BIAS.to_bits() as i32));
            let n = _mm512_add_epi32(_mm512_castps_si512(self.0), bias);
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(n)))
        }
    }
}
