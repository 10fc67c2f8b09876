// Bulk copies to the blocks of a cluster, and the barriers in shared memory that count them. A copy lands at some later switch between
// threads; until then its destination is poison.
#include <cstring>

#include "runtime.h"

namespace emulation {

namespace {

void need_hopper(const Site& site) {
    if (!worker->launch().hopper) fail(site, "needs compute capability 9.0");
}

MemoryBarrier& find(Block& block, const void* at, const Site& site) {
    auto found = block.memory_barriers.find(static_cast<const unsigned char*>(at) - block.shared.base());
    if (found == block.memory_barriers.end()) fail(site, "there is no barrier at %p", at);
    return found->second;
}

void complete_if_due(MemoryBarrier& barrier) {
    if (barrier.missing != 0 || barrier.bytes != 0) return;
    barrier.phase += 1;
    barrier.missing = barrier.count;
    for (Fiber* fiber : barrier.waiting) worker->wake(*fiber);
    barrier.waiting.clear();
}

void arrive(MemoryBarrier& barrier, const Site& site) {
    if (barrier.missing == 0) fail(site, "more than %u arrivals in a phase", barrier.count);
    barrier.missing -= 1;
    complete_if_due(barrier);
}

}  // namespace

void mbarrier_init(uint64_t* barrier, unsigned count, const Site& site) {
    need_hopper(site);
    Block& block = *self().block;
    if (reinterpret_cast<uintptr_t>(barrier) % 8 != 0 || !block.shared.contains(barrier, 8)) fail(site, "%p is no place for a barrier", static_cast<void*>(barrier));
    *barrier = 0;
    MemoryBarrier fresh;
    fresh.count = fresh.missing = count;
    block.memory_barriers[reinterpret_cast<unsigned char*>(barrier) - block.shared.base()] = fresh;
}

void mbarrier_expect(uint64_t* barrier, unsigned bytes, const Site& site) {
    MemoryBarrier& mine = find(*self().block, barrier, site);
    mine.bytes += bytes;
    arrive(mine, site);
}

void mbarrier_arrive_at(uint64_t* barrier, unsigned rank, const Site& site) {
    auto* there = static_cast<unsigned char*>(cluster_shared(barrier, rank, site));
    arrive(find(worker->blocks()[rank], there, site), site);
}

void mbarrier_wait(uint64_t* barrier, unsigned parity, const Site& site) {
    MemoryBarrier& mine = find(*self().block, barrier, site);
    if ((mine.phase & 1) != parity) {
        worker->wake(self());
        worker->yield_to_any();
        return;
    }
    mine.waiting.push_back(&self());
    block_in(site);
}

void bulk_copy(void* to, const void* from, unsigned bytes, uint64_t* barrier, unsigned mask, const Site& site) {
    need_hopper(site);
    Block& mine = *self().block;
    bool aligned = (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | bytes) % 16 == 0;
    if (!aligned || bytes == 0) fail(site, "%u bytes from %p to %p are not multiples of 16", bytes, from, to);
    if (!mine.shared.contains(to, bytes)) fail(site, "writes %u bytes at %p, which are not all in shared memory", bytes, to);
    if (!in_global(from, bytes)) fail(site, "reads %u bytes at %p, which are not all in global memory", bytes, from);
    if (mask == 0 || mask >> worker->blocks().size() != 0) fail(site, "the cluster has not all the blocks of the mask %#x", mask);
    ptrdiff_t offset = static_cast<unsigned char*>(to) - mine.shared.base();
    ptrdiff_t at = reinterpret_cast<unsigned char*>(barrier) - mine.shared.base();
    for (unsigned rank = 0; rank < worker->blocks().size(); rank++) {
        if ((mask >> rank & 1) == 0) continue;
        Block& block = worker->blocks()[rank];
        if (block.exited == block.threads) fail(site, "block %u of the cluster has exited, and its shared memory is gone", rank);
        std::memset(block.shared.base() + offset, POISON, bytes);
        worker->flying.push_back({&block, offset, from, bytes, at, site});
    }
}

void Worker::land_one() {
    size_t index = random_.below(flying.size());
    BulkCopy copy = flying[index];
    flying[index] = flying.back();
    flying.pop_back();
    auto found = copy.block->memory_barriers.find(copy.barrier);
    if (found == copy.block->memory_barriers.end()) fail(copy.site, "block %u of the cluster has no such barrier", copy.block->rank);
    if (copy.block->exited == copy.block->threads) fail(copy.site, "block %u of the cluster exited before the copy landed", copy.block->rank);
    std::memcpy(copy.block->shared.base() + copy.offset, copy.from, copy.bytes);
    // What lands is the tensor cores' to read at once.
    std::memcpy(async_view(*copy.block) + copy.offset, copy.from, copy.bytes);
    copy.block->proxy_fenced = true;
    found->second.bytes -= copy.bytes;
    complete_if_due(found->second);
}

}  // namespace emulation
