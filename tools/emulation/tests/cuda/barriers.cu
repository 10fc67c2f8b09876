// Threads that must wait for one another: each kernel with the bug that its name says, and a twin without it.
#include "common/target.cuh"

struct ExchangeArguments {
    const float* x;
    float* y;
    int bug;
    int n;
};

// Reverses each half of x, one after the other through the same shared memory. Bug 1: read before it is written. Bug 2: written while read.
KERNEL(planted_missing_barrier, ExchangeArguments, 256, 1) {
    float* stage = reinterpret_cast<float*>(dynamic_shared());
    int i = int(threadIdx.x), half = args.n / 2;
    for (int round = 0; round < 2; round++) {
        stage[i] = args.x[round * half + i];
        if (args.bug != 1) __syncthreads();
        args.y[round * half + i] = stage[half - 1 - i];
        if (args.bug != 2) __syncthreads();
    }
}

// Each thread's y is its warp's sum of x. Bug 1 leaves out lane 7, bug 2 lets half of the block pass another barrier, bug 3 lets a thread return
// early, bug 4 reads a lane that the mask leaves out.
KERNEL(planted_divergence, ExchangeArguments, 256, 1) {
    float* stage = reinterpret_cast<float*>(dynamic_shared());
    int i = int(threadIdx.x);
    float sum = args.x[i];
    if (args.bug == 3 && i == 40) return;
    if (args.bug != 1 || i % 32 != 7) {
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    }
    if (i % 32 == 0) stage[i / 32] = sum;
    if (args.bug == 2 && i >= args.n / 2) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    if (args.bug == 4 && i % 32 < 16) sum += __shfl_sync(0xffffu, sum, 20);
    args.y[i] = stage[i / 32];
}
