//! One vector of integers as a trait, beside the vector of f32 of the same tier: kernels over codes are written once over it.
//!
//! Products and sums take the tier's widest register; what only prepares or packs codes takes sixteen numbers of 16 bits at a time. Nothing
//! wraps in a kernel that keeps its bounds, and nothing saturates but the final codes.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

use super::IntKernel;
use crate::cpu::lanes::F32Lanes;

/// Sixteen numbers of 16 bits, on every tier: channels are padded to sixteen.
pub(crate) trait Words: Copy {
    /// Sixteen codes.
    type Codes: Copy;

    /// Reads sixteen numbers at any alignment.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load(src: *const i16) -> Self;

    /// Writes sixteen numbers at any alignment.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store(self, dst: *mut i16);

    /// Reads sixteen codes.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load_codes(src: *const u8) -> Self::Codes;

    /// min(max(q, low), high), in 16 bits each.
    fn clamped(codes: Self::Codes, low: Self::Codes, high: Self::Codes) -> Self;
    /// self + b.
    fn add(self, b: Self) -> Self;
    /// self − b.
    fn sub(self, b: Self) -> Self;
    /// 4·self.
    fn times4(self) -> Self;
}

/// A vector of sums; see [`F32Lanes`] for where its methods may run.
pub(crate) trait IntLanes: Copy {
    /// Sums of 32 bits in a register, which may also hold a pair of 16 bits for each: half of a panel.
    const LANES: usize;
    /// The vector of as many f32.
    type Floats: F32Lanes;
    /// The vector for what is not summed.
    type Words: Words;

    /// Runs another kernel on this tier without inlining it here.
    ///
    /// # Safety
    /// The processor has the tier's features.
    unsafe fn call<K: IntKernel>(kernel: K);

    /// Reads LANES pairs at any alignment.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load(src: *const i16) -> Self;

    /// One pair for every sum.
    ///
    /// # Safety
    /// It is readable.
    unsafe fn splat(src: *const i16) -> Self;

    /// LANES codes as f32.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn code_floats(src: *const u8) -> Self::Floats;

    /// Rounds to nearest, ties to even, and writes LANES codes; the floats lie in [0, 255].
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store_codes(y: Self::Floats, dst: *mut u8);

    /// As [`Self::store_codes`], in 16 bits each.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store_wide_codes(y: Self::Floats, dst: *mut i16);

    /// All zero.
    fn zero() -> Self;
    /// Per sum: self + a₀·w₀ + a₁·w₁ of the pairs that lie there.
    fn madd(self, a: Self, w: Self) -> Self;
    /// The sums, rounded to f32.
    fn to_floats(self) -> Self::Floats;
}
