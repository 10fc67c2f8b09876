// A bad address in a kernel ends its launch with an error, not the process. Where signals cannot be turned into one, and under the address
// sanitizer, which tells more, nothing is installed.
#include "runtime.h"

#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__)

#include <signal.h>
#include <ucontext.h>

#include <cstdio>
#include <mutex>

namespace emulation {

namespace {

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE};
constexpr size_t KINDS = sizeof SIGNALS / sizeof SIGNALS[0];
struct sigaction before[KINDS];
thread_local int signal_number;
thread_local const void* address;

// Where the thread goes on, on the top of its own stack: nothing on it is needed any more.
[[noreturn]] void give_up_after_fault() {
    char text[128];
    if (signal_number == SIGFPE) {
        std::snprintf(text, sizeof text, ": divides by zero");
    } else if (address >= static_cast<const char*>(self().context.bottom) - 4096 && address < self().context.bottom) {
        std::snprintf(text, sizeof text, ": uses more than the %zu bytes of its stack", self().context.bytes);
    } else {
        std::snprintf(text, sizeof text, ": touches the address %p, where there is no memory", address);
    }
    worker->give_up(describe(self()) + text);
}

void handle(int number, siginfo_t* info, void* context) {
    if (worker != nullptr && place != nullptr) {
        signal_number = number;
        address = info->si_addr;
        auto top = reinterpret_cast<uintptr_t>(self().context.bottom) + self().context.bytes;
        auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
        registers[REG_RIP] = reinterpret_cast<greg_t>(give_up_after_fault);
        registers[REG_RSP] = greg_t((top & ~uintptr_t{63}) - 8);
        return;
    }
    for (size_t i = 0; i < KINDS; i++) {
        if (SIGNALS[i] != number) continue;
        if ((before[i].sa_flags & SA_SIGINFO) != 0) {
            before[i].sa_sigaction(number, info, context);
        } else {
            // The instruction runs again and meets what was there before.
            sigaction(number, &before[i], nullptr);
        }
    }
}

}  // namespace

void catch_faults() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action {};
        action.sa_sigaction = handle;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (size_t i = 0; i < KINDS; i++) sigaction(SIGNALS[i], &action, &before[i]);
    });
    // A thread whose stack may be full handles signals on another; those of the Rust library have one.
    stack_t current{};
    if (sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) != 0) {
        static thread_local unsigned char memory[64 * 1024];
        stack_t own{};
        own.ss_sp = memory;
        own.ss_size = sizeof memory;
        sigaltstack(&own, nullptr);
    }
}

}  // namespace emulation

#else

namespace emulation {
void catch_faults() {}
}  // namespace emulation

#endif
