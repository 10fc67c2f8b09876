#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON_REGION(at, bytes) __asan_poison_memory_region(at, bytes)
#define UNPOISON_REGION(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define POISON_REGION(at, bytes) ((void)(at), (void)(bytes))
#define UNPOISON_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

namespace emulation {

namespace {
constexpr size_t REDZONE = 1024;
}

Guarded::Guarded(Guarded&& other) noexcept : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Guarded& Guarded::operator=(Guarded&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Guarded::~Guarded() { release(); }

void Guarded::release() {
    if (base_ == nullptr) return;
    UNPOISON_REGION(base_ - REDZONE, bytes_ + 2 * REDZONE);
    std::free(base_ - REDZONE);
    base_ = nullptr;
    bytes_ = 0;
}

bool Guarded::allocate(size_t bytes) {
    release();
    if (bytes > SIZE_MAX - 3 * REDZONE) return false;
    size_t whole = (bytes + 2 * REDZONE + REDZONE - 1) / REDZONE * REDZONE;
    auto* memory = static_cast<unsigned char*>(std::aligned_alloc(REDZONE, whole));
    if (memory == nullptr) return false;
    std::memset(memory, POISON, whole);
    base_ = memory + REDZONE;
    bytes_ = bytes;
    POISON_REGION(memory, REDZONE);
    POISON_REGION(base_ + bytes, REDZONE);
    return true;
}

bool Guarded::contains(const void* at, size_t bytes) const {
    auto address = reinterpret_cast<uintptr_t>(at), begin = reinterpret_cast<uintptr_t>(base_);
    return address >= begin && address - begin <= bytes_ && bytes <= bytes_ - (address - begin);
}

void Guarded::poison() { std::memset(base_, POISON, bytes_); }

bool Guarded::untouched() const {
    for (size_t i = 0; i < bytes_; i++) {
        if (base_[i] != POISON) return false;
    }
    return true;
}

bool Guarded::damage(ptrdiff_t& offset) {
    UNPOISON_REGION(base_ - REDZONE, REDZONE);
    UNPOISON_REGION(base_ + bytes_, REDZONE);
    bool found = false;
    for (size_t i = 0; i < REDZONE && !found; i++) {
        if (base_[bytes_ + i] != POISON) {
            offset = ptrdiff_t(bytes_ + i);
            found = true;
        } else if (base_[-1 - ptrdiff_t(i)] != POISON) {
            offset = -1 - ptrdiff_t(i);
            found = true;
        }
    }
    // Each damage is told once.
    std::memset(base_ - REDZONE, POISON, REDZONE);
    std::memset(base_ + bytes_, POISON, REDZONE);
    POISON_REGION(base_ - REDZONE, REDZONE);
    POISON_REGION(base_ + bytes_, REDZONE);
    return found;
}

void* Memory::allocate(size_t bytes, Space space) {
    Guarded memory;
    if (!memory.allocate(bytes)) return nullptr;
    void* base = memory.base();
    std::lock_guard<std::mutex> lock(mutex_);
    allocations_.emplace(reinterpret_cast<uintptr_t>(base), Allocation{std::move(memory), space});
    return base;
}

bool Memory::free(void* at, Space space, std::string& message) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = allocations_.find(reinterpret_cast<uintptr_t>(at));
    if (found == allocations_.end() || found->second.space != space) {
        message = "memory is freed that was not allocated, or was freed before";
        return false;
    }
    ptrdiff_t offset = 0;
    bool damaged = found->second.memory.damage(offset);
    if (damaged) message = "byte " + std::to_string(offset) + " of an allocation of " + std::to_string(found->second.memory.bytes()) + " was written";
    allocations_.erase(found);
    return !damaged;
}

bool Memory::inside(const void* at, size_t bytes, Space space) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto after = allocations_.upper_bound(reinterpret_cast<uintptr_t>(at));
    if (after == allocations_.begin()) return false;
    const Allocation& allocation = std::prev(after)->second;
    return allocation.space == space && allocation.memory.contains(at, bytes);
}

std::vector<Range> Memory::ranges() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Range> ranges;
    ranges.reserve(allocations_.size());
    for (const auto& [begin, allocation] : allocations_) ranges.push_back({begin, begin + allocation.memory.bytes()});
    return ranges;
}

std::string Memory::damage() {
    std::lock_guard<std::mutex> lock(mutex_);
    ptrdiff_t offset = 0;
    for (auto& [begin, allocation] : allocations_) {
        if (!allocation.memory.damage(offset)) continue;
        return "byte " + std::to_string(offset) + " of an allocation of " + std::to_string(allocation.memory.bytes()) + " was written";
    }
    return {};
}

}  // namespace emulation
