#!/usr/bin/env bash
# Proves the NEON tier under qemu: the kernels' tests, the digests of whole networks that x86-64 gives too, int8 and bf16, and the golden models
# against PyTorch's float64, on `neon` and on `portable`. See README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export RADNET_REQUIRE_ISA=neon,portable
run_tests() {
    nice tools/neon/run.sh cargo test --release --locked --target aarch64-unknown-linux-gnu "$@"
}
nice tools/neon/run.sh cargo check --workspace --release --locked --target aarch64-unknown-linux-gnu
run_tests -p radnet-kernels
run_tests -p radnet --test isa_identity --test int8_engine --test bf16_engine --test golden_suite
