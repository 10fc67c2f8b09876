//! One vector of f32 as a trait: every kernel body is written once over it and compiled once per tier.
//!
//! Each operation rounds as IEEE 754 says and is done lane by lane, and kernels never add across lanes: the number of lanes then
//! decides the speed and nothing else. `max` and `min` return the second operand when the operands are equal, on every tier.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

use super::Kernel;

/// A vector of f32.
///
/// The methods are `#[inline(always)]` wrappers of one instruction. They may only run inside a function compiled for the tier's features,
/// which is what [`F32Lanes::call`] and `Isa::run` arrange; a value of the type exists nowhere else.
pub(crate) trait F32Lanes: Copy {
    /// Number of lanes; divides 16.
    const LANES: usize;
    /// Vectors that one panel of 16 outputs takes.
    const PANEL: usize = 16 / Self::LANES;

    /// Runs another kernel on this tier without inlining it here, so that large bodies exist once.
    ///
    /// # Safety
    /// The processor has the tier's features.
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output;

    /// Reads [`Self::LANES`] floats at any alignment.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load(src: *const f32) -> Self;

    /// Writes [`Self::LANES`] floats at any alignment.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store(self, dst: *mut f32);

    /// The same value in all lanes.
    fn splat(x: f32) -> Self;
    /// self · b + c, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// self + b.
    fn add(self, b: Self) -> Self;
    /// self − b.
    fn sub(self, b: Self) -> Self;
    /// self · b.
    fn mul(self, b: Self) -> Self;
    /// self / b.
    fn div(self, b: Self) -> Self;
    /// self > b ? self : b.
    fn max(self, b: Self) -> Self;
    /// self < b ? self : b.
    fn min(self, b: Self) -> Self;
    /// a < b ? x : y.
    fn select_lt(a: Self, b: Self, x: Self, y: Self) -> Self;
    /// 2ⁿ where the lane holds 1.5·2²³ + n for an integer n in [−126, 127].
    fn pow2_of_biased(self) -> Self;

    /// All lanes zero.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }
}

/// 1.5·2²³: adding it rounds a small float to the nearest integer (ties to even) and leaves that integer in the low mantissa bits.
pub(crate) const ROUND_BIAS: f32 = 12_582_912.0;
