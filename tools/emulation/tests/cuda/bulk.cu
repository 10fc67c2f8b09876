// Bulk copies into the blocks of a cluster, the barriers that count them, and matrix products on what they brought.
#include "common/bulk.cuh"
#include "common/memory.cuh"
#include "common/wgmma.cuh"

struct BulkArguments {
    const float* x;
    float* y;
    int bug;
    int n;
};

namespace {

constexpr unsigned STAGES = 2, FLOATS = 64, CONSUMERS = 2, STAGE_BYTES = FLOATS * 4;

// A ring of stages as dense_sm90.cu has it: every block fetches its part of each stage into all blocks of the cluster.
struct Ring {
    const BulkArguments& args;
    float* stages;
    uint64_t* full;
    uint64_t* empty;
    unsigned rank, blocks, steps;

    DEVICE explicit Ring(const BulkArguments& arguments) : args(arguments) {
        stages = reinterpret_cast<float*>(dynamic_shared());
        full = reinterpret_cast<uint64_t*>(stages + STAGES * FLOATS);
        empty = full + STAGES;
        rank = cluster_rank();
        blocks = cluster_size();
        steps = unsigned(args.n) / FLOATS;
    }

    DEVICE void begin() const {
        if (threadIdx.x == 0) {
            for (unsigned i = 0; i < STAGES; i++) {
                mbarrier_init(full + i, 1);
                mbarrier_init(empty + i, CONSUMERS * blocks - (args.bug == 5));
            }
            mbarrier_init_fence();
        }
        if (args.bug == 9) {
            __syncthreads();
        } else {
            cluster_sync();
        }
    }

    DEVICE void fetch() const {
        for (unsigned step = 0; step < steps; step++) {
            unsigned slot = step % STAGES, begin = FLOATS * rank / blocks, end = FLOATS * (rank + 1) / blocks;
            if (step >= STAGES && args.bug != 4) mbarrier_wait(empty + slot, (step / STAGES - 1) & 1);
            mbarrier_expect(full + slot, args.bug == 2 ? STAGE_BYTES / 2 : args.bug == 3 ? STAGE_BYTES + 16 : STAGE_BYTES);
            unsigned mask = args.bug == 7 && rank == 1 && step == 1 ? 2 : (1u << blocks) - 1;
            const float* from = args.x + step * FLOATS + begin + (args.bug == 11 ? 1 : args.bug == 12 && step == steps - 1 ? FLOATS : 0);
            bulk_copy(stages + slot * FLOATS + begin, from, (end - begin) * 4, full + slot, mask);
        }
    }

    DEVICE void release(unsigned slot) const {
        __syncwarp();
        if (args.bug == 6 && rank == 1 && threadIdx.x / 32 == 1) return;
        if (threadIdx.x % 32 < blocks) mbarrier_arrive_at(empty + slot, threadIdx.x % 32);
    }

    DEVICE float add_up() const {
        float sum = 0;
        for (unsigned step = 0; step < steps; step++) {
            unsigned slot = step % STAGES;
            if (args.bug != 1) mbarrier_wait(full + slot, (step / STAGES + (args.bug == 8)) & 1);
            if (args.bug == 13) release(slot);
            __syncwarp();
            sum += float(step + 1) * stages[slot * FLOATS + threadIdx.x];
            if (args.bug != 13) release(slot);
        }
        return sum;
    }
};

}  // namespace

// y of each block is the sum of the stages, each of 64 floats of x, the k-th times k + 1; two warps add and a third fetches.
// Bug 1: read before it has landed. Bug 2: half of the bytes are expected. Bug 3: more than come. Bug 4: fetched into a slot that is still read.
// Bug 5: a slot is free one warp too early. Bug 6: a warp never says that it is done. Bug 7: a copy leaves a block out. Bug 8: the other parity.
// Bug 9: the cluster does not wait for its barriers. Bug 10: a block exits while others write to it. Bug 11: an address that is no multiple of
// 16. Bug 12: reads past the end of x. Bug 13: a warp says that it is done before it has read.
KERNEL(planted_ring, BulkArguments, 96, 1) {
    Ring ring(args);
    ring.begin();
    if (threadIdx.x < CONSUMERS * 32) {
        args.y[blockIdx.x * FLOATS + threadIdx.x] = ring.add_up();
    } else if (threadIdx.x == CONSUMERS * 32) {
        ring.fetch();
    }
    __syncwarp();
    if (args.bug != 10) cluster_sync();
}

// Every row of y is, for each of eight columns, the sum of its elements in three b of 16 × 8: two that lie in x as they must in shared memory,
// bf16 in the upper halves of floats, and one of all ones that the threads write. y is [64][8].
// Bug 1: multiplied before it has landed. Bug 2: the second is fetched while the first is multiplied. Bug 3: no fence after the threads wrote.
// Bug 4: a fence before they did. Bug 5: the sums are read while the last product runs. Bug 6: the second is not waited for.
KERNEL(planted_weights, BulkArguments, 128, 1) {
    unsigned i = threadIdx.x, lane = i % 32, row = i / 32 * 16 + lane / 4, column = lane % 4 * 2;
    bf16* b = reinterpret_cast<bf16*>(dynamic_shared());
    uint64_t* full = reinterpret_cast<uint64_t*>(dynamic_shared() + 256);
    if (i == 0) {
        mbarrier_init(full, 1);
        mbarrier_init_fence();
    }
    __syncthreads();
    uint32_t one = pack2<bf16>(1.0f, 1.0f), a[4] = {one, one, one, one};
    uint64_t descriptor = wgmma_descriptor(b, Swizzle::none, 128, 256);
    float d[4] = {0, 0, 0, 0};
    for (unsigned turn = 0; turn < 2; turn++) {
        if (i == 0) {
            mbarrier_expect(full, 256);
            bulk_copy(b, args.x + turn * 64, 256, full, 1);
        }
        if (turn == 0 ? args.bug != 1 : args.bug != 6) mbarrier_wait(full, turn);
        wgmma_fence(d);
        wgmma_m64k16<bf16, 8>(d, a, descriptor);
        wgmma_commit();
        if (args.bug != 2) wgmma_wait<0>(d);
        __syncthreads();
    }
    if (args.bug == 4) fence_proxy_async();
    b[i] = from_float<bf16>(1.0f);
    if (args.bug < 3 || args.bug > 4) fence_proxy_async();
    __syncthreads();
    wgmma_fence(d);
    wgmma_m64k16<bf16, 8>(d, a, descriptor);
    wgmma_commit();
    float early[4] = {d[0], d[1], d[2], d[3]};
    wgmma_wait<0>(d);
    for (unsigned j = 0; j < 4; j++) args.y[(row + j / 2 * 8) * 8 + column + j % 2] = args.bug == 5 ? early[j] : d[j];
    // Bugs 1 and 6 leave the copy to land on its own.
    if (args.bug == 1) mbarrier_wait(full, 0);
    if (args.bug == 6) mbarrier_wait(full, 1);
}
