// Thread block clusters: the barrier of all their threads, and each block's view of the others' shared memory.
#include <cstring>

#include "runtime.h"

namespace emulation {

namespace {

void need_hopper(const Site& site) {
    if (!worker->launch().hopper) fail(site, "needs compute capability 9.0");
}

unsigned threads_of_cluster() { return worker->launch().cluster * worker->launch().block; }

}  // namespace

unsigned cluster_rank(const Site& site) {
    need_hopper(site);
    return self().block->rank;
}

unsigned cluster_size(const Site& site) {
    need_hopper(site);
    return worker->launch().cluster;
}

void cluster_arrive(const Site& site) {
    need_hopper(site);
    Fiber& me = self();
    auto& barrier = worker->cluster_barrier;
    if (me.cluster_arrived) fail(site, "arrives twice without having waited");
    for (const Block& block : worker->blocks()) {
        if (block.exited > 0) fail(site, "%u threads of block %u of the cluster have exited and will not come", block.exited, block.rank);
    }
    if (barrier.arrived == 0) {
        barrier.site = site;
    } else if (barrier.site.line != site.line || std::strcmp(barrier.site.file, site.file) != 0) {
        fail(site, "the barrier is divergent: others have arrived in %s", describe(barrier.site).c_str());
    }
    me.cluster_arrived = true;
    me.cluster_phase = barrier.phase;
    barrier.arrived += 1;
    if (barrier.arrived < threads_of_cluster()) return;
    barrier.arrived = 0;
    barrier.phase += 1;
    for (Fiber* fiber : barrier.waiting) worker->wake(*fiber);
    barrier.waiting.clear();
}

void cluster_wait(const Site& site) {
    need_hopper(site);
    Fiber& me = self();
    auto& barrier = worker->cluster_barrier;
    if (!me.cluster_arrived) fail(site, "waits without having arrived");
    if (barrier.phase == me.cluster_phase) {
        barrier.waiting.push_back(&me);
        block_in(site);
    } else {
        worker->wake(me);
        worker->yield_to_any();
    }
    me.cluster_arrived = false;
}

void cluster_sync(const Site& site) {
    cluster_arrive(site);
    cluster_wait(site);
}

void* cluster_shared(void* mine, unsigned rank, const Site& site) {
    need_hopper(site);
    Fiber& me = self();
    auto& blocks = worker->blocks();
    if (rank >= blocks.size()) fail(site, "the cluster of %zu has no block %u", blocks.size(), rank);
    if (!me.block->shared.contains(mine, 0)) fail(site, "the address is not in this block's shared memory");
    if (blocks[rank].exited == blocks[rank].threads) fail(site, "block %u of the cluster has exited, and its shared memory is gone", rank);
    return blocks[rank].shared.base() + (static_cast<unsigned char*>(mine) - me.block->shared.base());
}

void check_exit_from_cluster(Fiber& fiber) {
    const auto& barrier = worker->cluster_barrier;
    if (barrier.arrived > 0 && !(fiber.cluster_arrived && fiber.cluster_phase == barrier.phase)) {
        fail(barrier.site, "this thread exits, while others of the cluster wait for it there");
    }
}

}  // namespace emulation
