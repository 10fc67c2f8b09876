// Switching between stacks. On x86-64 in a handful of instructions; elsewhere through ucontext.
#pragma once

#include <cstddef>
#include <vector>

namespace emulation {

// A suspended flow of control.
struct Context {
    void* point = nullptr;          // the stack pointer, or a ucontext_t
    const void* bottom = nullptr;   // of its stack, for the address sanitizer
    size_t bytes = 0;
    void* fake_stack = nullptr;
};

// Stacks of one size with a page below each that faults; they are kept for the next launch.
class Stacks {
public:
    Stacks() = default;
    Stacks(const Stacks&) = delete;
    Stacks& operator=(const Stacks&) = delete;
    ~Stacks();

    // Makes `context` start in `entry`, which never returns, on stack `index`. False when the memory for it is not to be had.
    bool prepare(Context& context, size_t index, void (*entry)());

private:
    std::vector<unsigned char*> slabs_;
};

// Leaves this flow in `from` and goes on with `to`. A flow that is `done` is never gone on with.
void switch_context(Context& from, Context& to, bool done);
// To be called first in an entry.
void enter_context(Context& self);

}  // namespace emulation
