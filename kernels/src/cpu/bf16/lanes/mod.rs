//! What a tier does with bf16 numbers, beside its vector of f32: kernels over bf16 are written once over this trait.
//!
//! One instruction (`vdpbf16ps`, `bfdot`) multiplies pairs of bf16 and adds both products to a float32. Tiers without it widen both halves of the pairs and use
//! two fused multiply-adds, the lower half first: their sums are plain chains in the order of k and the same bits on every such tier.
//! Either instruction takes subnormals for zero and rounds in a way of its own, so that its sums are close to those and not equal.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_bf16;
pub(crate) mod portable;

use super::HalfKernel;
use crate::cpu::lanes::F32Lanes;

/// A tier; see [`F32Lanes`] for where its functions may run.
pub(crate) trait HalfLanes {
    /// The vector of sums.
    type Floats: F32Lanes;

    /// Runs another kernel on this tier without inlining it here.
    ///
    /// # Safety
    /// The processor has the tier's features.
    unsafe fn call<K: HalfKernel>(kernel: K);

    /// As many bf16 as there are lanes, as f32.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn widen(src: *const u16) -> Self::Floats;

    /// Writes the lanes as [`super::numbers::narrow`] rounds them.
    ///
    /// # Safety
    /// As many bf16 are writable.
    unsafe fn narrow(x: Self::Floats, dst: *mut u16);

    /// The first, or with `HIGH` the second, bf16 of as many pairs as there are lanes.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> Self::Floats;

    /// The first, or with `HIGH` the second, bf16 of a pair in all lanes.
    ///
    /// # Safety
    /// It is readable.
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> Self::Floats;

    /// Two k: the pairs at `a` times the `NR` vectors of pairs at `w`, added to `sums`.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn step<const MR: usize, const NR: usize>(a: [*const u16; MR], w: [*const u16; NR], sums: &mut [[Self::Floats; NR]; MR]) {
        // SAFETY: as promised.
        unsafe {
            half_step::<Self, false, MR, NR>(a, w, sums);
            half_step::<Self, true, MR, NR>(a, w, sums);
        }
    }
}

/// One k of a step.
#[inline(always)]
unsafe fn half_step<V: HalfLanes + ?Sized, const HIGH: bool, const MR: usize, const NR: usize>(
    a: [*const u16; MR],
    w: [*const u16; NR],
    sums: &mut [[V::Floats; NR]; MR],
) {
    let mut b = [V::Floats::zero(); NR];
    for j in 0..NR {
        // SAFETY: as `step`.
        b[j] = unsafe { V::of_pairs::<HIGH>(w[j]) };
    }
    for i in 0..MR {
        // SAFETY: as `step`.
        let x = unsafe { V::of_pair::<HIGH>(a[i]) };
        for j in 0..NR {
            sums[i][j] = x.mul_add(b[j], sums[i][j]);
        }
    }
}
