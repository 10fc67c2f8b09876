// Blocks that use one another's shared memory.
#include "common/memory.cuh"

struct ClusterArguments {
    const float* x;
    float* y;
    int bug;
    int n;
};

// y = x with the parts of neighbouring blocks of a cluster exchanged, a float a thread; the second half of each part goes by remote stores.
// Bug 1: read before the neighbour has written. Bug 2: exit while the neighbour may still read. Bug 3: one block of the cluster returns at once.
// Bug 4: a store to a block that has exited. Bug 5: arrives without waiting. Bug 6: a rank that the cluster does not have.
KERNEL(planted_cluster, ClusterArguments, 64, 1) {
    float* mine = reinterpret_cast<float*>(dynamic_shared());
    unsigned i = threadIdx.x, at = blockIdx.x * 64 + i, rank = cluster_rank();
    if (args.bug == 3 && rank == 1) return;
    float* theirs = cluster_shared(mine, args.bug == 6 ? 9 : rank ^ 1);
    mine[i] = args.x[at];
    if (args.bug != 1) cluster_sync();
    if (i >= 32) theirs[64 + i] = mine[i];
    float read = 0;
    for (unsigned turn = 0; turn < 4; turn++) {
        __syncthreads();
        read = theirs[i % 32];
    }
    if (args.bug == 5) cluster_arrive();
    if (args.bug != 2) cluster_sync();
    args.y[at] = i < 32 ? read : mine[64 + i];
    if (args.bug == 4 && rank == 0) {
        for (unsigned turn = 0; turn < 200; turn++) __syncthreads();
        theirs[i] = 1.0f;
    }
}
