// Memory as the emulated device has it: every allocation stands between redzones, and fresh memory is all ones, which is a NaN in every
// element type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace emulation {

struct Range {
    uintptr_t begin;
    uintptr_t end;
};

constexpr unsigned char POISON = 0xff;

// A block of bytes between two redzones, aligned to 1024.
class Guarded {
public:
    Guarded() = default;
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    Guarded(Guarded&& other) noexcept;
    Guarded& operator=(Guarded&& other) noexcept;
    ~Guarded();

    // Poisoned memory of `bytes`; false when there is none.
    bool allocate(size_t bytes);
    unsigned char* base() const { return base_; }
    size_t bytes() const { return bytes_; }
    bool contains(const void* at, size_t bytes) const;
    void poison();
    // Whether all of it is still poison.
    bool untouched() const;
    // The offset of a byte that was written outside, negative before the start, and mends it; false when there is none.
    bool damage(ptrdiff_t& offset);

private:
    void release();
    unsigned char* base_ = nullptr;
    size_t bytes_ = 0;
};

using SharedMemory = Guarded;

// The global and pinned memory of a device.
class Memory {
public:
    enum Space { GLOBAL, PINNED };

    void* allocate(size_t bytes, Space space);
    bool free(void* at, Space space, std::string& message);
    bool inside(const void* at, size_t bytes, Space space);
    std::vector<Range> ranges();
    // Describes the first redzone that was written to; empty when there is none.
    std::string damage();

private:
    struct Allocation {
        Guarded memory;
        Space space;
    };
    std::mutex mutex_;
    std::map<uintptr_t, Allocation> allocations_;
};

}  // namespace emulation
