#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if !defined(__x86_64__) || !defined(__linux__)
#define RADNET_UCONTEXT 1
#endif
#ifdef RADNET_UCONTEXT
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define RADNET_ADDRESS_SANITIZER 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RADNET_ADDRESS_SANITIZER 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#endif

namespace emulation {

namespace {

constexpr size_t PAGE = 4096;
#ifdef RADNET_ADDRESS_SANITIZER
constexpr size_t STACK_BYTES = 256 * 1024;
#else
constexpr size_t STACK_BYTES = 64 * 1024;
#endif
constexpr size_t STACKS_PER_SLAB = 256;
constexpr size_t SLAB_BYTES = STACKS_PER_SLAB * (STACK_BYTES + PAGE);

// The place that the last switch left, which the flow that goes on finishes off.
thread_local Context* left = nullptr;

void arrived(Context& self) {
#ifdef RADNET_ADDRESS_SANITIZER
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &bytes);
    if (left != nullptr && left->bottom == nullptr) {
        left->bottom = bottom;
        left->bytes = bytes;
    }
#else
    (void)self;
#endif
}

void leaving(Context& from, Context& to, bool done) {
    left = &from;
#ifdef RADNET_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(done ? nullptr : &from.fake_stack, to.bottom, to.bytes);
#else
    (void)to;
    (void)done;
#endif
}

}  // namespace

#ifndef RADNET_UCONTEXT

extern "C" void radnet_emulation_switch(void** from, void* to);

// Saves what the System V ABI lets a callee rely on, exchanges the stack pointers, and restores it from the other stack.
asm(R"(
.text
.globl radnet_emulation_switch
.hidden radnet_emulation_switch
.type radnet_emulation_switch,@function
radnet_emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size radnet_emulation_switch,.-radnet_emulation_switch
)");

#endif

Stacks::~Stacks() {
    for (unsigned char* slab : slabs_) munmap(slab, SLAB_BYTES);
}

bool Stacks::prepare(Context& context, size_t index, void (*entry)()) {
    while (index / STACKS_PER_SLAB >= slabs_.size()) {
        void* slab = mmap(nullptr, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slab == MAP_FAILED) return false;
        auto* first = static_cast<unsigned char*>(slab);
        for (size_t i = 0; i < STACKS_PER_SLAB; i++) {
            if (mprotect(first + i * (STACK_BYTES + PAGE), PAGE, PROT_NONE) != 0) {
                munmap(slab, SLAB_BYTES);
                return false;
            }
        }
        slabs_.push_back(first);
    }
    unsigned char* bottom = slabs_[index / STACKS_PER_SLAB] + index % STACKS_PER_SLAB * (STACK_BYTES + PAGE) + PAGE;
    context.bottom = bottom;
    context.bytes = STACK_BYTES;
    context.fake_stack = nullptr;
#ifdef RADNET_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(bottom, STACK_BYTES);
#endif
    // Tops at different distances from a page's end keep the hot lines of the stacks in different sets of the caches.
    unsigned char* top = bottom + STACK_BYTES - index % 61 * 64;
#ifdef RADNET_UCONTEXT
    auto* place = reinterpret_cast<ucontext_t*>((reinterpret_cast<uintptr_t>(top) - sizeof(ucontext_t)) & ~uintptr_t{63});
    if (getcontext(place) != 0) return false;
    place->uc_stack.ss_sp = bottom;
    place->uc_stack.ss_size = size_t(reinterpret_cast<unsigned char*>(place) - bottom);
    place->uc_link = nullptr;
    makecontext(place, entry, 0);
    context.point = place;
#else
    // Six saved registers, the address that `ret` takes, and a zero where the entry expects its caller.
    auto* frame = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{63}) - 8;
    std::memset(frame, 0, 8 * sizeof(void*));
    frame[6] = reinterpret_cast<void*>(entry);
    context.point = frame;
#endif
    return true;
}

void switch_context(Context& from, Context& to, bool done) {
    leaving(from, to, done);
#ifdef RADNET_UCONTEXT
    ucontext_t here;
    from.point = &here;
    swapcontext(&here, static_cast<ucontext_t*>(to.point));
#else
    radnet_emulation_switch(&from.point, to.point);
#endif
    arrived(from);
}

void enter_context(Context& self) { arrived(self); }

}  // namespace emulation
