//! Eight sums in two q registers. Pairs of 16 bits lie as eight first and eight second numbers: the products of a pair are then two multiply-adds to the
//! same sum (`smlal`, by an element of the row's pair), and nothing is added across lanes, at as many instructions a product as in fp32. Where the processor
//! adds four products of bytes to a sum in one instruction ([`Dot`]), codes take a fourth of those.

use super::{IntLanes, Words};
use crate::cpu::int8::IntKernel;
use crate::cpu::lanes::neon::NeonLanes;
use core::arch::aarch64::*;
use std::marker::PhantomData;

/// What a level does with four codes and four weights of bytes.
pub(crate) trait Dot: Copy {
    /// Whether it multiplies them: [`IntLanes::QUADS`].
    const QUADS: bool;
    /// [`IntLanes::SIGNED`].
    const SIGNED: bool;

    /// [`IntLanes::call`].
    ///
    /// # Safety
    /// The processor has the level's features.
    unsafe fn call<K: IntKernel>(kernel: K);

    /// Per sum: four weights times the four codes in the first element.
    ///
    /// # Safety
    /// The processor has the level's features.
    unsafe fn dot(sums: int32x4_t, w: int32x4_t, codes: int32x4_t) -> int32x4_t;
}

/// NEON alone: pairs only.
#[derive(Clone, Copy)]
pub(crate) struct Smlal;

/// Eight sums; or, as bits, the first and the second numbers of eight pairs, or eight times four bytes.
#[derive(Clone, Copy)]
pub(crate) struct NeonInts<D>(int32x4_t, int32x4_t, PhantomData<D>);

/// Sixteen numbers of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct NeonWords(int16x8_t, int16x8_t);

/// The one place where a kernel body meets NEON: everything inlined below is compiled for it.
#[target_feature(enable = "neon")]
#[inline(never)]
pub(crate) fn shim<K: IntKernel>(kernel: K) {
    kernel.run::<NeonInts<Smlal>>();
}

impl Dot for Smlal {
    const QUADS: bool = false;
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        // SAFETY: as promised.
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn dot(_: int32x4_t, _: int32x4_t, _: int32x4_t) -> int32x4_t {
        unreachable!("this level has pairs only")
    }
}

impl<D> NeonInts<D> {
    #[inline(always)]
    fn of(low: int32x4_t, high: int32x4_t) -> Self {
        Self(low, high, PhantomData)
    }

    #[inline(always)]
    fn of_pairs(first: int16x8_t, second: int16x8_t) -> Self {
        // SAFETY: as below.
        unsafe { Self::of(vreinterpretq_s32_s16(first), vreinterpretq_s32_s16(second)) }
    }

    #[inline(always)]
    fn pairs(self) -> [int16x8_t; 2] {
        // SAFETY: as below.
        unsafe { [vreinterpretq_s16_s32(self.0), vreinterpretq_s16_s32(self.1)] }
    }
}

// SAFETY (all blocks below): a value of this type is only made inside the shim of its level, which a caller reaches with a token of the level or from a
// kernel that already runs on it, so NEON, and what `D` multiplies with, are here; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<D: Dot> IntLanes for NeonInts<D> {
    const LANES: usize = 8;
    const QUADS: bool = D::QUADS;
    const SIGNED: bool = D::SIGNED;
    type Floats = NeonLanes;
    type Words = NeonWords;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        unsafe { D::call(kernel) }
    }

    #[inline(always)]
    unsafe fn load<T>(src: *const T) -> Self {
        if size_of::<T>() == 1 {
            return unsafe { Self::of(vld1q_s32(src.cast()), vld1q_s32(src.add(16).cast())) };
        }
        let int16x8x2_t(first, second) = unsafe { vld2q_s16(src.cast()) };
        Self::of_pairs(first, second)
    }

    #[inline(always)]
    unsafe fn splat<T>(src: *const T) -> Self {
        if size_of::<T>() == 1 {
            // In the first element alone: a load without a copy to all.
            let zero = unsafe { vdupq_n_s32(0) };
            return Self::of(unsafe { vsetq_lane_s32::<0>(src.cast::<i32>().read_unaligned(), zero) }, zero);
        }
        unsafe {
            let pair = vreinterpret_s16_s32(vdup_n_s32(src.cast::<i32>().read_unaligned()));
            Self::of_pairs(vdupq_lane_s16::<0>(pair), vdupq_lane_s16::<1>(pair))
        }
    }

    #[inline(always)]
    unsafe fn store_quads(codes: uint8x16_t, dst: *mut u8) {
        unsafe { vst1q_u8(dst, if D::SIGNED { veorq_u8(codes, vdupq_n_u8(128)) } else { codes }) }
    }

    #[inline(always)]
    unsafe fn code_floats(src: *const u8) -> NeonLanes {
        unsafe {
            let words = vmovl_u8(vld1_u8(src));
            NeonLanes(vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_high_u16(words)))
        }
    }

    #[inline(always)]
    unsafe fn store_codes(y: NeonLanes, dst: *mut u8) {
        unsafe { vst1_u8(dst, vmovn_u16(vreinterpretq_u16_s16(narrow(y)))) }
    }

    #[inline(always)]
    unsafe fn store_wide_codes(y: NeonLanes, dst: *mut i16) {
        unsafe { vst1q_s16(dst, narrow(y)) }
    }

    #[inline(always)]
    fn zero() -> Self {
        let zero = unsafe { vdupq_n_s32(0) };
        Self::of(zero, zero)
    }

    #[inline(always)]
    fn madd(self, a: Self, w: Self) -> Self {
        let mut sums = self;
        for (a, w) in a.pairs().into_iter().zip(w.pairs()) {
            sums.0 = unsafe { vmlal_s16(sums.0, vget_low_s16(w), vget_low_s16(a)) };
            sums.1 = unsafe { vmlal_high_s16(sums.1, w, a) };
        }
        sums
    }

    #[inline(always)]
    fn madd_quads(self, codes: Self, w: Self) -> Self {
        unsafe { Self::of(D::dot(self.0, w.0, codes.0), D::dot(self.1, w.1, codes.0)) }
    }

    #[inline(always)]
    fn to_floats(self) -> NeonLanes {
        unsafe { NeonLanes(vcvtq_f32_s32(self.0), vcvtq_f32_s32(self.1)) }
    }
}

// SAFETY (all blocks below): as above.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Words for NeonWords {
    type Codes = uint8x16_t;

    #[inline(always)]
    unsafe fn load(src: *const i16) -> Self {
        unsafe { Self(vld1q_s16(src), vld1q_s16(src.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut i16) {
        unsafe {
            vst1q_s16(dst, self.0);
            vst1q_s16(dst.add(8), self.1);
        }
    }

    #[inline(always)]
    unsafe fn load_codes(src: *const u8) -> uint8x16_t {
        unsafe { vld1q_u8(src) }
    }

    #[inline(always)]
    unsafe fn store_codes(codes: uint8x16_t, dst: *mut u8) {
        unsafe { vst1q_u8(dst, codes) }
    }

    #[inline(always)]
    fn clamp(codes: uint8x16_t, low: uint8x16_t, high: uint8x16_t) -> uint8x16_t {
        unsafe { vminq_u8(vmaxq_u8(codes, low), high) }
    }

    #[inline(always)]
    fn widen(codes: uint8x16_t) -> Self {
        unsafe { Self(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes))), vreinterpretq_s16_u16(vmovl_high_u8(codes))) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        unsafe { Self(vaddq_s16(self.0, b.0), vaddq_s16(self.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        unsafe { Self(vsubq_s16(self.0, b.0), vsubq_s16(self.1, b.1)) }
    }

    #[inline(always)]
    fn times4(self) -> Self {
        unsafe { Self(vshlq_n_s16::<2>(self.0), vshlq_n_s16::<2>(self.1)) }
    }
}

/// Eight floats of at most 16 bits, rounded to nearest, ties to even.
#[inline(always)]
fn narrow(y: NeonLanes) -> int16x8_t {
    // SAFETY: as above.
    unsafe { vcombine_s16(vmovn_s32(vcvtnq_s32_f32(y.0)), vmovn_s32(vcvtnq_s32_f32(y.1))) }
}
