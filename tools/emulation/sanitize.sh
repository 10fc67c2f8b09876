#!/bin/sh
# The planted bugs and the kernel suite on the emulated device, with the runtime and every kernel under the address and undefined-behaviour
# sanitizers: a bad access ends the run with the kernel's line. With --brief some cases of every family, for the gate. Other arguments go to the
# suite, as a family's name. Needs GCC with libasan and libubsan; exit status 3 without.
set -eu
cd "$(dirname "$0")/../.."
if [ "${1-}" = --brief ]; then
    shift
    export RADNET_EMULATION_BRIEF=1
fi
compiler="${CXX:-g++}"
library=$("$compiler" -print-file-name=libasan.so 2>/dev/null) && test -e "$library" && test -e "$("$compiler" -print-file-name=libubsan.so)" || {
    echo "no $compiler with libasan and libubsan: the sanitizers cannot run" >&2
    exit 3
}
target=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export RADNET_EMULATION_SANITIZE=1
# Fibers leave their frames when a launch is given up, which looks like a leak.
export "CARGO_TARGET_${target}_RUNNER=env LD_PRELOAD=$library ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0"
cargo test --release --locked -p radnet-emulation --tests
cargo test --release --locked -p radnet-gpu --test emulated -- "$@"
