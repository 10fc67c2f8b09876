// Copies and accesses of sixteen bytes. Their addresses are checked against the device's allocations and the block's shared memory.
#include <algorithm>
#include <cstring>

#include "runtime.h"

namespace emulation {

namespace {

bool aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

bool in_cluster(const void* at, size_t bytes) {
    for (const Block& block : worker->blocks()) {
        if (block.shared.contains(at, bytes)) return true;
    }
    return false;
}

}  // namespace

bool in_global(const void* at, size_t bytes) {
    const std::vector<Range>& ranges = *worker->launch().ranges;
    static thread_local size_t last = 0;
    auto address = reinterpret_cast<uintptr_t>(at);
    auto holds = [&](const Range& range) { return address >= range.begin && address <= range.end && bytes <= range.end - address; };
    if (last < ranges.size() && holds(ranges[last])) return true;
    auto after = std::upper_bound(ranges.begin(), ranges.end(), address, [](uintptr_t value, const Range& range) { return value < range.begin; });
    if (after == ranges.begin() || !holds(*(after - 1))) return false;
    last = size_t(after - 1 - ranges.begin());
    return true;
}

unsigned char* shared_memory() { return self().block->shared.base(); }

void grid_dependency_wait() {
    worker->waited_for_previous = true;
    Predecessor* before = worker->launch().before;
    if (before == nullptr) return;
    std::string message = before->finish();
    if (!message.empty()) worker->give_up(std::move(message));
}

// The destination is poison until the copy has been waited for.
void copy_async(void* to, const void* from, bool valid, const Site& site) {
    Fiber& me = self();
    if (!aligned(to) || (valid && !aligned(from))) fail(site, "the addresses %p and %p are not multiples of 16", to, from);
    if (!me.block->shared.contains(to, 16)) {
        fail(site, "writes byte %td of %zu of shared memory", static_cast<unsigned char*>(to) - me.block->shared.base(), me.block->shared.bytes());
    }
    if (valid && !in_global(from, 16)) fail(site, "reads %p, which is not in global memory", from);
    std::memset(to, POISON, 16);
    me.copies.push_back({to, from, valid, me.copy_groups});
}

void copy_commit() { self().copy_groups += 1; }

void copy_wait(unsigned pending) {
    Fiber& me = self();
    size_t landed = 0;
    for (; landed < me.copies.size() && me.copies[landed].group + pending < me.copy_groups; landed++) {
        const Copy& copy = me.copies[landed];
        if (copy.valid) {
            std::memcpy(copy.to, copy.from, 16);
        } else {
            std::memset(copy.to, 0, 16);
        }
    }
    me.copies.erase(me.copies.begin(), me.copies.begin() + ptrdiff_t(landed));
}

uint4 load_global16(const void* from, const Site& site) {
    if (!aligned(from)) fail(site, "the address %p is no multiple of 16", from);
    if (!in_global(from, 16)) fail(site, "reads %p, which is not in global memory", from);
    uint4 value;
    std::memcpy(&value, from, 16);
    return value;
}

void store16(void* to, const uint4& value, const Site& site) {
    if (!aligned(to)) fail(site, "the address %p is no multiple of 16", to);
    if (!in_global(to, 16) && !in_cluster(to, 16)) fail(site, "writes %p, which is in no memory of the device", to);
    std::memcpy(to, &value, 16);
}

}  // namespace emulation
