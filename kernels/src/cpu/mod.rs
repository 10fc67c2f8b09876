//! Kernels for the processor, fp32 here, bf16 in [`bf16`] and 8-bit codes in [`int8`]: one body per family, compiled once per tier; those
//! two in tiles where there is AMX (`tiles`).
//!
//! Lanes are output channels, or outputs that do not depend on each other, and every output is one chain of fused multiply-adds in a fixed
//! order. Tile shapes, strips and threads therefore decide the speed and never a bit of the result.

// Register tiles are arrays whose loops have constant bounds and several indices in play; constants of polynomials keep their source's digits.
#![allow(clippy::needless_range_loop, clippy::excessive_precision)]

mod ahead;
pub mod attention;
pub mod bf16;
pub mod dense;
pub mod gemm;
pub mod int8;
pub(crate) mod lanes;
pub(crate) mod layer;
pub mod layout;
pub mod math;
mod prologue;
pub mod recurrent;
pub mod roof;
pub mod segmentation;
pub mod spans;
pub mod stem;
pub(crate) mod strips;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;
pub mod transition;
pub mod winograd;

use crate::isa::Isa;
use lanes::F32Lanes;
use lanes::portable::PortableLanes;

/// A kernel with its arguments: `run` is its body, generic over the vector.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// The body; implementations are `#[inline(always)]` so that they are compiled inside the tier's shim.
    fn run<V: F32Lanes>(self) -> Self::Output;
}

impl Isa {
    /// Runs a kernel on this tier.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            // SAFETY: each token proves that the processor has AVX-512F, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) | Self::Avx512Bf16(_) | Self::Avx512(_) => unsafe { lanes::avx512::shim(kernel) },
            // SAFETY: the token proves that the processor has AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => unsafe { lanes::avx2::shim(kernel) },
            // SAFETY: either token proves that the processor has NEON.
            #[cfg(target_arch = "aarch64")]
            Self::NeonBf16(_) | Self::Neon(_) => unsafe { lanes::neon::shim(kernel) },
            // SAFETY: the portable tier needs no feature.
            _ => unsafe { PortableLanes::call(kernel) },
        }
    }
}

/// Splits `count` items into `parts` contiguous ranges whose lengths differ by at most one.
pub fn part(count: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    let at = |i: usize| i * (count / parts) + i.min(count % parts);
    at(index)..at(index + 1)
}
