// The one place where the device and the emulation differ in what they include.
//
// A kernel file is compiled by NVRTC without any header of the CUDA toolkit, and by a host compiler with RADNET_EMULATED, where
// tools/emulation supplies threadIdx, __syncthreads and the like. Everything that is PTX stands in this folder behind functions that have a
// body for each.
//
//   KERNEL(name, Arguments, threads, min_blocks) { ... args.field ... }
//     an entry point with C linkage that takes one struct by value; a block has at most `threads` threads, and the compiler leaves room for
//     `min_blocks` blocks on a multiprocessor.
//   dynamic_shared()           the block's shared memory, 1024-byte aligned; there is no other kind
//   grid_dependency_wait()     waits for the launch before this one, where the two overlap; everything it wrote is visible then
//   grid_dependency_launch()   lets the launch after this one begin
#pragma once

#ifdef RADNET_EMULATED

#include "emulation.h"

#define RADNET_ARCH 900
#define DEVICE inline __attribute__((always_inline))
#define KERNEL(name, Arguments, threads, min_blocks)                                                                                      \
    static void name(const Arguments& args);                                                                                              \
    static void radnet_enter_##name(const void* arguments) { name(*static_cast<const Arguments*>(arguments)); }                            \
    [[maybe_unused]] static const bool radnet_registered_##name = emulation::register_kernel(#name, sizeof(Arguments), threads, radnet_enter_##name); \
    static void name([[maybe_unused]] const Arguments& args)

DEVICE unsigned char* dynamic_shared() { return emulation::shared_memory(); }
DEVICE void grid_dependency_wait() { emulation::grid_dependency_wait(); }
DEVICE void grid_dependency_launch() {}

#else

// NVRTC has no <stdint.h>.
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

#ifdef __CUDA_ARCH__
#define RADNET_ARCH __CUDA_ARCH__
#else
#define RADNET_ARCH 0
#endif
#define DEVICE __device__ __forceinline__
#define KERNEL(name, Arguments, threads, min_blocks)                                                                                      \
    extern "C" __global__ void __launch_bounds__(threads, min_blocks) name(const __grid_constant__ Arguments args)

DEVICE unsigned char* dynamic_shared() {
    extern __shared__ __align__(1024) unsigned char radnet_shared[];
    return radnet_shared;
}

// Both are nothing before sm_90: there launches never overlap.
DEVICE void grid_dependency_wait() {
#if RADNET_ARCH >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DEVICE void grid_dependency_launch() {
#if RADNET_ARCH >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#endif

template <typename T>
DEVICE constexpr T ceil_div(T value, T step) {
    return (value + step - 1) / step;
}

template <typename T>
DEVICE constexpr T round_up(T value, T step) {
    return ceil_div(value, step) * step;
}
