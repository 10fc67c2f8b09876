// The running of a launch: a cluster's threads are fibers that one worker switches between, in an order that the seed decides.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulation.h"
#include "fiber.h"
#include "memory.h"

namespace emulation {

class Predecessor;

// What the host asks for.
struct Launch {
    const char* kernel;
    void (*enter)(const void*);
    const void* arguments;
    uint3 grid;
    unsigned block;
    unsigned cluster;
    unsigned shared_bytes;
    bool overlaps;
    bool hopper;  // compute capability 9.0 or later
    const std::vector<Range>* ranges;
    Predecessor* before;  // none where nothing overlaps
};

// SplitMix64.
struct Random {
    uint64_t state;
    uint64_t next() {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    // A number below `bound`.
    size_t below(size_t bound) { return size_t(next() >> 32) * bound >> 32; }
};

struct Fiber;

// The threads that could go on, and which of them does. A schedule is fair, or it lets one warp, or one block, run as far as it can before the
// next: what a missing barrier needs in order to show.
class Schedule {
public:
    void start(Random& random, unsigned blocks, unsigned warps_per_block);
    void add(Fiber& fiber);
    Fiber* take(Random& random);
    bool empty() const { return count_ == 0; }

private:
    bool fair_ = true;
    size_t count_ = 0;
    unsigned warps_per_block_ = 0;
    std::vector<unsigned> places_;             // of each warp, in the order of preference
    std::vector<std::vector<Fiber*>> ready_;   // by place; only the first where it is fair
    std::vector<uint64_t> occupied_;           // a bit for every place with a thread
};

// Threads that wait for one another in one call.
struct Rendezvous {
    Site site{};
    unsigned expected = 0;
    unsigned arrived = 0;
    int votes = 0;
    std::vector<Fiber*> waiting;
};

// A call that some lanes of a warp have made and others have yet to make.
struct Pending {
    Site site;
    unsigned mask;
    unsigned arrived;
};

class Products;

struct Warp {
    Warp();
    ~Warp();
    Fiber* lanes[32] = {};
    Pending pending[32];
    unsigned pending_count = 0;
    unsigned exited = 0;
    std::unique_ptr<Products> products;  // none before the first asynchronous one
};

// A barrier in shared memory, by its offset there.
struct MemoryBarrier {
    unsigned count = 0;
    unsigned missing = 0;
    int64_t bytes = 0;  // expected less landed
    unsigned phase = 0;
    std::vector<Fiber*> waiting;
};

struct Block {
    uint3 index{};
    unsigned rank = 0;  // in its cluster
    unsigned threads = 0;
    unsigned exited = 0;
    SharedMemory shared;
    std::vector<Warp> warps;
    Rendezvous barriers[16];
    int vote_result = 0;
    std::map<ptrdiff_t, MemoryBarrier> memory_barriers;
    bool proxy_fenced = false;
    std::vector<unsigned char> async_view;  // shared memory as the asynchronous proxy is sure to see it; empty before it sees any
    std::vector<std::vector<uint64_t>> descriptors;  // of each warpgroup's products, in order
};

// A cp.async on its way.
struct Copy {
    void* to;
    const void* from;
    bool valid;
    unsigned group;
};

// A bulk copy on its way to one block.
struct BulkCopy {
    Block* block;
    ptrdiff_t offset;
    const void* from;
    unsigned bytes;
    ptrdiff_t barrier;
    Site site;
};

struct Fiber : Place {
    Context context;
    Block* block = nullptr;
    Warp* warp = nullptr;
    unsigned rank = 0;  // in its block
    unsigned lane = 0;
    bool exited = false;
    Site site{};              // the call it waits in
    void* operand = nullptr;  // what it brought there
    std::vector<Copy> copies;
    unsigned copy_groups = 0;
    bool cluster_arrived = false;
    unsigned cluster_phase = 0;
};

class Worker {
public:
    // Runs the blocks of cluster `index`, counted along x first; false when one of them did something wrong.
    bool run(const Launch& launch, size_t index, uint64_t seed);

    const std::string& message() const { return message_; }

    // From within a fiber.
    const Launch& launch() const { return *launch_; }
    Random& random() { return random_; }
    std::vector<Block>& blocks() { return blocks_; }
    void wake(Fiber& fiber) { schedule_.add(fiber); }
    // Goes on with some fiber that can; returns when this one is chosen again.
    void yield_to_any();
    [[noreturn]] void give_up(std::string message);

    struct {
        Site site{};
        unsigned arrived = 0;
        unsigned phase = 0;
        std::vector<Fiber*> waiting;
    } cluster_barrier;
    bool waited_for_previous = false;
    // Warps with products that have yet to be worked out, one of which may be at every switch.
    std::vector<Warp*> busy;
    std::vector<BulkCopy> flying;

private:
    bool set_up(size_t index);
    void inspect_memory();
    void describe_deadlock();
    static void entry();
    void finish(Fiber& fiber);
    Fiber* choose();
    void land_one();
    void resume(Context& from, Fiber* next, bool done);

    const Launch* launch_ = nullptr;
    Random random_{0};
    Stacks stacks_;
    std::deque<Fiber> fibers_;
    std::vector<Block> blocks_;
    Schedule schedule_;
    Context scheduler_;
    size_t live_ = 0;
    std::string message_;
};

extern __thread Worker* worker;

inline Fiber& self() { return *static_cast<Fiber*>(const_cast<Place*>(place)); }

// Whether the bytes lie in one allocation of global memory.
bool in_global(const void* at, size_t bytes);

// Suspends this thread in `site` until it is woken.
void block_in(const Site& site);

// "thread 5 of block (1, 0, 0)"
std::string describe(const Fiber& fiber);
std::string describe(const Site& site);

// Registers this lane's call. True for the last of `mask`, who works for all and then calls `release`; false for the others, after that.
bool join_warp(const Site& site, unsigned mask, void* operand);
void release_warp(unsigned mask);

template <typename Work>
void together(const Site& site, unsigned mask, void* operand, Work work) {
    if (join_warp(site, mask, operand)) {
        work(self().warp->lanes);
        release_warp(mask);
    }
}

// Works out the oldest product of some warp.
void work_out_one(Warp& warp);
// What the asynchronous proxy of a block sees, for `at` to be looked up or written.
unsigned char* async_view(Block& block);
void check_products_at_exit(Fiber& fiber);

void check_exit_from_warp(Fiber& fiber);
void check_exit_from_block(Fiber& fiber);
void check_exit_from_cluster(Fiber& fiber);

// The launch before one that overlaps it: it runs when the later one first waits for it, or after it. What the later one does before that sees
// memory as it was, as it may on a device.
class Predecessor {
public:
    virtual ~Predecessor() = default;
    // Runs it if it has not run; what went wrong, or nothing.
    virtual std::string finish() = 0;
};

// Turns bad addresses in this thread's kernels into errors.
void catch_faults();

struct Kernel {
    const char* name;
    size_t argument_bytes;
    unsigned max_threads;
    void (*enter)(const void*);
};
const Kernel* find_kernel(const char* name);

}  // namespace emulation
