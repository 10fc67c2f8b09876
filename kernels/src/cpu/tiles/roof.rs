//! The rate of products of tiles, from tiles.

use super::{Precision, ROWS, TileKernel};
use crate::isa::Amx;
use std::arch::asm;

/// Multiplies tiles, four sums by turns, `steps` times each, and says how many operations of single numbers that were.
pub(crate) fn products<P: Precision>(token: Amx, steps: usize) -> usize {
    super::run(token, Products { bytes: P::BYTES, steps });
    4 * steps * ROWS * ROWS * P::STEP * 2
}

struct Products {
    bytes: bool,
    steps: usize,
}

macro_rules! by_turns {
    ($steps:expr, $product:literal) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "2:",
            concat!($product, " tmm0, tmm4, tmm5"),
            concat!($product, " tmm1, tmm4, tmm5"),
            concat!($product, " tmm2, tmm4, tmm5"),
            concat!($product, " tmm3, tmm4, tmm5"),
            "dec {k}",
            "jnz 2b",
            k = inout(reg) $steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nostack, nomem),
        )
    };
}

impl TileKernel for Products {
    #[inline(always)]
    fn run(self) {
        // SAFETY: tiles are configured; the number of steps is not 0.
        unsafe {
            match self.bytes {
                true => by_turns!(self.steps.max(1), "tdpbusd"),
                false => by_turns!(self.steps.max(1), "tdpbf16ps"),
            }
        }
    }
}
