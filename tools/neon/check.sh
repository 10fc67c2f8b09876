#!/usr/bin/env bash
# Proves the NEON tiers under qemu: the kernels' tests, the digests of whole networks that x86-64 gives too, int8 and bf16, and the golden models
# against PyTorch's float64, on every tier and level of NEON and on `portable`; then the kernels' unit tests on processors that lack some. See README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export RADNET_REQUIRE_ISA=neon-bf16,neon,portable RADNET_REQUIRE_INTEGERS=neon-i8mm,neon-dotprod,neon,portable,portable-direct
run_tests() {
    nice tools/neon/run.sh cargo test --release --locked --target aarch64-unknown-linux-gnu "$@"
}
nice tools/neon/run.sh cargo check --workspace --release --locked --target aarch64-unknown-linux-gnu
run_tests -p radnet-kernels
run_tests -p radnet --test isa_identity --test int8_engine --test bf16_engine --test golden_suite
export RADNET_REQUIRE_ISA=neon,portable
QEMU_CPU=neoverse-n1 RADNET_REQUIRE_INTEGERS=neon-dotprod,neon run_tests -p radnet-kernels --lib
QEMU_CPU=cortex-a72 RADNET_REQUIRE_INTEGERS=neon run_tests -p radnet-kernels --lib
