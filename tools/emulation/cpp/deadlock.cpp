// What threads wait for that will not come.
#include <algorithm>

#include "runtime.h"

namespace emulation {

namespace {

bool holds(const std::vector<Fiber*>& waiting, const Fiber& fiber) {
    for (const Fiber* other : waiting) {
        if (other == &fiber) return true;
    }
    return false;
}

std::string lacks(ptrdiff_t at, const MemoryBarrier& barrier) {
    std::string text = " for the barrier at byte " + std::to_string(at) + " of shared memory, whose phase " + std::to_string(barrier.phase) + " lacks ";
    if (barrier.missing > 0) text += std::to_string(barrier.missing) + " of " + std::to_string(barrier.count) + " arrivals";
    if (barrier.missing > 0 && barrier.bytes != 0) text += " and ";
    if (barrier.bytes != 0) text += std::to_string(barrier.bytes) + " bytes";
    return text;
}

// What a thread waits for, beyond its call.
std::string awaited(const Fiber& fiber, const std::vector<Fiber*>& cluster, unsigned arrived) {
    for (const auto& [at, barrier] : fiber.block->memory_barriers) {
        if (holds(barrier.waiting, fiber)) return lacks(at, barrier);
    }
    for (const Rendezvous& meeting : fiber.block->barriers) {
        if (holds(meeting.waiting, fiber)) return " with " + std::to_string(meeting.arrived) + " of " + std::to_string(meeting.expected) + " threads";
    }
    return holds(cluster, fiber) ? " with " + std::to_string(arrived) + " threads of the cluster" : std::string();
}

}  // namespace

void Worker::describe_deadlock() {
    constexpr size_t MOST = 4;
    size_t threads = size_t(launch_->cluster) * launch_->block, waiting = 0;
    std::vector<std::string> told;
    for (size_t i = 0; i < threads; i++) {
        const Fiber& fiber = fibers_[i];
        if (fiber.exited) continue;
        waiting += 1;
        std::string what = describe(fiber.site) + ": waits forever" + awaited(fiber, cluster_barrier.waiting, cluster_barrier.arrived);
        if (told.size() == MOST || std::find(told.begin(), told.end(), what) != told.end()) continue;
        message_ += describe(fiber) + ", " + what + "; ";
        told.push_back(std::move(what));
    }
    message_ += std::to_string(waiting) + " of " + std::to_string(threads) + " threads wait and the others have exited";
}

}  // namespace emulation
