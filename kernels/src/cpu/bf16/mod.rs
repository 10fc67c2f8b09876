//! Kernels over bf16: activations and weights are bf16 numbers, every sum is a float32 and is rounded to bf16 once where it is stored.
//!
//! An instruction that multiplies pairs and adds both products to a float32 (`vdpbf16ps`, with twice the rate of a fused multiply-add; `bfdot` on AArch64, whose
//! rate we do not know) does two multiply-adds a lane, and everything takes half the memory it takes in fp32. Tiers without it do the same arithmetic on
//! widened numbers (`lanes`), no faster than fp32. Where there is AMX, dense layers
//! and transitions go in tiles (`super::tiles`), their 3×3 directly. The stem is that of fp32 everywhere.
//! Every output is one chain in the order of k, in tiles of sums of 32, so that on one tier strips, threads and skipped air decide no bit. Norms, biases, the transforms
//! of Winograd and what they are made of are float32.

pub mod convert;
pub mod dense;
pub mod gemm;
pub(crate) mod lanes;
pub mod layout;
pub mod numbers;
pub(crate) mod prologue;
pub mod transition;
pub(crate) mod winograd;

use crate::isa::Isa;
use lanes::HalfLanes;
use lanes::portable::PortableHalves;

/// A kernel with its arguments: `run` is its body, generic over the tier.
pub(crate) trait HalfKernel {
    /// The body; implementations are `#[inline(always)]` so that they are compiled inside the tier's shim.
    fn run<V: HalfLanes>(self);
}

impl Isa {
    /// Runs a kernel over bf16 on this tier.
    pub(crate) fn run_halves<K: HalfKernel>(self, kernel: K) {
        match self {
            // SAFETY: either token proves that the processor has AVX-512F, BW, VL and BF16, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) | Self::Avx512Bf16(_) => unsafe { lanes::avx512::bf16_shim(kernel) },
            // SAFETY: the token proves that the processor has AVX-512F, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => unsafe { lanes::avx512::shim(kernel) },
            // SAFETY: the token proves that the processor has AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => unsafe { lanes::avx2::shim(kernel) },
            // SAFETY: the token proves that the processor has NEON and its products of bf16.
            #[cfg(target_arch = "aarch64")]
            Self::NeonBf16(_) => unsafe { lanes::neon_bf16::shim(kernel) },
            // SAFETY: the token proves that the processor has NEON.
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => unsafe { lanes::neon::shim(kernel) },
            // SAFETY: the portable tier needs no feature.
            _ => unsafe { PortableHalves::call(kernel) },
        }
    }
}
