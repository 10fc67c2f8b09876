// Which thread goes on.
#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime.h"

namespace emulation {

void Schedule::start(Random& random, unsigned blocks, unsigned warps_per_block) {
    size_t warps = size_t(blocks) * warps_per_block;
    count_ = 0;
    warps_per_block_ = warps_per_block;
    size_t kind = random.below(3);
    fair_ = kind == 0;
    places_.resize(warps);
    std::iota(places_.begin(), places_.end(), 0u);
    auto shuffle = [&](size_t first, size_t count, size_t stride, size_t together) {
        for (size_t left = count; left > 1; left--) {
            size_t other = random.below(left);
            for (size_t i = 0; i < together; i++) std::swap(places_[first + (left - 1) * stride + i], places_[first + other * stride + i]);
        }
    };
    if (kind == 1) {
        shuffle(0, warps, 1, 1);
    } else if (kind == 2) {
        // Blocks stay together, in any order, and so do the warps of each in theirs.
        shuffle(0, blocks, warps_per_block, warps_per_block);
        for (unsigned block = 0; block < blocks; block++) shuffle(size_t(block) * warps_per_block, warps_per_block, 1, 1);
    }
    ready_.resize(std::max<size_t>(warps, ready_.size()));
    for (auto& ready : ready_) ready.clear();
    occupied_.assign((warps + 63) / 64, 0);
}

void Schedule::add(Fiber& fiber) {
    unsigned place = fair_ ? 0 : places_[fiber.block->rank * warps_per_block_ + fiber.rank / 32];
    ready_[place].push_back(&fiber);
    occupied_[place / 64] |= uint64_t{1} << place % 64;
    count_ += 1;
}

Fiber* Schedule::take(Random& random) {
    if (count_ == 0) return nullptr;
    size_t word = 0;
    while (occupied_[word] == 0) word++;
    size_t place = word * 64 + size_t(__builtin_ctzll(occupied_[word]));
    auto& ready = ready_[place];
    size_t at = random.below(ready.size());
    Fiber* fiber = ready[at];
    ready[at] = ready.back();
    ready.pop_back();
    if (ready.empty()) occupied_[word] &= ~(uint64_t{1} << place % 64);
    count_ -= 1;
    return fiber;
}

}  // namespace emulation
