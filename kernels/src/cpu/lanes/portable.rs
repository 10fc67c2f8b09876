//! Eight lanes as an array, for machines without a tier of their own and as the plain reading of what the others do.

use super::{F32Lanes, ROUND_BIAS};
use crate::cpu::Kernel;

/// Eight f32.
#[derive(Clone, Copy)]
pub(crate) struct PortableLanes(pub(crate) [f32; 8]);

#[inline(always)]
fn zip(a: PortableLanes, b: PortableLanes, f: impl Fn(f32, f32) -> f32) -> PortableLanes {
    let mut out = [0.0; 8];
    for i in 0..8 {
        out[i] = f(a.0[i], b.0[i]);
    }
    PortableLanes(out)
}

impl F32Lanes for PortableLanes {
    const LANES: usize = 8;

    #[inline(never)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: the caller promises eight readable floats; arrays of f32 need no more than their alignment, which read_unaligned waives.
        Self(unsafe { src.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { dst.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let mut out = [0.0; 8];
        for i in 0..8 {
            out[i] = self.0[i].mul_add(b.0[i], c.0[i]);
        }
        Self(out)
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        zip(self, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        zip(self, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        zip(self, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        zip(self, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        zip(self, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        zip(self, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn select_lt(a: Self, b: Self, x: Self, y: Self) -> Self {
        let mut out = [0.0; 8];
        for i in 0..8 {
            out[i] = if a.0[i] < b.0[i] { x.0[i] } else { y.0[i] };
        }
        Self(out)
    }

    #[inline(always)]
    fn pow2_of_biased(self) -> Self {
        let mut out = [0.0; 8];
        for i in 0..8 {
            let n = self.0[i].to_bits().wrapping_sub(ROUND_BIAS.to_bits());
            out[i] = f32::from_bits(n.wrapping_add(127) << 23);
        }
        Self(out)
    }
}
