//! Eight lanes in a ymm register.

use super::{F32Lanes, ROUND_BIAS};
use crate::cpu::Kernel;
use core::arch::x86_64::*;

/// Eight f32.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Lanes(pub(crate) __m256);

/// The one place where a kernel body meets AVX2: everything inlined below is compiled for it.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2Lanes>()
}

// SAFETY (all blocks below): a value of this type is only made inside `shim`, which a caller reaches with an `Avx2` token or from a kernel
// that already runs on this tier, so AVX2 and FMA are here; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl F32Lanes for Avx2Lanes {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        Self(unsafe { _mm256_loadu_ps(src) })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        unsafe { _mm256_storeu_ps(dst, self.0) }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(unsafe { _mm256_add_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(unsafe { _mm256_sub_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(unsafe { _mm256_mul_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        Self(unsafe { _mm256_div_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self(unsafe { _mm256_max_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self(unsafe { _mm256_min_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn select_lt(a: Self, b: Self, x: Self, y: Self) -> Self {
        Self(unsafe { _mm256_blendv_ps(y.0, x.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)) })
    }

    #[inline(always)]
    fn pow2_of_biased(self) -> Self {
        unsafe {
            let bias = _mm256_set1_epi32(127i32.wrapping_sub(ROUND_BIAS.to_bits() as i32));
            let n = _mm256_add_epi32(_mm256_castps_si256(self.0), bias);
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(n)))
        }
    }
}
