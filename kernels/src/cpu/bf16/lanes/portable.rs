//! Eight lanes as an array: the plain reading of what the other tiers do.

use super::HalfLanes;
use crate::cpu::bf16::HalfKernel;
use crate::cpu::bf16::numbers::{narrow, widen};
use crate::cpu::lanes::portable::PortableLanes;

/// The tier that needs nothing.
pub(crate) struct PortableHalves;

impl HalfLanes for PortableHalves {
    type Floats = PortableLanes;

    #[inline(never)]
    unsafe fn call<K: HalfKernel>(kernel: K) {
        kernel.run::<Self>();
    }

    #[inline(always)]
    unsafe fn widen(src: *const u16) -> PortableLanes {
        // SAFETY: the caller promises eight readable numbers.
        PortableLanes(unsafe { src.cast::<[u16; 8]>().read_unaligned() }.map(widen))
    }

    #[inline(always)]
    unsafe fn narrow(x: PortableLanes, dst: *mut u16) {
        // SAFETY: the caller promises eight writable numbers.
        unsafe { dst.cast::<[u16; 8]>().write_unaligned(x.0.map(narrow)) }
    }

    #[inline(always)]
    unsafe fn of_pairs<const HIGH: bool>(src: *const u16) -> PortableLanes {
        // SAFETY: the caller promises eight readable pairs.
        let pairs = unsafe { src.cast::<[[u16; 2]; 8]>().read_unaligned() };
        PortableLanes(pairs.map(|pair| widen(pair[usize::from(HIGH)])))
    }

    #[inline(always)]
    unsafe fn of_pair<const HIGH: bool>(src: *const u16) -> PortableLanes {
        // SAFETY: the caller promises a readable pair.
        PortableLanes([widen(unsafe { src.add(usize::from(HIGH)).read() }); 8])
    }
}
