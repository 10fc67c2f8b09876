// Barriers of blocks, warps and clusters, and exchanges between lanes. All threads that meet must be in the same call on the same line, and
// none of those expected may have exited: a device would hang or do something undefined.
#include <cstring>

#include "runtime.h"

namespace emulation {

namespace {

bool same(const Site& a, const Site& b) { return a.line == b.line && std::strcmp(a.name, b.name) == 0 && std::strcmp(a.file, b.file) == 0; }

void arrive(Rendezvous& meeting, const Site& site, unsigned expected, bool waits) {
    Fiber& me = self();
    if (meeting.arrived == 0) {
        meeting.site = site;
        meeting.expected = expected;
    } else if (meeting.expected != expected) {
        fail(site, "expects %u threads, while others in %s expect %u", expected, describe(meeting.site).c_str(), meeting.expected);
    }
    meeting.arrived += 1;
    if (meeting.arrived < expected) {
        if (!waits) return;
        meeting.waiting.push_back(&me);
        block_in(site);
        return;
    }
    meeting.arrived = 0;
    std::vector<Fiber*> waiting;
    waiting.swap(meeting.waiting);
    for (Fiber* fiber : waiting) worker->wake(*fiber);
    waiting.clear();
    meeting.waiting.swap(waiting);
    worker->wake(me);
    worker->yield_to_any();
}

void meet_block(const Site& site) {
    Block& block = *self().block;
    Rendezvous& barrier = block.barriers[0];
    if (block.exited > 0) fail(site, "%u of the %u threads of the block have exited and will not come", block.exited, block.threads);
    if (barrier.arrived > 0 && !same(barrier.site, site)) {
        fail(site, "the barrier is divergent: thread %u waits in %s", barrier.waiting.front()->rank, describe(barrier.site).c_str());
    }
    arrive(barrier, site, block.threads, true);
}

}  // namespace

void block_barrier(const Site& site) { meet_block(site); }

int block_vote(const Site& site, int predicate, int kind) {
    Block& block = *self().block;
    Rendezvous& barrier = block.barriers[0];
    barrier.votes += predicate != 0;
    if (barrier.arrived + 1 == block.threads) {
        block.vote_result = kind == 0 ? barrier.votes > 0 : kind == 1 ? barrier.votes == int(block.threads) : barrier.votes;
        barrier.votes = 0;
    }
    meet_block(site);
    // The next vote cannot end before every thread has come back from this one.
    return block.vote_result;
}

void named_barrier(const Site& site, unsigned id, unsigned threads, bool waits) {
    if (id == 0 || id > 15) fail(site, "barrier %u is none of 1 to 15", id);
    if (threads == 0 || threads % 32 != 0 || threads > self().block->threads) fail(site, "%u threads cannot meet in a block of %u", threads, self().block->threads);
    arrive(self().block->barriers[id], site, threads, waits);
}

void check_exit_from_block(Fiber& fiber) {
    Block& block = *fiber.block;
    block.exited += 1;
    Rendezvous& barrier = block.barriers[0];
    if (barrier.arrived > 0) {
        fail(barrier.site, "this thread exits, while thread %u waits for it there", barrier.waiting.front()->rank);
    }
}

bool join_warp(const Site& site, unsigned mask, void* operand) {
    Fiber& me = self();
    Warp& warp = *me.warp;
    unsigned mine = 1u << me.lane;
    if ((mask & mine) == 0) fail(site, "lane %u is not in its own mask %#x", me.lane, mask);
    if ((mask & warp.exited) != 0) fail(site, "lanes %#x of the mask %#x have exited and will not come", mask & warp.exited, mask);
    me.operand = operand;
    unsigned at = 0;
    while (at < warp.pending_count && (warp.pending[at].mask & mask) == 0) at++;
    if (at == warp.pending_count) {
        warp.pending[at] = {site, mask, 0};
        warp.pending_count += 1;
    }
    Pending& call = warp.pending[at];
    if (call.mask != mask) fail(site, "asks for lanes %#x, while others of them wait in %s for lanes %#x", mask, describe(call.site).c_str(), call.mask);
    if (!same(call.site, site)) fail(site, "lane %u is here, while lanes %#x wait in %s", me.lane, call.arrived, describe(call.site).c_str());
    call.arrived |= mine;
    if (call.arrived != mask) {
        block_in(site);
        return false;
    }
    warp.pending_count -= 1;
    call = warp.pending[warp.pending_count];
    return true;
}

void release_warp(unsigned mask) {
    Fiber& me = self();
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) worker->wake(*me.warp->lanes[__builtin_ctz(lanes)]);
    worker->yield_to_any();
}

void check_exit_from_warp(Fiber& fiber) {
    Warp& warp = *fiber.warp;
    unsigned mine = 1u << fiber.lane;
    warp.exited |= mine;
    for (unsigned i = 0; i < warp.pending_count; i++) {
        if ((warp.pending[i].mask & mine) != 0) {
            fail(warp.pending[i].site, "this thread exits, while lanes %#x wait for it there", warp.pending[i].arrived);
        }
    }
}

void warp_barrier(const Site& site, unsigned mask) {
    together(site, mask, nullptr, [](Fiber**) {});
}

namespace {

struct Exchange {
    uint32_t value;
    unsigned operand;
    unsigned width;
    uint32_t result;
};

// The lane that `lane` reads from.
unsigned source_lane(Shuffle kind, unsigned lane, unsigned operand, unsigned width) {
    unsigned first = lane & ~(width - 1), last = first + width - 1;
    switch (kind) {
        case Shuffle::index: return first | (operand & (width - 1));
        case Shuffle::exclusive_or: return (lane ^ operand) <= last ? lane ^ operand : lane;
        case Shuffle::up: return lane >= first + operand ? lane - operand : lane;
        case Shuffle::down: return lane + operand <= last ? lane + operand : lane;
    }
    return lane;
}

}  // namespace

uint32_t shuffle(const Site& site, Shuffle kind, unsigned mask, uint32_t value, unsigned operand, unsigned width) {
    if (width == 0 || width > 32 || (width & (width - 1)) != 0) fail(site, "a width of %u is no power of two up to 32", width);
    Exchange mine{value, operand & 31, width, 0};
    together(site, mask, &mine, [&](Fiber** lanes) {
        for (unsigned left = mask; left != 0; left &= left - 1) {
            unsigned lane = unsigned(__builtin_ctz(left));
            auto& to = *static_cast<Exchange*>(lanes[lane]->operand);
            unsigned from = source_lane(kind, lane, to.operand, to.width);
            if ((mask >> from & 1) == 0) fail(site, "lane %u reads lane %u, which the mask %#x leaves out", lane, from, mask);
            to.result = static_cast<Exchange*>(lanes[from]->operand)->value;
        }
    });
    return mine.result;
}

unsigned ballot(const Site& site, unsigned mask, bool predicate) {
    Exchange mine{predicate, 0, 32, 0};
    together(site, mask, &mine, [&](Fiber** lanes) {
        uint32_t votes = 0;
        for (unsigned left = mask; left != 0; left &= left - 1) {
            unsigned lane = unsigned(__builtin_ctz(left));
            votes |= static_cast<Exchange*>(lanes[lane]->operand)->value << lane;
        }
        for (unsigned left = mask; left != 0; left &= left - 1) static_cast<Exchange*>(lanes[__builtin_ctz(left)]->operand)->result = votes;
    });
    return mine.result;
}

}  // namespace emulation
