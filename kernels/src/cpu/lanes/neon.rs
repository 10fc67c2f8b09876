//! Eight lanes in two q registers: tiles then have the shapes of AVX2 and fill the 32 registers that are here (6×2: 24 sums, 4 weights, 1 broadcast).

use super::{F32Lanes, ROUND_BIAS};
use crate::cpu::Kernel;
use core::arch::aarch64::*;

/// Eight f32.
#[derive(Clone, Copy)]
pub(crate) struct NeonLanes(pub(crate) float32x4_t, pub(crate) float32x4_t);

/// The one place where a kernel body meets NEON: everything inlined below is compiled for it.
#[target_feature(enable = "neon")]
#[inline(never)]
pub(crate) fn shim<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<NeonLanes>()
}

// SAFETY (all blocks below): a value of this type is only made inside `shim`, which a caller reaches with a `Neon` token or from a kernel
// that already runs on this tier, so NEON is here; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl F32Lanes for NeonLanes {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        unsafe { Self(vld1q_f32(src), vld1q_f32(src.add(4))) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        unsafe {
            vst1q_f32(dst, self.0);
            vst1q_f32(dst.add(4), self.1);
        }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        let x = unsafe { vdupq_n_f32(x) };
        Self(x, x)
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { Self(vfmaq_f32(c.0, self.0, b.0), vfmaq_f32(c.1, self.1, b.1)) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        unsafe { Self(vaddq_f32(self.0, b.0), vaddq_f32(self.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        unsafe { Self(vsubq_f32(self.0, b.0), vsubq_f32(self.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        unsafe { Self(vmulq_f32(self.0, b.0), vmulq_f32(self.1, b.1)) }
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        unsafe { Self(vdivq_f32(self.0, b.0), vdivq_f32(self.1, b.1)) }
    }

    // FMAX and FMIN order the zeros and pass NaNs on; the trait's comparison does neither.
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self::select_lt(b, self, self, b)
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self::select_lt(self, b, self, b)
    }

    #[inline(always)]
    fn select_lt(a: Self, b: Self, x: Self, y: Self) -> Self {
        unsafe { Self(vbslq_f32(vcltq_f32(a.0, b.0), x.0, y.0), vbslq_f32(vcltq_f32(a.1, b.1), x.1, y.1)) }
    }

    #[inline(always)]
    fn pow2_of_biased(self) -> Self {
        let pow2 = |x| unsafe {
            let n = vaddq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(127u32.wrapping_sub(ROUND_BIAS.to_bits())));
            vreinterpretq_f32_u32(vshlq_n_u32::<23>(n))
        };
        Self(pow2(self.0), pow2(self.1))
    }
}
