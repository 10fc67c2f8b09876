//! Kernels over 8-bit codes: activations are u8 codes of one range a channel, weights small integers, sums exact in 32 bits.
//!
//! Two 16-bit products are added by one instruction (`vpmaddwd`; `vpdpwssd` adds them to the sum as well), twice the rate of a fused
//! multiply-add, and 16 bits hold what codes become on the way: differences of codes, sums of four, and the transformed patches of an integer
//! Winograd. `vpmaddubsw` would read the codes as they are but saturates its sums, and splitting them again costs the multiplier what it saved.
//! `vpdpbusd`, and `sudot` on AArch64, saturate nothing: where they are, the 1×1 of dense layers multiplies clamped codes as bytes, four at a time, with
//! weights laid out for that; the portable level does the same, so that what they run is tested everywhere. `sdot` wants signed bytes: codes are packed
//! with their upper bit flipped, which is less 128, and sums start with 128 times their weights.
//! The stem's inputs are numbers of 16 bits from the start ([`stem`]).
//! Where there is AMX all products are of bytes in tiles (`super::tiles`), and the 3×3 goes directly, which is another network in its codes
//! ([`Integers::directly`]).
//! Every sum is exact, so no order decides a bit. What is left is one conversion to f32 and one fused multiply-add per output, rounded to
//! the nearest code (ties to even) and saturated, the same on every level that goes the same way ([`Integers`]).

pub mod convert;
pub mod dense;
pub mod gemm;
pub(crate) mod lanes;
pub mod layout;
pub(crate) mod prologue;
pub mod stem;
pub mod transition;
pub(crate) mod winograd;

use crate::integers::Integers;
use lanes::IntLanes;
use lanes::portable::PortableInts;

/// A kernel with its arguments: `run` is its body, generic over the vector.
pub(crate) trait IntKernel {
    /// The body; implementations are `#[inline(always)]` so that they are compiled inside the level's shim.
    fn run<V: IntLanes>(self);
}

impl Integers {
    /// Whether codes are multiplied as bytes, four at a time, as `IntLanes::QUADS` says.
    fn quads(self) -> bool {
        match self {
            Self::Amx(_)
            | Self::Avx512Vnni(_)
            | Self::AvxVnni(_)
            | Self::NeonI8mm(_)
            | Self::NeonDotprod(_)
            | Self::Portable(_)
            | Self::PortableDirect(_) => true,
            Self::Avx512Bw(_) | Self::Avx2(_) | Self::Neon(_) => false,
        }
    }

    /// Whether those bytes are signed, as `IntLanes::SIGNED` says.
    fn signed(self) -> bool {
        matches!(self, Self::NeonDotprod(_))
    }

    /// Runs a kernel over codes on this level.
    pub(crate) fn run<K: IntKernel>(self, kernel: K) {
        match self {
            // SAFETY: each token proves what its shim is compiled for.
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) | Self::Avx512Vnni(_) => unsafe { lanes::avx512_vnni::shim(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bw(_) => unsafe { lanes::avx512_bw::shim(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(_) => unsafe { lanes::avx_vnni::shim(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => unsafe { lanes::avx2::shim(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm(_) => unsafe { lanes::neon_i8mm::shim(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod(_) => unsafe { lanes::neon_dotprod::shim(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => unsafe { lanes::neon::shim(kernel) },
            // SAFETY: the portable level needs no feature.
            _ => unsafe { PortableInts::call(kernel) },
        }
    }
}

#[cfg(test)]
mod test_numbers {
    use super::layout::{matrix_len, pack_matrix};

    /// A small generator for tests.
    pub(crate) struct Numbers(pub(crate) u64);

    impl Numbers {
        /// A number below `n`.
        pub(crate) fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    /// A matrix \[n, k\] of random 8-bit weights, packed.
    pub(crate) fn random_matrix(numbers: &mut Numbers, k: usize, n: usize, activation: i64) -> Vec<i16> {
        let weights: Vec<i8> = (0..n * k).map(|_| (numbers.below(255) as i64 - 127) as i8).collect();
        let mut packed = vec![0; matrix_len(k, n)];
        assert!(pack_matrix(&mut packed, k, n, activation, |o, i| weights[o * k + i]));
        packed
    }
}
