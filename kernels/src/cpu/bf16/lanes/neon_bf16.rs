//! Eight lanes in two q registers, with the instructions that multiply pairs and that round.
//!
//! `bfdot` adds two products of bf16 to the sum of every lane. With `FPCR.EBF` clear, as a process starts, it rounds the sum of the two, and then that with
//! the lane's, to odd: each at most twice as far as to nearest, and half as often as a chain of fused multiply-adds does, so that γ_{K+2} bounds it as well.
//! `bfcvtn` rounds as `numbers::narrow` does, but for subnormals. Their intrinsics are not stable, so that they are written as assembly (Arm Architecture
//! Reference Manual for A-profile, "BFDOT (by element)", "BFCVTN, BFCVTN2").

use super::HalfLanes;
use super::neon::NeonHalves;
use crate::cpu::bf16::HalfKernel;
use crate::cpu::lanes::neon::NeonLanes;
use core::arch::aarch64::*;
use std::arch::asm;

/// NEON with products of bf16.
pub(crate) struct NeonPairs;

/// The one place where a kernel body meets them: everything inlined below is compiled for it.
#[target_feature(enable = "neon,bf16")]
#[inline(never)]
pub(crate) fn shim<K: HalfKernel>(kernel: K) {
    kernel.run::<NeonPairs>();
}

/// Per lane: a pair of weights times the pair in the first element.
#[target_feature(enable = "neon,bf16")]
#[inline]
fn bfdot(mut sums: float32x4_t, w: uint32x4_t, pair: uint32x4_t) -> float32x4_t {
    // SAFETY: registers only; the instruction is among the features.
    unsafe {
        asm!(
            "bfdot {sums:v}.4s, {w:v}.8h, {pair:v}.2h[0]",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            pair = in(vreg) pair,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// As `numbers::narrow` rounds.
#[target_feature(enable = "neon,bf16")]
#[inline]
fn narrow(x: NeonLanes) -> uint16x8_t {
    // A zero exponent leaves the sign alone.
    let flush = |x| {
        let bits = vreinterpretq_u32_f32(x);
        let tiny = vceqzq_u32(vandq_u32(bits, vdupq_n_u32(0x7F80_0000)));
        vbicq_u32(bits, vshrq_n_u32::<1>(tiny))
    };
    let (low, high) = (flush(x.0), flush(x.1));
    let mut rounded: uint16x8_t;
    // SAFETY: registers only; the instructions are among the features.
    unsafe {
        asm!(
            "bfcvtn {rounded:v}.4h, {low:v}.4s",
            "bfcvtn2 {rounded:v}.8h, {high:v}.4s",
            rounded = out(vreg) rounded,
            low = in(vreg) low,
            high = in(vreg) high,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    rounded
}

// SAFETY (all blocks below): these run inside `shim` alone, which a caller reaches with a token of NEON with products of bf16 or from a kernel that already
// runs on this tier; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl HalfLanes for NeonPairs {
    type Floats = NeonLanes;

    #[inline(always)]
    unsafe fn call<K: HalfKernel>(kernel: K) {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn widen(src: *const u16) -> NeonLanes {
        unsafe { NeonHalves::widen(src) }
    }

    #[inline(always)]
    unsafe fn narrow(x: NeonLanes, dst: *mut u16) {
        unsafe { vst1q_u16(dst, narrow(x)) }
    }

    #[inline(always)]
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> NeonLanes {
        unsafe { NeonHalves::of_pairs::<HIGH>(src) }
    }

    #[inline(always)]
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> NeonLanes {
        unsafe { NeonHalves::of_pair::<HIGH>(src) }
    }

    #[inline(always)]
    unsafe fn step<const MR: usize, const NR: usize>(a: [*const u16; MR], w: [*const u16; NR], sums: &mut [[NeonLanes; NR]; MR]) {
        unsafe {
            let zero = vdupq_n_u32(0);
            let mut b = [[zero; 2]; NR];
            for j in 0..NR {
                b[j] = [vld1q_u32(w[j].cast()), vld1q_u32(w[j].add(8).cast())];
            }
            for i in 0..MR {
                // In the first element alone: a load without a copy to all.
                let pair = vsetq_lane_u32::<0>(a[i].cast::<u32>().read_unaligned(), zero);
                for j in 0..NR {
                    let NeonLanes(low, high) = sums[i][j];
                    sums[i][j] = NeonLanes(bfdot(low, b[j][0], pair), bfdot(high, b[j][1], pair));
                }
            }
        }
    }
}
