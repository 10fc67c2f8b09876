// Where the compiler may not move a computation, and how many registers a warp has.
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

// Warps of a warpgroup that need fewer registers than the kernel was compiled for give them back, and others take them: all warps of a
// warpgroup, once, on sm_90a. A multiple of 8 from 24 to 256.
template <int COUNT>
DEVICE void fewer_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}

template <int COUNT>
DEVICE void more_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}
