// wgmma: products that land when they are waited for. Each warp multiplies its sixteen rows on its own, so that nothing but the kernel's own
// barriers orders it after the warps that wrote b. The accumulators are poison from the product to the wait; b is read at some switch between
// the two, which the seed chooses, and what the threads wrote of it since the last fence of the block is a NaN; a is taken at once, since the
// compiler of a device guards those registers.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>

#include "runtime.h"

namespace emulation {

namespace {

constexpr unsigned ROWS = 16, DEPTH = 16, MAX_N = 128;
constexpr uint32_t POISONED = 0xffffffff;

// The accumulators of a warp while products on them are in flight.
struct Accumulators {
    float* places[32];
    unsigned n;
    float sums[ROWS][MAX_N];
    unsigned in_flight;
};

struct Product {
    Site site;
    std::shared_ptr<Accumulators> accumulators;
    float a[ROWS][DEPTH];
    uint64_t b;
    bool is_f16;
    bool accumulate;
    unsigned group;
    bool lazy;  // not before it is waited for
    bool done;
};

// What a lane brings.
struct Operands {
    float* d;
    const uint32_t* a;
    uint64_t b;
};

float element(uint16_t bits, bool is_f16) { return is_f16 ? f16_to_float(bits) : bf16_to_float(bits); }

// Where element (n, k) of b is, in bytes from the start of shared memory.
uint32_t offset_of(uint64_t descriptor, unsigned n, unsigned k) {
    uint32_t start = uint32_t(descriptor & 0x3fff) << 4, leading = uint32_t(descriptor >> 16 & 0x3fff) << 4, stride = uint32_t(descriptor >> 32 & 0x3fff) << 4;
    if (descriptor >> 62 == 0) return start + n / 8 * stride + k / 8 * leading + n % 8 * 16 + k % 8 * 2;
    uint32_t at = start + n / 8 * stride + n % 8 * 128 + k * 2;
    return at ^ (at >> 3 & 0x70);
}

// The accumulator of row r and column c: which lane's, and which of its registers.
unsigned lane_of(unsigned row, unsigned column) { return row % 8 * 4 + column % 8 / 2; }
unsigned register_of(unsigned row, unsigned column) { return column / 8 * 4 + row / 8 * 2 + column % 2; }

}  // namespace

// The products of one warp, oldest first.
class Products {
public:
    std::deque<Product> queue;
    unsigned committed = 0;
    bool fenced = false;
    size_t issued = 0;

    std::shared_ptr<Accumulators> accumulators(Fiber** lanes, unsigned n, const Site& site) {
        float* first = static_cast<Operands*>(lanes[0]->operand)->d;
        for (auto product = queue.rbegin(); product != queue.rend(); ++product) {
            if (product->accumulators->places[0] != first) continue;
            if (product->accumulators->n != n) fail(site, "the accumulators are used by a product of %u columns in flight", product->accumulators->n);
            return product->accumulators;
        }
        auto fresh = std::make_shared<Accumulators>();
        fresh->n = n;
        fresh->in_flight = 0;
        for (unsigned lane = 0; lane < 32; lane++) fresh->places[lane] = static_cast<Operands*>(lanes[lane]->operand)->d;
        for (unsigned row = 0; row < ROWS; row++) {
            for (unsigned column = 0; column < n; column++) fresh->sums[row][column] = fresh->places[lane_of(row, column)][register_of(row, column)];
        }
        for (float* place : fresh->places) std::memset(place, 0xff, n / 2 * sizeof(float));
        return fresh;
    }

    void work_out(Product& product, Block& block) {
        Accumulators& d = *product.accumulators;
        const unsigned char* seen = async_view(block);
        float b[DEPTH][MAX_N];
        for (unsigned n = 0; n < d.n; n++) {
            for (unsigned k = 0; k < DEPTH; k++) {
                uint32_t at = offset_of(product.b, n, k);
                uint16_t bits, sure;
                std::memcpy(&bits, block.shared.base() + at, 2);
                std::memcpy(&sure, seen + at, 2);
                b[k][n] = bits == sure ? element(bits, product.is_f16) : NAN;
            }
        }
        for (unsigned row = 0; row < ROWS; row++) {
            double sums[MAX_N] = {};
            for (unsigned k = 0; k < DEPTH; k++) {
                for (unsigned n = 0; n < d.n; n++) sums[n] += double(product.a[row][k]) * double(b[k][n]);
            }
            for (unsigned n = 0; n < d.n; n++) d.sums[row][n] = float(sums[n] + (product.accumulate ? double(d.sums[row][n]) : 0.0));
        }
        product.done = true;
    }

    // Lets the oldest product's accumulators land if it was the last on them.
    void land(Fiber& fiber) {
        Product& product = queue.front();
        if (!product.done) work_out(product, *fiber.block);
        Accumulators& d = *product.accumulators;
        d.in_flight -= 1;
        if (d.in_flight == 0) {
            for (unsigned row = 0; row < ROWS; row++) {
                for (unsigned column = 0; column < d.n; column++) {
                    float* place = d.places[lane_of(row, column)] + register_of(row, column);
                    if (bits_of(*place) != POISONED) fail(product.site, "the accumulators were written before the product was waited for");
                    *place = d.sums[row][column];
                }
            }
        }
        queue.pop_front();
    }
};

Warp::Warp() = default;
Warp::~Warp() = default;

namespace {

Products& products(const Site& site) {
    if (!worker->launch().hopper) fail(site, "needs compute capability 9.0");
    Warp& warp = *self().warp;
    if ((self().rank / 128 + 1) * 128 > self().block->threads) fail(site, "the block of %u threads ends within this warpgroup", self().block->threads);
    if (!warp.products) warp.products = std::make_unique<Products>();
    return *warp.products;
}

// The warps of a warpgroup must multiply by the same b in the same order.
void check_against_warpgroup(Products& mine, uint64_t b, const Site& site) {
    auto& issued = self().block->descriptors[self().rank / 128];
    if (mine.issued == issued.size()) {
        issued.push_back(b);
    } else if (issued[mine.issued] != b) {
        fail(site, "the warps of the warpgroup multiply by different b: descriptors %#llx and %#llx", (unsigned long long)b, (unsigned long long)issued[mine.issued]);
    }
    mine.issued += 1;
}

void check_b(uint64_t b, unsigned n, const Site& site) {
    if (b >> 62 > 1) fail(site, "the emulation knows descriptors without a swizzle and with that of 128 bytes, and no other");
    const SharedMemory& shared = self().block->shared;
    for (unsigned row = 0; row < n; row++) {
        for (unsigned k = 0; k < DEPTH; k += 8) {
            uint32_t at = offset_of(b, row, k);
            if (!shared.contains(shared.base() + at, 16)) fail(site, "b reaches to byte %u of %zu of shared memory", at + 16, shared.bytes());
        }
    }
}

}  // namespace

void work_out_one(Warp& warp) {
    for (Product& product : warp.products->queue) {
        if (product.done) continue;
        if (product.lazy) return;  // those after it come after it
        warp.products->work_out(product, *warp.lanes[0]->block);
        return;
    }
    auto& busy = worker->busy;
    busy.erase(std::find(busy.begin(), busy.end(), &warp));
}

uint32_t shared_offset(const void* shared, const Site& site) {
    const SharedMemory& mine = self().block->shared;
    if (!mine.contains(shared, 0)) fail(site, "the address is not in this block's shared memory");
    auto offset = uint32_t(static_cast<const unsigned char*>(shared) - mine.base());
    if (offset % 16 != 0) fail(site, "byte %u of shared memory is no multiple of 16", offset);
    return offset;
}

unsigned char* async_view(Block& block) {
    if (block.async_view.empty()) block.async_view.assign(block.shared.bytes(), POISON);
    return block.async_view.data();
}

// Of all threads' writes, since they are not told apart: one that comes after it, or without any, is found.
void fence_proxy_async() {
    Block& block = *self().block;
    block.async_view.assign(block.shared.base(), block.shared.base() + block.shared.bytes());
    block.proxy_fenced = true;
}

void wgmma_fence(const Site& site) {
    Products& mine = products(site);
    together(site, ~0u, nullptr, [&](Fiber**) { mine.fenced = true; });
}

void wgmma_commit(const Site& site) {
    Products& mine = products(site);
    together(site, ~0u, nullptr, [&](Fiber**) {
        mine.committed += 1;
        mine.fenced = false;
    });
}

void wgmma_wait(unsigned pending, const Site& site) {
    Products& mine = products(site);
    together(site, ~0u, nullptr, [&](Fiber**) {
        while (!mine.queue.empty() && mine.queue.front().group + pending < mine.committed) mine.land(self());
    });
}

void wgmma_m64k16(float* d, const uint32_t* a, uint64_t b, unsigned n, bool is_f16, bool accumulate, const Site& site) {
    Products& mine = products(site);
    if (!mine.fenced) fail(site, "no wgmma_fence since the last group");
    if (!self().block->proxy_fenced) fail(site, "no thread of the block has called fence_proxy_async");
    Operands operands{d, a, b};
    together(site, ~0u, &operands, [&](Fiber** lanes) {
        check_against_warpgroup(mine, b, site);
        check_b(b, n, site);
        Product product{site, mine.accumulators(lanes, n, site), {}, b, is_f16, accumulate, mine.committed, worker->random().below(3) == 0, false};
        product.accumulators->in_flight += 1;
        for (unsigned lane = 0; lane < 32; lane++) {
            const auto& own = *static_cast<Operands*>(lanes[lane]->operand);
            if (own.b != b) fail(site, "lane %u has another descriptor", lane);
            unsigned g = lane / 4, t = lane % 4;
            for (unsigned i = 0; i < 4; i++) {
                for (unsigned half = 0; half < 2; half++) {
                    product.a[g + 8 * (i % 2)][8 * (i / 2) + 2 * t + half] = element(uint16_t(own.a[i] >> 16 * half), is_f16);
                }
            }
        }
        mine.queue.push_back(std::move(product));
        auto& busy = worker->busy;
        if (std::find(busy.begin(), busy.end(), self().warp) == busy.end()) busy.push_back(self().warp);
    });
}

void check_products_at_exit(Fiber& fiber) {
    const auto& products = fiber.warp->products;
    if (products && !products->queue.empty()) fail(products->queue.front().site, "this thread exits, while the product has not been waited for");
}

}  // namespace emulation
