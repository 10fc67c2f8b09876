// What a kernel file sees instead of the CUDA toolkit when a host compiler compiles it: the built-in names of CUDA C++, and under `emulation`
// what kernels/cuda/common is written against. Nothing here includes a header of the C++ library beyond the C ones.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "number.h"

// The caller's place, handed down by defaulted parameters, so that a message names the kernel's line.
#define RADNET_HERE const char *radnet_file = __builtin_FILE(), int radnet_line = __builtin_LINE()
#define RADNET_SITE(name) (emulation::Site{name, radnet_file, radnet_line})

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __constant__ static
#define __align__(bytes) alignas(bytes)
#define __shared__ only_dynamic_shared_memory_is_emulated

struct uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <typename T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <typename T>
constexpr T max(T a, T b) { return a < b ? b : a; }

inline unsigned __float_as_uint(float x) { return emulation::bits_of(x); }
inline int __float_as_int(float x) { return int(emulation::bits_of(x)); }
inline float __uint_as_float(unsigned x) { return emulation::float_of(x); }
inline float __int_as_float(int x) { return emulation::float_of(unsigned(x)); }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline int __float2int_rn(float x) { return int(std::nearbyintf(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
template <typename T>
T __ldg(const T* at) { return *at; }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

namespace emulation {

// A call in a kernel.
struct Site {
    const char* name;
    const char* file;
    int line;
};

// Where a thread stands; the first members of its fiber.
struct Place {
    uint3 thread_index;
    uint3 block_index;
    uint3 block_size;
    uint3 grid_size;
};
extern __thread const Place* place;

bool register_kernel(const char* name, size_t argument_bytes, unsigned max_threads, void (*enter)(const void*));
unsigned char* shared_memory();
void grid_dependency_wait();
[[noreturn]] void fail(const Site& site, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Barriers and exchanges between lanes.
void block_barrier(const Site& site);
int block_vote(const Site& site, int predicate, int kind);
void named_barrier(const Site& site, unsigned id, unsigned threads, bool waits);
void warp_barrier(const Site& site, unsigned mask);
enum class Shuffle { index, exclusive_or, up, down };
uint32_t shuffle(const Site& site, Shuffle kind, unsigned mask, uint32_t value, unsigned operand, unsigned width);
unsigned ballot(const Site& site, unsigned mask, bool predicate);

// Memory.
void copy_async(void* to, const void* from, bool valid, const Site& site);
void copy_commit();
void copy_wait(unsigned pending);
uint4 load_global16(const void* from, const Site& site);
void store16(void* to, const uint4& value, const Site& site);

// Clusters.
unsigned cluster_rank(const Site& site);
unsigned cluster_size(const Site& site);
void cluster_arrive(const Site& site);
void cluster_wait(const Site& site);
void cluster_sync(const Site& site);
void* cluster_shared(void* mine, unsigned rank, const Site& site);

// Bulk copies and the barriers in shared memory that count them.
void mbarrier_init(uint64_t* barrier, unsigned count, const Site& site);
void mbarrier_expect(uint64_t* barrier, unsigned bytes, const Site& site);
void mbarrier_arrive_at(uint64_t* barrier, unsigned rank, const Site& site);
void mbarrier_wait(uint64_t* barrier, unsigned parity, const Site& site);
void bulk_copy(void* to, const void* from, unsigned bytes, uint64_t* barrier, unsigned mask, const Site& site);

// Matrices.
void ldmatrix(uint32_t* to, const void* row, unsigned matrices, bool transposed, const Site& site);
void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, bool is_f16, const Site& site);

// Asynchronous matrix products.
uint32_t shared_offset(const void* shared, const Site& site);
void fence_proxy_async();
void wgmma_fence(const Site& site);
void wgmma_commit(const Site& site);
void wgmma_wait(unsigned pending, const Site& site);
void wgmma_m64k16(float* d, const uint32_t* a, uint64_t b, unsigned n, bool is_f16, bool accumulate, const Site& site);

template <typename T>
T shuffle_any(const Site& site, Shuffle kind, unsigned mask, T value, unsigned operand, unsigned width) {
    static_assert(sizeof(T) == 4, "the emulation exchanges 32-bit values between lanes");
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits = shuffle(site, kind, mask, bits, operand, width);
    std::memcpy(&value, &bits, 4);
    return value;
}

}  // namespace emulation

#define threadIdx (emulation::place->thread_index)
#define blockIdx (emulation::place->block_index)
#define blockDim (emulation::place->block_size)
#define gridDim (emulation::place->grid_size)
constexpr int warpSize = 32;

inline void __syncthreads(RADNET_HERE) { emulation::block_barrier(RADNET_SITE("__syncthreads")); }
inline int __syncthreads_or(int predicate, RADNET_HERE) { return emulation::block_vote(RADNET_SITE("__syncthreads_or"), predicate, 0); }
inline int __syncthreads_and(int predicate, RADNET_HERE) { return emulation::block_vote(RADNET_SITE("__syncthreads_and"), predicate, 1); }
inline int __syncthreads_count(int predicate, RADNET_HERE) { return emulation::block_vote(RADNET_SITE("__syncthreads_count"), predicate, 2); }
inline void __syncwarp(unsigned mask = ~0u, RADNET_HERE) { emulation::warp_barrier(RADNET_SITE("__syncwarp"), mask); }
inline unsigned __ballot_sync(unsigned mask, int predicate, RADNET_HERE) {
    return emulation::ballot(RADNET_SITE("__ballot_sync"), mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate, RADNET_HERE) { return emulation::ballot(RADNET_SITE("__any_sync"), mask, predicate != 0) != 0; }
inline int __all_sync(unsigned mask, int predicate, RADNET_HERE) {
    return emulation::ballot(RADNET_SITE("__all_sync"), mask, predicate != 0) == mask;
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, RADNET_HERE) {
    return emulation::shuffle_any(RADNET_SITE("__shfl_sync"), emulation::Shuffle::index, mask, value, unsigned(lane), unsigned(width));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, RADNET_HERE) {
    return emulation::shuffle_any(RADNET_SITE("__shfl_xor_sync"), emulation::Shuffle::exclusive_or, mask, value, unsigned(lanes), unsigned(width));
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32, RADNET_HERE) {
    return emulation::shuffle_any(RADNET_SITE("__shfl_up_sync"), emulation::Shuffle::up, mask, value, lanes, unsigned(width));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32, RADNET_HERE) {
    return emulation::shuffle_any(RADNET_SITE("__shfl_down_sync"), emulation::Shuffle::down, mask, value, lanes, unsigned(width));
}
[[noreturn]] inline void __trap(RADNET_HERE) { emulation::fail(RADNET_SITE("__trap"), "the kernel gave up"); }
