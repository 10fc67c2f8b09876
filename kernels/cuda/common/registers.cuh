// Where the compiler may not move a computation.
#pragma once

#include "target.cuh"

// The same value, of which the compiler knows nothing: what is computed from it inside a loop stays there instead of taking a register
// throughout the loop.
DEVICE uint32_t recomputed(uint32_t x) {
#ifndef RADNET_EMULATED
    asm volatile("" : "+r"(x));
#endif
    return x;
}
