//! Eight lanes in two q registers, pairs widened by a shift and a mask.

use super::HalfLanes;
use crate::cpu::bf16::HalfKernel;
use crate::cpu::lanes::neon::NeonLanes;
use core::arch::aarch64::*;

/// NEON.
pub(crate) struct NeonHalves;

/// The one place where a kernel body meets NEON: everything inlined below is compiled for it.
#[target_feature(enable = "neon")]
#[inline(never)]
pub(crate) fn shim<K: HalfKernel>(kernel: K) {
    kernel.run::<NeonHalves>();
}

/// The wanted halves of pairs, as f32.
#[inline(always)]
fn half<const HIGH: bool>(pairs: uint32x4_t) -> float32x4_t {
    // SAFETY: as below.
    unsafe { vreinterpretq_f32_u32(if HIGH { vandq_u32(pairs, vdupq_n_u32(!0xFFFF)) } else { vshlq_n_u32::<16>(pairs) }) }
}

/// As `numbers::narrow` rounds.
#[inline(always)]
fn narrow(x: float32x4_t) -> uint16x4_t {
    // SAFETY: as below.
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
        // A zero exponent leaves the sign alone.
        let exponent = vandq_u32(bits, vdupq_n_u32(0x7F80_0000));
        let rounded = vbslq_u32(vceqzq_u32(exponent), vandq_u32(bits, vdupq_n_u32(1 << 31)), rounded);
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
        vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(x, x), rounded, quiet))
    }
}

// SAFETY (all blocks below): these run inside `shim` alone, which a caller reaches with a token of NEON or from a kernel that already runs on this
// tier; loads and stores pass their caller's promise on.
#[allow(clippy::undocumented_unsafe_blocks)]
impl HalfLanes for NeonHalves {
    type Floats = NeonLanes;

    #[inline(always)]
    unsafe fn call<K: HalfKernel>(kernel: K) {
        unsafe { shim(kernel) }
    }

    #[inline(always)]
    unsafe fn widen(src: *const u16) -> NeonLanes {
        unsafe {
            let x = vld1q_u16(src);
            let (low, high) = (vshll_n_u16::<16>(vget_low_u16(x)), vshll_high_n_u16::<16>(x));
            NeonLanes(vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high))
        }
    }

    #[inline(always)]
    unsafe fn narrow(x: NeonLanes, dst: *mut u16) {
        unsafe { vst1q_u16(dst, vcombine_u16(narrow(x.0), narrow(x.1))) }
    }

    #[inline(always)]
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> NeonLanes {
        unsafe { NeonLanes(half::<HIGH>(vld1q_u32(src.cast())), half::<HIGH>(vld1q_u32(src.add(8).cast()))) }
    }

    #[inline(always)]
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> NeonLanes {
        unsafe {
            let x = half::<HIGH>(vdupq_n_u32(src.cast::<u32>().read_unaligned()));
            NeonLanes(x, x)
        }
    }
}
