// What the Rust crate calls: the registry of kernels, memory, and launches.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <numeric>
#include <thread>

#include "runtime.h"

namespace emulation {

namespace {

std::deque<Kernel>& kernels() {
    static std::deque<Kernel> all;
    return all;
}

// Workers keep their stacks from launch to launch.
class Workers {
public:
    std::unique_ptr<Worker> take() {
        std::lock_guard<std::mutex> lock(mutex_);
        if (idle_.empty()) return std::make_unique<Worker>();
        auto worker = std::move(idle_.back());
        idle_.pop_back();
        return worker;
    }
    void put(std::unique_ptr<Worker> worker) {
        std::lock_guard<std::mutex> lock(mutex_);
        idle_.push_back(std::move(worker));
    }

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Worker>> idle_;
};

Workers& workers() {
    static Workers all;
    return all;
}

// The clusters of a launch in the order that the seed gives them, shared by the threads that run them.
struct Run {
    const Launch& launch;
    uint64_t seed;
    std::vector<uint32_t> order;
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    std::atomic<bool> waited{false};
    std::mutex mutex;
    std::string message;

    void work() {
        catch_faults();
        auto worker = workers().take();
        for (size_t at = next++; at < order.size() && !failed; at = next++) {
            bool good = worker->run(launch, order[at], seed ^ (uint64_t(order[at]) + 1) * 0x9e3779b97f4a7c15u);
            if (worker->waited_for_previous) waited = true;
            if (good) continue;
            std::lock_guard<std::mutex> lock(mutex);
            if (!failed) message = worker->message();
            failed = true;
        }
        workers().put(std::move(worker));
    }
};

std::string run_all(const Launch& launch, uint64_t seed, unsigned threads) {
    Run run{launch, seed, {}, {}, {}, {}, {}, {}};
    run.order.resize(size_t(launch.grid.x) / launch.cluster * launch.grid.y * launch.grid.z);
    std::iota(run.order.begin(), run.order.end(), 0u);
    Random random{seed};
    for (size_t left = run.order.size(); left > 1; left--) std::swap(run.order[left - 1], run.order[random.below(left)]);
    std::vector<std::thread> helpers;
    for (unsigned i = 1; i < threads && i < run.order.size(); i++) helpers.emplace_back([&run] { run.work(); });
    run.work();
    for (std::thread& helper : helpers) helper.join();
    if (!run.failed && launch.overlaps && !run.waited) return "the launch overlaps the one before it, and no thread calls grid_dependency_wait";
    return run.message;
}

void write_message(const std::string& message, char* to, size_t bytes) {
    if (bytes > 0) std::snprintf(to, bytes, "%s", message.c_str());
}

}  // namespace

bool register_kernel(const char* name, size_t argument_bytes, unsigned max_threads, void (*enter)(const void*)) {
    kernels().push_back({name, argument_bytes, max_threads, enter});
    return true;
}

const Kernel* find_kernel(const char* name) {
    for (const Kernel& kernel : kernels()) {
        if (std::strcmp(kernel.name, name) == 0) return &kernel;
    }
    return nullptr;
}

}  // namespace emulation

using namespace emulation;

// As the Rust side declares it.
struct radnet_emulation_launch_request {
    const char* kernel;
    const void* arguments;
    Memory* memory;
    uint64_t seed;
    uint32_t grid[3];
    uint32_t block;
    uint32_t cluster;
    uint32_t shared_bytes;
    uint32_t overlaps;
    uint32_t hopper;
    uint32_t threads;
};

namespace {

constexpr size_t MAX_ARGUMENT_BYTES = 4096;

// A launch with its own copy of the arguments.
class Request {
public:
    Request(const radnet_emulation_launch_request& request, Predecessor* before) : request_(request), before_(before) {}

    // What went wrong, or nothing.
    std::string run() {
        const Kernel* kernel = find_kernel(request_.kernel);
        std::string name = std::string("kernel ") + request_.kernel + ": ";
        if (kernel == nullptr || kernel->argument_bytes > MAX_ARGUMENT_BYTES) return name + "is not there, or has more than 4096 bytes of arguments";
        std::memcpy(arguments_, request_.arguments, kernel->argument_bytes);
        std::vector<Range> ranges = request_.memory->ranges();
        Launch launch{kernel->name,
                      kernel->enter,
                      arguments_,
                      {request_.grid[0], request_.grid[1], request_.grid[2]},
                      request_.block,
                      request_.cluster,
                      request_.shared_bytes,
                      request_.overlaps != 0,
                      request_.hopper != 0,
                      &ranges,
                      before_};
        std::string text = run_all(launch, request_.seed, request_.threads);
        if (text.empty()) text = request_.memory->damage();
        return text.empty() ? text : name + text;
    }

private:
    const radnet_emulation_launch_request& request_;
    Predecessor* before_;
    alignas(64) unsigned char arguments_[MAX_ARGUMENT_BYTES];
};

class Overlapped : public Predecessor {
public:
    explicit Overlapped(Request& request) : request_(request) {}
    std::string finish() override {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!done_) message_ = request_.run();
        done_ = true;
        return message_;
    }

private:
    std::mutex mutex_;
    bool done_ = false;
    std::string message_;
    Request& request_;
};

}  // namespace

extern "C" {

Memory* radnet_emulation_memory_new() { return new (std::nothrow) Memory; }
void radnet_emulation_memory_delete(Memory* memory) { delete memory; }
void* radnet_emulation_allocate(Memory* memory, size_t bytes, int pinned) { return memory->allocate(bytes, pinned != 0 ? Memory::PINNED : Memory::GLOBAL); }
int radnet_emulation_inside(Memory* memory, const void* at, size_t bytes, int pinned) {
    return memory->inside(at, bytes, pinned != 0 ? Memory::PINNED : Memory::GLOBAL);
}

int radnet_emulation_free(Memory* memory, void* at, int pinned, char* message, size_t message_bytes) {
    std::string text;
    bool good = memory->free(at, pinned != 0 ? Memory::PINNED : Memory::GLOBAL, text);
    write_message(text, message, message_bytes);
    return good ? 0 : 1;
}

// The bytes of a kernel's argument struct and the most threads of a block; 0 when there is no such kernel.
int radnet_emulation_kernel(const char* name, size_t* argument_bytes, uint32_t* max_threads) {
    const Kernel* kernel = find_kernel(name);
    if (kernel == nullptr) return 0;
    *argument_bytes = kernel->argument_bytes;
    *max_threads = kernel->max_threads;
    return 1;
}

// Runs a launch whose shape has been checked, and `before`, which may be null and over which it may begin; 0 when all went well.
int radnet_emulation_launch(const radnet_emulation_launch_request* request, const radnet_emulation_launch_request* before, char* message, size_t message_bytes) {
    std::string text;
    if (before == nullptr) {
        text = Request(*request, nullptr).run();
    } else {
        Request earlier(*before, nullptr);
        Overlapped overlapped(earlier);
        text = Request(*request, &overlapped).run();
        std::string failure = overlapped.finish();
        if (!failure.empty()) text = failure;
    }
    write_message(text, message, message_bytes);
    return text.empty() ? 0 : 1;
}
}
