//! The one place where a kernel body meets dot products: everything inlined below is compiled for it.
//!
//! `sdot` multiplies four signed bytes of every lane by four of an element and adds the products to the lane's sum, modulo 2³²: codes go less 128, and the
//! sums start with 128 times the sum of their weights, so that they are exact where the codes' own would be. Its intrinsic is not stable, so that it is
//! written as assembly (Arm Architecture Reference Manual for A-profile, "SDOT (by element)").

use super::neon::{Dot, NeonInts};
use crate::cpu::int8::IntKernel;
use core::arch::aarch64::int32x4_t;
use std::arch::asm;

/// NEON and its dot products.
#[derive(Clone, Copy)]
pub(crate) struct Sdot;

/// Runs a kernel on this level.
#[target_feature(enable = "neon,dotprod")]
#[inline(never)]
pub(crate) fn shim<K: IntKernel>(kernel: K) {
    kernel.run::<NeonInts<Sdot>>();
}

impl Dot for Sdot {
    const QUADS: bool = true;
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        // SAFETY: as promised.
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, w: int32x4_t, codes: int32x4_t) -> int32x4_t {
        // SAFETY: as promised.
        unsafe { sdot(sums, w, codes) }
    }
}

#[target_feature(enable = "neon,dotprod")]
#[inline]
fn sdot(mut sums: int32x4_t, w: int32x4_t, codes: int32x4_t) -> int32x4_t {
    // SAFETY: registers only; the instruction is among the features.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {w:v}.16b, {codes:v}.4b[0]",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            codes = in(vreg) codes,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
