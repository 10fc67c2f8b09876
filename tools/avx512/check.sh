#!/usr/bin/env bash
# Proves that fp32 has the same bits on AVX2 here and on AVX-512 in the emulator: builds the kernel tests and tests/isa_identity.rs as
# static programs, runs them on this machine, then on the emulated one, where the AVX-512 tier must be found. See README.md.
# Words given to this script go to run.sh as options, for example: check.sh -o /tmp/avx512
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=x86_64-unknown-linux-gnu
cache=${RADNET_AVX512_CACHE:-target/avx512}
export CARGO_TARGET_DIR=$cache/build RUSTFLAGS='-C target-feature=+crt-static'
mkdir -p "$cache"

# The executables of a `cargo test --no-run`.
executables() {
    nice cargo test --release --target $target --no-run "$@" 2>&1 | tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p'
}

rustc --edition 2024 -O --target $target $RUSTFLAGS -o "$cache/probe" tools/avx512/probe.rs
mapfile -t kernels < <(executables -p radnet-kernels)
mapfile -t networks < <(executables -p radnet --test isa_identity)
[ ${#kernels[@]} -gt 0 ] && [ ${#networks[@]} -eq 1 ] || { echo "check.sh: the tests did not build" >&2 && exit 2; }

jobs=(-- "$cache/probe")
for test in "${kernels[@]}"; do
    nice "$test" --test-threads=1
    jobs+=(-- "$test" --test-threads=1)
done
nice "${networks[0]}" --test-threads=1 --nocapture
for network in softmax odd_widths plain one_slice densenet121; do
    jobs+=(-- "${networks[0]}" --test-threads=1 --nocapture "$network")
done
tools/avx512/run.sh -t 7200 -e RADNET_REQUIRE_ISA=avx512 "$@" "${jobs[@]}"
