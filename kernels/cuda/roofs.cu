// The roofs that other kernels are judged by: how fast this device copies, and how fast its tensor cores multiply.
//
//   roof_copy        to[i] = from[i], 16 bytes a thread and step, four steps in flight. Bytes: each once in and once out.
//   roof_mma_T       every warp multiplies a 16×16 tile of a's by a 16×8 tile of b's, `iterations` times into each of eight sums:
//                    8 · 2 · 16 · 8 · 16 FLOP a warp and iteration, nothing but `mma.sync` in the loop.
// Tile: 256 threads; eight independent sums of 4 registers cover the latency of an mma at two warps a scheduler.
// Order: none matters; with a·b and all sums whole numbers below 2²⁴ the result is exact: out[thread] = 8 · 4 · 16 · iterations · a · b.

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"

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
