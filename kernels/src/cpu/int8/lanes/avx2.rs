//! The one place where a kernel body meets AVX2: everything inlined below is compiled for it.

use super::ymm::YmmInts;
use crate::cpu::int8::IntKernel;

/// Runs a kernel on this level.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(crate) fn shim<K: IntKernel>(kernel: K) {
    kernel.run::<YmmInts<false>>();
}
