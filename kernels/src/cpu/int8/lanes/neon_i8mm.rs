//! The one place where a kernel body meets I8MM: everything inlined below is compiled for it.
//!
//! `sudot` multiplies four signed bytes of every lane by four unsigned ones of an element and adds the products to the lane's sum, exactly. Its intrinsic
//! is not stable, so that it is written as assembly (Arm Architecture Reference Manual for A-profile, "SUDOT (by element)").

use super::neon::{Dot, NeonInts};
use crate::cpu::int8::IntKernel;
use core::arch::aarch64::int32x4_t;
use std::arch::asm;

/// NEON and I8MM.
#[derive(Clone, Copy)]
pub(crate) struct Sudot;

/// Runs a kernel on this level.
#[target_feature(enable = "neon,i8mm")]
#[inline(never)]
pub(crate) fn shim<K: IntKernel>(kernel: K) {
    kernel.run::<NeonInts<Sudot>>();
}

impl Dot for Sudot {
    const QUADS: bool = true;
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        // SAFETY: as promised.
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, w: int32x4_t, codes: int32x4_t) -> int32x4_t {
        // SAFETY: as promised.
        unsafe { sudot(sums, w, codes) }
    }
}

#[target_feature(enable = "neon,i8mm")]
#[inline]
fn sudot(mut sums: int32x4_t, w: int32x4_t, codes: int32x4_t) -> int32x4_t {
    // SAFETY: registers only; the instruction is among the features.
    unsafe {
        asm!(
            "sudot {sums:v}.4s, {w:v}.16b, {codes:v}.4b[0]",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            codes = in(vreg) codes,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
