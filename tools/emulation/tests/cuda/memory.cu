// Shared memory that is read before anything is there, or past its end.
#include "common/memory.cuh"

struct StageArguments {
    const float* x;
    float* y;
    int bug;
    int n;
};

// y[i] = x[i-1] + x[i] + x[i+1] with zeros outside, by cp.async into a halo of four floats on both sides.
// Bug 1: no wait. Bug 2: the halo on the right is left unwritten. Bug 3: copies past the end of shared memory. Bug 4: writes past it.
// Bug 5: reads past the end of x. Bug 6: an address that is no multiple of 16. Bug 7: writes past the end of y.
KERNEL(planted_stage, StageArguments, 128, 1) {
    float* stage = reinterpret_cast<float*>(dynamic_shared());
    int i = int(threadIdx.x), quads = args.n / 4;
    if (i < quads + 2) {
        int from = i - 1;
        bool inside = from >= 0 && (from < quads || args.bug == 5);
        if (args.bug != 2 || i < quads + 1) {
            cp_async16(stage + 4 * i + (args.bug == 3 ? 4 : args.bug == 6 ? 1 : 0), args.x + 4 * from, inside);
        }
    }
    cp_async_commit();
    if (args.bug != 1) cp_async_wait<0>();
    __syncthreads();
    if (args.bug == 4 && i == 0) stage[args.n + 8] = 1.0f;
    if (args.bug == 7 && i == 0) args.y[args.n] = 1.0f;
    for (int at = i; at < args.n; at += int(blockDim.x)) args.y[at] = stage[at + 3] + stage[at + 4] + stage[at + 5];
}

// Two groups in flight: the first must have landed after a wait for all but one, the second only after the next.
KERNEL(planted_two_groups, StageArguments, 32, 1) {
    uint4* stage = reinterpret_cast<uint4*>(dynamic_shared());
    unsigned i = threadIdx.x;
    cp_async16(stage + i, args.x + 4 * i, true);
    cp_async_commit();
    cp_async16(stage + 32 + i, args.x + 128 + 4 * i, true);
    cp_async_commit();
    cp_async_wait<1>();
    __syncwarp();
    store16(args.y + 4 * i, stage[31 - i]);
    if (args.bug != 1) cp_async_wait<0>();
    __syncwarp();
    store16(args.y + 128 + 4 * i, stage[63 - i]);
}
