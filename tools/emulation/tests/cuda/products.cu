// Asynchronous matrix products.
#include "common/wgmma.cuh"

struct ProductArguments {
    const float* x;
    float* y;
    int bug;
    int n;
};

// Every row of y is the eight numbers x times sixteen: a is all ones, and all sixteen k of column n of b are x[n]. y is [64][8].
// Bug 1: the result is read before the wait. Bug 2: b is overwritten before the wait. Bug 3: no fence of registers. Bug 4: none of shared memory.
// Bug 5: no barrier after b is written. Bug 6: a warp multiplies by another b. Bug 7: no commit, so that the wait is for nothing.
// Bug 8: the accumulators are written before the wait.
KERNEL(planted_product, ProductArguments, 128, 1) {
    unsigned i = threadIdx.x, lane = i % 32, row = i / 32 * 16 + lane / 4, column = lane % 4 * 2;
    f16* b = reinterpret_cast<f16*>(dynamic_shared());
    b[i] = from_float<f16>(args.x[i / 8 % 8]);
    if (args.bug != 4) fence_proxy_async();
    if (args.bug != 5) __syncthreads();
    uint32_t one = pack2<f16>(1.0f, 1.0f), a[4] = {one, one, one, one};
    uint64_t descriptor = wgmma_descriptor(b, Swizzle::none, 128, 256);
    if (args.bug == 6 && i / 32 == 2) descriptor += 1;
    float d[4] = {0, 0, 0, 0};
    if (args.bug != 3) wgmma_fence(d);
    wgmma_m64k16<f16, 8>(d, a, descriptor);
    if (args.bug != 7) wgmma_commit();
    if (args.bug == 2) {
        __syncthreads();
        b[i] = from_float<f16>(-1.0f);
    }
    if (args.bug == 8) d[0] = 0.0f;
    float early[4] = {d[0], d[1], d[2], d[3]};
    wgmma_wait<0>(d);
    for (unsigned j = 0; j < 4; j++) args.y[(row + j / 2 * 8) * 8 + column + j % 2] = args.bug == 1 ? early[j] : d[j];
}
