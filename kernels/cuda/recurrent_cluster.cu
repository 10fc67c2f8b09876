// LSTM and GRU as in recurrent.cu, with W_hh held on the chip for the whole scan: a cluster of blocks a direction. sm_90 and later.
//
// Layout: W_hh of T in tiles of 16 rows = 4 units × 4 gates (GRU's fourth is zero), [directions][blocks][tiles][fragments][32 lanes][4 pairs]:
//   fragments of mma m16n8k16 as the lanes hold them. Row g of a tile is gate 2·(g mod 2) of unit g/2, row g + 8 the next gate. The inputs
//   of two fragments are ordered so that a lane's eight lie together in h: lane 4g + t has inputs 32·pair + 8t + (0..8).
//   h lies in the shared memory of every block of the cluster, twice, in parts of T whose sum keeps float32's digits (2 of f16, 3 of bf16):
//   one column of the product each, so that the parts cost no further tensor operation. Its inputs are padded by zeros to 256 at least, so
//   that the fragments in registers need no test. Sums and state are float32.
// Tile: a warp has one tile (or two), with the first 16 fragments of the first in 64 registers and the rest in shared memory. 256 units: 8
//   blocks of 8 warps, all of W_hh in registers, 4 KB of shared memory. 512 units: 196 KB.
// Step: 16 tensor operations in four chains, gates exchanged between two lanes, h of the tile sent to all blocks by one store of 8 bytes a
//   lane, one cluster barrier (h is double-buffered). The next projections are loaded a step ahead.
// Roof: latency. Predicted for an H200: 0.7 µs a slice (1,200 clocks): 130 for the chains of tensor operations, 300 for gates and state, the
//   rest for stores to the other blocks and the barrier, whose release is a fence of the whole device.
// Order: four chains of fragments, added in order, then the parts from the smallest: it depends on `hidden` alone.
//   Error of a gate: γ of tensor sums over hidden + 16 terms, h off by 2^-22 (f16, and 2^-25 at least) or 2^-24 (bf16) of itself.

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"
#include "common/math.cuh"
#include "common/recurrent.cuh"

#if RADNET_ARCH >= 900

namespace {

constexpr unsigned RESIDENT = 16;   // fragments in registers
constexpr unsigned WARP_TILES = 2;  // tiles of a warp, at most
constexpr unsigned CHAINS = 4;
constexpr unsigned FRAGMENT = 128;  // 32-bit words

template <typename T>
constexpr unsigned PARTS = 3;
template <>
constexpr unsigned PARTS<f16> = 2;

// d += the fragments a0 and a1 times `h`, this lane's eight inputs of its column.
template <typename T>
DEVICE void multiply_pair(float (&d)[CHAINS][4], unsigned pair, const uint32_t (&a0)[4], const uint32_t (&a1)[4], const T* h) {
    uint4 column = *reinterpret_cast<const uint4*>(h + 32 * pair);
    uint32_t b0[2] = {column.x, column.y}, b1[2] = {column.z, column.w};
    if (pair % 2 == 0) {
        mma_m16n8k16<T>(d[0], a0, b0);
        mma_m16n8k16<T>(d[1], a1, b1);
    } else {
        mma_m16n8k16<T>(d[2], a0, b0);
        mma_m16n8k16<T>(d[3], a1, b1);
    }
}

DEVICE void fragment(uint32_t (&a)[4], const uint32_t* from) {
    uint4 raw = *reinterpret_cast<const uint4*>(from);
    a[0] = raw.x, a[1] = raw.y, a[2] = raw.z, a[3] = raw.w;
}

// The pairs of fragments from `first` on that lie in shared memory.
template <typename T>
DEVICE void multiply_shared(float (&d)[CHAINS][4], unsigned first, unsigned pairs, const uint32_t* fragments, const T* h) {
    for (unsigned pair = first; pair < pairs; ++pair, fragments += 2 * FRAGMENT) {
        uint32_t a0[4], a1[4];
        fragment(a0, fragments);
        fragment(a1, fragments + FRAGMENT);
        multiply_pair<T>(d, pair, a0, a1, h);
    }
}

// The sums of rows g and g + 8 over chains and parts, in the lanes with t = 0: the parts are columns 0, 1 (of lane t = 0) and 2 (t = 1).
template <typename T>
DEVICE void add_up(float (&sums)[2], const float (&d)[CHAINS][4]) {
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
        float high = (d[0][2 * row] + d[1][2 * row]) + (d[2][2 * row] + d[3][2 * row]);
        float low = (d[0][2 * row + 1] + d[1][2 * row + 1]) + (d[2][2 * row + 1] + d[3][2 * row + 1]);
        if (PARTS<T> == 3) low += __shfl_down_sync(~0u, high, 1);
        sums[row] = high + low;
    }
}

// Sends h of a tile's four units, held by the lanes 8·unit, to every block: lane 8·p + r sends part p to block r. A part is what T keeps of
// what the parts before it left.
template <typename T>
DEVICE void broadcast(float h, T* next, unsigned inputs, unsigned blocks) {
    unsigned lane = threadIdx.x % 32, index = lane / 8, block = lane % 8;
    T first = from_float<T>(h);
    float rest = h - to_float(first);
    T second = from_float<T>(rest);
    uint32_t both = uint32_t(first.bits) | uint32_t(second.bits) << 16;
    uint32_t third = PARTS<T> == 3 ? from_float<T>(rest - to_float(second)).bits : 0;
    uint32_t parts[4];
#pragma unroll
    for (unsigned unit = 0; unit < 4; ++unit) {
        parts[unit] = __shfl_sync(~0u, both, 8 * unit) >> (index == 1 ? 16 : 0);
        if (PARTS<T> == 3) {
            uint32_t of_third = __shfl_sync(~0u, third, 8 * unit);
            if (index == 2) parts[unit] = of_third;
        }
    }
    if (index >= PARTS<T> || block >= blocks) return;
    uint2 packed = make_uint2((parts[0] & 0xffff) | parts[1] << 16, (parts[2] & 0xffff) | parts[3] << 16);
    *reinterpret_cast<uint2*>(cluster_shared(next + index * inputs, block)) = packed;
}

template <typename T>
DEVICE void recurrent_cluster(const RecurrentArguments& args) {
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    unsigned g = lane / 4, t = lane % 4;
    unsigned rank = cluster_rank(), blocks = cluster_size(), direction = blockIdx.x / blocks;
    unsigned hidden = args.hidden, fragments = args.fragments, inputs = 16 * max(fragments, RESIDENT);
    bool lstm = args.gates == 4;

    // The weights, before anything that another kernel wrote.
    unsigned kept = min(fragments, RESIDENT), moved = args.tiles * fragments - warps * kept;
    uint32_t* shared = reinterpret_cast<uint32_t*>(dynamic_shared());
    const uint32_t* weights = static_cast<const uint32_t*>(args.weights) + size_t(blockIdx.x) * args.tiles * fragments * FRAGMENT + 4 * lane;
    uint32_t resident[RESIDENT][4];
#pragma unroll
    for (unsigned i = 0; i < RESIDENT; ++i) {
        uint4 raw = i < kept ? load16(weights + (size_t(warp) * fragments + i) * FRAGMENT) : make_uint4(0, 0, 0, 0);
        resident[i][0] = raw.x, resident[i][1] = raw.y, resident[i][2] = raw.z, resident[i][3] = raw.w;
    }
    const uint32_t* rest[WARP_TILES];  // this lane's fragments in shared memory
#pragma unroll
    for (unsigned j = 0; j < WARP_TILES; ++j) {
        unsigned tile = warp + j * warps, from = j == 0 ? kept : 0;
        unsigned at = j == 0 ? warp * (fragments - kept) : warps * (fragments - kept) + warp * fragments;
        rest[j] = shared + at * FRAGMENT + 4 * lane;
        if (tile >= args.tiles) continue;
        for (unsigned i = from; i < fragments; ++i) {
            cp_async16(shared + (at + i - from) * FRAGMENT + 4 * lane, weights + (size_t(tile) * fragments + i) * FRAGMENT, true);
        }
    }
    cp_async_commit();
    T* state = reinterpret_cast<T*>(shared + moved * FRAGMENT);
    for (unsigned i = threadIdx.x; i < 2 * PARTS<T> * inputs; i += blockDim.x) state[i] = T{0};
    cp_async_wait<0>();
    grid_dependency_wait();
    unsigned slices = min(*args.count, args.capacity);
    cluster_sync();

    // Unit and first gate of this lane's rows, by tile.
    unsigned gate = 2 * (g % 2);
    float x[WARP_TILES][2] = {}, cell[WARP_TILES] = {}, h[WARP_TILES] = {}, bias[WARP_TILES] = {};
    auto unit_of = [&](unsigned j) { return (rank * args.tiles + warp + j * warps) * 4 + g / 2; };
    auto real = [&](unsigned j) { return t == 0 && warp + j * warps < args.tiles && unit_of(j) < hidden; };
    auto load_projections = [&](unsigned step) {
        unsigned slice = direction == 0 ? step : slices - 1 - step;
        const float* from = args.projections + (size_t(slice) * args.directions + direction) * args.gates * hidden;
#pragma unroll
        for (unsigned j = 0; j < WARP_TILES; ++j) {
            if (!real(j)) continue;
            x[j][0] = from[gate * hidden + unit_of(j)];
            if (gate + 1 < args.gates) x[j][1] = from[(gate + 1) * hidden + unit_of(j)];
        }
    };
#pragma unroll
    for (unsigned j = 0; j < WARP_TILES; ++j) {
        if (!lstm && real(j) && gate == 2) bias[j] = args.bias[direction * hidden + unit_of(j)];
    }
    if (slices > 0) load_projections(0);

    for (unsigned step = 0; step < slices; ++step) {
        // This lane's part and inputs of h. Columns beyond the parts are nobody's, whatever is in them.
        const T* now = state + (step % 2 * PARTS<T> + min(g, PARTS<T> - 1)) * inputs + 8 * t;
        T* next = state + (step + 1) % 2 * PARTS<T> * inputs;
        float current[WARP_TILES][2];
#pragma unroll
        for (unsigned j = 0; j < WARP_TILES; ++j) current[j][0] = x[j][0], current[j][1] = x[j][1];
        if (step + 1 < slices) load_projections(step + 1);
#pragma unroll
        for (unsigned j = 0; j < WARP_TILES; ++j) {
            unsigned tile = warp + j * warps;
            if (tile >= args.tiles) break;
            float d[CHAINS][4] = {}, sums[2];
            if (j == 0) {
#pragma unroll
                for (unsigned pair = 0; pair < RESIDENT / 2; ++pair) multiply_pair<T>(d, pair, resident[2 * pair], resident[2 * pair + 1], now);
            }
            multiply_shared<T>(d, j == 0 ? kept / 2 : 0, fragments / 2, rest[j], now);
            add_up<T>(sums, d);
            // The even lane of a unit has i and f (r and z), the odd one g and o (n).
            float a = tanh_or_sigmoid_f32(sums[0] + current[j][0], gate != 0), b = sigmoid_f32(sums[1] + current[j][1]);
            if (!lstm && gate != 0) {
                a = sums[0] + bias[j];
                b = current[j][0];
            }
            float third = __shfl_xor_sync(~0u, a, 4), fourth = __shfl_xor_sync(~0u, b, 4);
            h[j] = lstm ? lstm_update(a, b, third, fourth, cell[j]) : gru_update(a, b, third, fourth, h[j]);
            unsigned first = (rank * args.tiles + tile) * 4;
            if (first < inputs) broadcast<T>(h[j], next + first, inputs, blocks);
        }
        cluster_arrive();
        unsigned slice = direction == 0 ? step : slices - 1 - step;
        float* outputs = args.outputs + (size_t(slice) * args.directions + direction) * hidden;
#pragma unroll
        for (unsigned j = 0; j < WARP_TILES; ++j) {
            if (real(j) && gate == 0) outputs[unit_of(j)] = h[j];
        }
        cluster_wait();
    }
    grid_dependency_launch();
}

}  // namespace

KERNEL(recurrent_cluster_f16, RecurrentArguments, 256, 1) { recurrent_cluster<f16>(args); }
KERNEL(recurrent_cluster_bf16, RecurrentArguments, 256, 1) { recurrent_cluster<bf16>(args); }

#endif
