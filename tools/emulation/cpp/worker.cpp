// The scheduler: sets a cluster up, switches between its threads in random order, and looks at what they left.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "runtime.h"

namespace emulation {

__thread const Place* place = nullptr;
__thread Worker* worker = nullptr;

std::string describe(const Site& site) {
    const char* file = site.file;
    for (const char* at = site.file; *at != 0; at++) {
        if (*at == '/') file = at + 1;
    }
    return std::string(site.name) + " at " + file + ":" + std::to_string(site.line);
}

std::string describe(const Fiber& fiber) {
    const uint3& block = fiber.block_index;
    return "thread " + std::to_string(fiber.rank) + " of block (" + std::to_string(block.x) + ", " + std::to_string(block.y) + ", " +
           std::to_string(block.z) + ")";
}

void fail(const Site& site, const char* format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    std::vsnprintf(text, sizeof text, format, values);
    va_end(values);
    worker->give_up(describe(self()) + ", " + describe(site) + ": " + text);
}

void block_in(const Site& site) {
    Fiber& me = self();
    me.site = site;
    worker->yield_to_any();
    me.site = Site{};
}

namespace {
size_t ceil_div_4(size_t warps) { return (warps + 3) / 4; }
}  // namespace

bool Worker::set_up(size_t index) {
    const Launch& launch = *launch_;
    size_t clusters_x = launch.grid.x / launch.cluster;
    unsigned x = unsigned(index % clusters_x) * launch.cluster;
    unsigned y = unsigned(index / clusters_x % launch.grid.y);
    unsigned z = unsigned(index / clusters_x / launch.grid.y);
    if (blocks_.size() != launch.cluster) blocks_ = std::vector<Block>(launch.cluster);
    while (fibers_.size() < size_t(launch.cluster) * launch.block) fibers_.emplace_back();
    schedule_.start(random_, launch.cluster, launch.block / 32);
    cluster_barrier = {};
    waited_for_previous = false;
    busy.clear();
    flying.clear();
    for (unsigned rank = 0; rank < launch.cluster; rank++) {
        Block& block = blocks_[rank];
        block.index = {x + rank, y, z};
        block.rank = rank;
        block.threads = launch.block;
        block.exited = 0;
        block.warps = std::vector<Warp>(launch.block / 32);
        block.memory_barriers.clear();
        block.proxy_fenced = false;
        block.async_view.clear();
        block.descriptors.assign(ceil_div_4(block.warps.size()), {});
        for (Rendezvous& barrier : block.barriers) barrier = {};
        if (!block.shared.allocate(launch.shared_bytes)) return false;
        for (unsigned thread = 0; thread < launch.block; thread++) {
            size_t at = size_t(rank) * launch.block + thread;
            Fiber& fiber = fibers_[at];
            static_cast<Place&>(fiber) = {{thread, 0, 0}, block.index, {launch.block, 1, 1}, launch.grid};
            fiber.block = &block;
            fiber.warp = &block.warps[thread / 32];
            fiber.rank = thread;
            fiber.lane = thread % 32;
            fiber.warp->lanes[fiber.lane] = &fiber;
            fiber.exited = false;
            fiber.site = Site{};
            fiber.copies.clear();
            fiber.copy_groups = 0;
            fiber.cluster_arrived = false;
            if (!stacks_.prepare(fiber.context, at, entry)) return false;
            schedule_.add(fiber);
        }
    }
    live_ = size_t(launch.cluster) * launch.block;
    return true;
}

bool Worker::run(const Launch& launch, size_t index, uint64_t seed) {
    launch_ = &launch;
    random_ = {seed};
    message_.clear();
    if (!set_up(index)) {
        message_ = "the host has no memory for the threads of a cluster";
        return false;
    }
    // A thread of another launch may be waiting for this one.
    Worker* outer_worker = worker;
    const Place* outer_place = place;
    worker = this;
    scheduler_ = {};
    resume(scheduler_, choose(), false);
    place = outer_place;
    worker = outer_worker;
    if (!message_.empty()) return false;
    if (live_ > 0) {
        describe_deadlock();
        return false;
    }
    inspect_memory();
    return message_.empty();
}

// What a cluster left behind.
void Worker::inspect_memory() {
    for (Block& block : blocks_) {
        ptrdiff_t offset = 0;
        std::string where = "block (" + std::to_string(block.index.x) + ", " + std::to_string(block.index.y) + ", " + std::to_string(block.index.z) + ")";
        if (block.shared.damage(offset)) {
            message_ = where + " wrote byte " + std::to_string(offset) + " of its " + std::to_string(launch_->shared_bytes) + " bytes of shared memory";
        } else if (launch_->cluster > 1 && !block.shared.untouched()) {
            message_ = "the shared memory of " + where + " was written to by its cluster after it had exited";
        }
        for (const auto& [at, barrier] : block.memory_barriers) {
            if (barrier.bytes == 0) continue;
            message_ = where + ": at its end the barrier at byte " + std::to_string(at) + " of shared memory has had " + std::to_string(std::abs(barrier.bytes)) +
                       " bytes " + (barrier.bytes > 0 ? "fewer" : "more") + " than it expected";
        }
    }
}

// The next thread to go on with; copies land where nothing else can happen.
Fiber* Worker::choose() {
    while (schedule_.empty() && !flying.empty()) land_one();
    return schedule_.take(random_);
}

void Worker::resume(Context& from, Fiber* next, bool done) {
    place = next;
    switch_context(from, next == nullptr ? scheduler_ : next->context, done);
}

void Worker::yield_to_any() {
    Fiber& me = self();
    if (!busy.empty() && random_.below(4) == 0) work_out_one(*busy[random_.below(busy.size())]);
    if (!flying.empty() && random_.below(4) == 0) land_one();
    Fiber* next = choose();
    if (next != &me) resume(me.context, next, false);
}

void Worker::give_up(std::string message) {
    message_ = std::move(message);
    Fiber& me = self();
    resume(me.context, nullptr, true);
    __builtin_unreachable();
}

void Worker::entry() {
    Fiber& me = self();
    enter_context(me.context);
    worker->launch_->enter(worker->launch_->arguments);
    worker->finish(me);
    __builtin_unreachable();
}

void Worker::finish(Fiber& fiber) {
    fiber.exited = true;
    check_exit_from_warp(fiber);
    check_exit_from_block(fiber);
    check_exit_from_cluster(fiber);
    check_products_at_exit(fiber);
    live_ -= 1;
    if (fiber.block->exited == fiber.block->threads && launch_->cluster > 1) fiber.block->shared.poison();
    resume(fiber.context, choose(), true);
}

}  // namespace emulation
