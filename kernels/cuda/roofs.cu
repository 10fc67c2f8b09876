// The roofs that other kernels are judged by: how fast this device copies, and how fast its tensor cores multiply.
//
//   roof_copy        to[i] = from[i], 16 bytes a thread and step, four steps in flight. Bytes: each once in and once out.
//   roof_mma_T       every warp multiplies a 16×16 tile of a's by a 16×8 tile of b's, `iterations` times into each of eight sums:
//                    8 · 2 · 16 · 8 · 16 FLOP a warp and iteration, nothing but `mma.sync` in the loop.
//   roof_wgmma_T     (sm_90a) every warpgroup multiplies 64×16 a's in registers by 16×128 b's in shared memory, 16 times an
//                    iteration: 16 · 2 · 64 · 128 · 16 FLOP a warpgroup and iteration.
// Tile: 256 threads; eight independent sums of 4 registers cover the latency of an mma at two warps a scheduler.
// Order: none matters; where all sums are whole multiples of a·b below 2²⁴ of them the result is exact:
//   roof_mma: out[thread] = 8 · 4 · 16 · iterations · a · b        roof_wgmma: out[thread] = 64 · 16 · 16 · iterations · a · b

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"
#include "common/wgmma.cuh"

struct CopyArguments {
    const uint4* from;
    uint4* to;
    uint32_t vectors;
    uint32_t unused;
};

struct MultiplyArguments {
    float* out;
    uint32_t iterations;
    uint32_t a;  // a pair of elements
    uint32_t b;  // a pair of elements
    uint32_t unused;
};

namespace {

constexpr unsigned THREADS = 256, STEPS = 4, SUMS = 8;

template <typename T>
DEVICE void multiply(const MultiplyArguments& args) {
    grid_dependency_wait();
    float sums[SUMS][4] = {};
    uint32_t a[4] = {args.a, args.a, args.a, args.a};
    uint32_t b[2] = {args.b, args.b};
#pragma unroll 2
    for (unsigned i = 0; i < args.iterations; ++i) {
#pragma unroll
        for (unsigned s = 0; s < SUMS; ++s) mma_m16n8k16<T>(sums[s], a, b);
    }
    grid_dependency_launch();
    float total = 0.0f;
#pragma unroll
    for (unsigned s = 0; s < SUMS; ++s) total += sums[s][0] + sums[s][1] + sums[s][2] + sums[s][3];
    args.out[size_t(blockIdx.x) * THREADS + threadIdx.x] = total;
}

#if RADNET_WGMMA

constexpr unsigned DEPTH = 64;     // k of the b's in shared memory
constexpr unsigned PRODUCTS = 16;  // of an iteration: enough that the wait after them weighs little beside the other warpgroup's

// b in shared memory: 128 rows of 64 k, swizzled; since all are equal, where each lies does not matter.
template <typename T>
DEVICE void multiply_in_groups(const MultiplyArguments& args) {
    constexpr int N = 128;
    grid_dependency_wait();
    uint32_t* shared = reinterpret_cast<uint32_t*>(dynamic_shared());
    for (unsigned i = threadIdx.x; i < N * DEPTH / 2; i += THREADS) shared[i] = args.b;
    fence_proxy_async();
    __syncthreads();
    uint64_t b = wgmma_descriptor(shared, Swizzle::bytes128, 16, 1024);
    uint32_t a[4] = {args.a, args.a, args.a, args.a};
    float sums[N / 2];
#pragma unroll
    for (int s = 0; s < N / 2; ++s) sums[s] = 0.0f;
#pragma unroll 1
    for (unsigned i = 0; i < args.iterations; ++i) {
        wgmma_fence(sums);
#pragma unroll
        for (unsigned p = 0; p < PRODUCTS; ++p) wgmma_m64k16<T, N>(sums, a, b + 2 * (p % (DEPTH / 16)));
        wgmma_commit();
        wgmma_wait<0>(sums);
    }
    grid_dependency_launch();
    float total = 0.0f;
#pragma unroll
    for (int s = 0; s < N / 2; ++s) total += sums[s];
    args.out[size_t(blockIdx.x) * THREADS + threadIdx.x] = total;
}

#endif

}  // namespace

KERNEL(roof_copy, CopyArguments, 256, 6) {
    grid_dependency_wait();
    unsigned first = blockIdx.x * (THREADS * STEPS) + threadIdx.x;
    uint4 held[STEPS];
#pragma unroll
    for (unsigned s = 0; s < STEPS; ++s) {
        unsigned i = first + s * THREADS;
        if (i < args.vectors) held[s] = load16(args.from + i);
    }
#pragma unroll
    for (unsigned s = 0; s < STEPS; ++s) {
        unsigned i = first + s * THREADS;
        if (i < args.vectors) store16(args.to + i, held[s]);
    }
    grid_dependency_launch();
}

KERNEL(roof_mma_f16, MultiplyArguments, 256, 2) { multiply<f16>(args); }
KERNEL(roof_mma_bf16, MultiplyArguments, 256, 2) { multiply<bf16>(args); }

#if RADNET_WGMMA
KERNEL(roof_wgmma_f16, MultiplyArguments, 256, 1) { multiply_in_groups<f16>(args); }
KERNEL(roof_wgmma_bf16, MultiplyArguments, 256, 1) { multiply_in_groups<bf16>(args); }
#endif
