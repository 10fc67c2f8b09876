//! The one place where a kernel body meets AVX-512BW: everything inlined below is compiled for it.

use super::zmm::ZmmInts;
use crate::cpu::int8::IntKernel;

/// Runs a kernel on this level.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: IntKernel>(kernel: K) {
    kernel.run::<ZmmInts<false>>();
}
