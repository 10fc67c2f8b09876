#!/bin/sh
# The kernel suite on the emulated device, with the runtime and every kernel under the address and undefined-behaviour sanitizers: a bad access
# ends the run with the kernel's line. Needs GCC with libasan and libubsan. Arguments go to the tests, as a family's name.
set -eu
cd "$(dirname "$0")/../.."
library=$("${CXX:-g++}" -print-file-name=libasan.so)
test -e "$library" || { echo "no libasan: the sanitizers cannot run" >&2; exit 1; }
target=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export RADNET_EMULATION_SANITIZE=1
# Fibers leave their frames when a launch is given up, which looks like a leak.
export "CARGO_TARGET_${target}_RUNNER=env LD_PRELOAD=$library ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0"
cargo test --release -p radnet-emulation --test planted
cargo test --release -p radnet-gpu --test emulated -- "$@"
