//! One vector of integers as a trait, beside the vector of f32 of the same level: kernels over codes are written once over it.
//!
//! Products and sums take the level's widest register; what only prepares or packs codes takes sixteen numbers of 16 bits at a time. Nothing
//! wraps in a kernel that keeps its bounds, and nothing saturates but the final codes.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_bw;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_dotprod;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_i8mm;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
mod ymm;
#[cfg(target_arch = "x86_64")]
mod zmm;

use super::IntKernel;
use crate::cpu::lanes::F32Lanes;

/// Sixteen numbers of 16 bits, on every level: channels are padded to sixteen.
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

    /// Writes sixteen codes.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store_codes(codes: Self::Codes, dst: *mut u8);

    /// min(max(q, low), high).
    fn clamp(codes: Self::Codes, low: Self::Codes, high: Self::Codes) -> Self::Codes;
    /// Codes in 16 bits each.
    fn widen(codes: Self::Codes) -> Self;
    /// self + b.
    fn add(self, b: Self) -> Self;
    /// self − b.
    fn sub(self, b: Self) -> Self;
    /// 4·self.
    fn times4(self) -> Self;
}

/// Sixteen codes on a level.
pub(crate) type Codes<V> = <<V as IntLanes>::Words as Words>::Codes;

/// A vector of sums; see [`F32Lanes`] for where its methods may run.
pub(crate) trait IntLanes: Copy {
    /// Sums of 32 bits in a register, which may also hold a pair of 16 bits or four bytes for each; divides 16.
    const LANES: usize;
    /// Whether four products of bytes are added at once, as many times a second as two of 16 bits.
    const QUADS: bool;
    /// Whether those bytes are signed: codes then lie in packed rows less 128, and sums start with what that takes from them.
    const SIGNED: bool = false;
    /// The vector of as many f32.
    type Floats: F32Lanes;
    /// The vector for what is not summed.
    type Words: Words;

    /// Runs another kernel on this level without inlining it here.
    ///
    /// # Safety
    /// The processor has the level's features.
    unsafe fn call<K: IntKernel>(kernel: K);

    /// Reads four bytes for each sum, at any alignment: a pair of numbers `T` of 16 bits, or four of 8.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load<T>(src: *const T) -> Self;

    /// The same four bytes for every sum, as [`Self::load`] reads them.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn splat<T>(src: *const T) -> Self;

    /// Writes sixteen codes of a row as [`Self::madd_quads`] takes them.
    ///
    /// # Safety
    /// They are writable.
    #[inline(always)]
    unsafe fn store_quads(codes: Codes<Self>, dst: *mut u8) {
        // SAFETY: as promised.
        unsafe { Self::Words::store_codes(codes, dst) }
    }

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

    /// As [`Self::store_codes`], in 16 bits each; the floats lie in [−32768, 32767].
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store_wide_codes(y: Self::Floats, dst: *mut i16);

    /// As [`Self::store_wide_codes`], of two vectors that follow each other.
    ///
    /// # Safety
    /// They are writable.
    #[inline(always)]
    unsafe fn store_wide_codes2(y: [Self::Floats; 2], dst: *mut i16) {
        // SAFETY: as promised.
        unsafe {
            Self::store_wide_codes(y[0], dst);
            Self::store_wide_codes(y[1], dst.add(Self::LANES));
        }
    }

    /// [`Self::store_quads`] of min(max(q, low), high), of four codes for each sum, a multiple of sixteen.
    ///
    /// # Safety
    /// `dst` is writable, the others readable.
    #[inline(always)]
    unsafe fn clamp_codes(src: *const u8, [low, high]: [*const u8; 2], dst: *mut u8) {
        for c in (0..4 * Self::LANES).step_by(16) {
            // SAFETY: as promised.
            unsafe {
                let bound = |of: *const u8| Self::Words::load_codes(of.add(c));
                Self::store_quads(Self::Words::clamp(bound(src), bound(low), bound(high)), dst.add(c));
            }
        }
    }

    /// All zero.
    fn zero() -> Self;
    /// Per sum: self + a₀·w₀ + a₁·w₁ of the pairs that lie there.
    fn madd(self, a: Self, w: Self) -> Self;
    /// Per sum: self + four codes, the same for all, times four weights of 8 bits; only where [`Self::QUADS`] says so.
    fn madd_quads(self, codes: Self, w: Self) -> Self;
    /// The sums, rounded to f32.
    fn to_floats(self) -> Self::Floats;
}
