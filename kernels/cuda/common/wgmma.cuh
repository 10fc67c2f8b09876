// Asynchronous matrix products of sm_90a: d (64×N) += a (64×16, registers) · b (16×N, shared memory), by the four warps of a warpgroup.
//
// Warp w of the warpgroup holds rows 16w to 16w + 15. With g = lane / 4 and t = lane mod 4 (pairs are along k, the lower k in the low half):
//   a[0] = A[16w+g][2t..]   a[1] = A[16w+g+8][2t..]   a[2] = A[16w+g][2t+8..]   a[3] = A[16w+g+8][2t+8..]
//   d[4j], d[4j+1] = D[16w+g][8j+2t], D[16w+g][8j+2t+1]     d[4j+2], d[4j+3] = the same columns of row 16w+g+8
//
// b lies in shared memory with k contiguous, n outside ("K-major"), in one of two layouts that its descriptor names:
//   Swizzle::none      core matrices of 8 n × 8 k, 128 contiguous bytes each (16 bytes per n). `leading_bytes` is from one to the next along k,
//                      `stride_bytes` from one to the next along n. Start 16-byte aligned.
//   Swizzle::bytes128  rows of 64 k = 128 bytes, eight n together in 1024 bytes that begin at a multiple of 1024; `stride_bytes` is from one
//                      eight to the next (1024 when dense), `leading_bytes` is not used. The 16-byte piece at byte x of the tile is stored at
//                      swizzle128(x). The next sixteen k begin 32 bytes further: add 2 to the descriptor, up to four times per 64 k.
//
// Order of calls: write b · fence_proxy_async() by every thread that wrote · barrier · wgmma_fence(d) · products · wgmma_commit() · ... ·
// wgmma_wait<N>(d), which waits for all but the last N groups. Until then d and b must be left alone. A fence comes first in every group,
// since the registers of a were written before it. Sums are as in mma.cuh.
//
// RADNET_WGMMA is 1 where the target has them. Elsewhere the functions exist, so that a kernel file compiles, and do nothing or trap.
#pragma once

#include "types.cuh"

#if defined(RADNET_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define RADNET_WGMMA 1
#else
#define RADNET_WGMMA 0
#endif

enum class Swizzle { none = 0, bytes128 = 1 };

// Where byte x of a 128-byte-swizzled tile is: bits 4 to 6 are exclusive-ored by bits 7 to 9.
DEVICE constexpr uint32_t swizzle128(uint32_t x) { return x ^ (x >> 3 & 0x70); }

namespace radnet {
// Bytes in units of 16, fourteen bits wide.
DEVICE constexpr uint64_t descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes, Swizzle swizzle) {
    return uint64_t(address >> 4 & 0x3fff) | uint64_t(leading_bytes >> 4 & 0x3fff) << 16 | uint64_t(stride_bytes >> 4 & 0x3fff) << 32 |
           uint64_t(swizzle) << 62;
}
}  // namespace radnet

#ifdef RADNET_EMULATED

DEVICE uint64_t wgmma_descriptor(const void* shared, Swizzle swizzle, uint32_t leading_bytes, uint32_t stride_bytes, RADNET_HERE) {
    return radnet::descriptor(emulation::shared_offset(shared, RADNET_SITE("wgmma_descriptor")), leading_bytes, stride_bytes, swizzle);
}

DEVICE void fence_proxy_async() { emulation::fence_proxy_async(); }

template <int COUNT>
DEVICE void wgmma_fence(float (&)[COUNT], RADNET_HERE) {
    emulation::wgmma_fence(RADNET_SITE("wgmma_fence"));
}

DEVICE void wgmma_commit(RADNET_HERE) { emulation::wgmma_commit(RADNET_SITE("wgmma_commit")); }

template <int PENDING, int COUNT>
DEVICE void wgmma_wait(float (&)[COUNT], RADNET_HERE) {
    emulation::wgmma_wait(PENDING, RADNET_SITE("wgmma_wait"));
}

template <typename T, int N>
DEVICE void wgmma_m64k16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate = true, RADNET_HERE) {
    static_assert(N == 8 || N == 16 || N == 32 || N == 64 || N == 96 || N == 128, "no other widths are written down");
    emulation::wgmma_m64k16(d, a, b, N, __is_same(T, f16), accumulate, RADNET_SITE("wgmma_m64k16"));
}

#elif RADNET_WGMMA

DEVICE uint64_t wgmma_descriptor(const void* shared, Swizzle swizzle, uint32_t leading_bytes, uint32_t stride_bytes) {
    uint64_t address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(shared));
    return radnet::descriptor(uint32_t(address), leading_bytes, stride_bytes, swizzle);
}

// Makes what this thread wrote to shared memory visible to the tensor cores; a barrier comes between it and the products.
DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

namespace radnet {
// Ties the accumulators to this place, so that the compiler moves none of their uses past it.
template <int COUNT>
DEVICE void pin(float (&d)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(d[i])::"memory");
}
}  // namespace radnet

template <int COUNT>
DEVICE void wgmma_fence(float (&d)[COUNT]) {
    radnet::pin(d);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int PENDING, int COUNT>
DEVICE void wgmma_wait(float (&d)[COUNT]) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
    radnet::pin(d);
}

namespace radnet {
template <typename T, int N>
struct Wgmma;

#define RADNET_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define RADNET_F16(i) RADNET_F4(i), RADNET_F4(i + 4), RADNET_F4(i + 8), RADNET_F4(i + 12)
#define RADNET_D0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define RADNET_D1 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define RADNET_D2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define RADNET_D3 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
// `names` are d's operands in the text, `tail` those of a, b and the predicate's source.
#define RADNET_WGMMA_ONE(T, N, names, tail, predicate, ...)                                                                                 \
    template <>                                                                                                                           \
    struct Wgmma<T, N> {                                                                                                                  \
        static DEVICE void run(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate) {                                   \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " predicate ", 0;\n"                                                          \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T " {" names "}, " tail ", p, 1, 1, 0;\n}"            \
                         : __VA_ARGS__                                                                                                    \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                                          \
        }                                                                                                                                 \
    };
#define RADNET_WGMMA_BOTH(N, ...) RADNET_WGMMA_ONE(f16, N, __VA_ARGS__) RADNET_WGMMA_ONE(bf16, N, __VA_ARGS__)
RADNET_WGMMA_BOTH(8, "%0, %1, %2, %3", "{%4, %5, %6, %7}, %8", "%9", RADNET_F4(0))
RADNET_WGMMA_BOTH(16, "%0, %1, %2, %3, %4, %5, %6, %7", "{%8, %9, %10, %11}, %12", "%13", RADNET_F4(0), RADNET_F4(4))
RADNET_WGMMA_BOTH(32, RADNET_D0, "{%16, %17, %18, %19}, %20", "%21", RADNET_F16(0))
RADNET_WGMMA_BOTH(64, RADNET_D0 ", " RADNET_D1, "{%32, %33, %34, %35}, %36", "%37", RADNET_F16(0), RADNET_F16(16))
RADNET_WGMMA_BOTH(96, RADNET_D0 ", " RADNET_D1 ", " RADNET_D2, "{%48, %49, %50, %51}, %52", "%53", RADNET_F16(0), RADNET_F16(16), RADNET_F16(32))
RADNET_WGMMA_BOTH(128, RADNET_D0 ", " RADNET_D1 ", " RADNET_D2 ", " RADNET_D3, "{%64, %65, %66, %67}, %68", "%69", RADNET_F16(0), RADNET_F16(16), RADNET_F16(32), RADNET_F16(48))
#undef RADNET_WGMMA_BOTH
#undef RADNET_WGMMA_ONE
#undef RADNET_D0
#undef RADNET_D1
#undef RADNET_D2
#undef RADNET_D3
#undef RADNET_F16
#undef RADNET_F4
}  // namespace radnet

// d = a·b, plus d where `accumulate`; `b` is a descriptor.
template <typename T, int N>
DEVICE void wgmma_m64k16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate = true) {
    radnet::Wgmma<T, N>::run(d, a, b, accumulate);
}

#else

DEVICE uint64_t wgmma_descriptor(const void*, Swizzle, uint32_t, uint32_t) { return 0; }
DEVICE void fence_proxy_async() {}
template <int COUNT>
DEVICE void wgmma_fence(float (&)[COUNT]) {}
DEVICE void wgmma_commit() {}
template <int PENDING, int COUNT>
DEVICE void wgmma_wait(float (&)[COUNT]) {}
template <typename T, int N>
DEVICE void wgmma_m64k16(float (&)[N / 2], const uint32_t (&)[4], uint64_t, bool = true) {
    __trap();
}

#endif
