// Dense layers on sm_90a: what dense.cu computes, by wgmma, with weights that a cluster reads from L2 once.
//
// As in dense.cu a block makes one tile of one slice in rounds of a 1×1 into shared memory and a 3×3 from there. What is different:
//   Blocks are numbered along x, slice by slice, and C ≤ 8 neighbours are a cluster. All its blocks go through the same weights in the same
//   order, so that each fetches 1/C of every stage by a bulk copy into all of them: L2 sends the weights once per cluster instead of once
//   per block. Clusters that hold whole slices can run several layers in one launch.
//   Weights come packed as stages (`layer.stages`), in the order of use, each as it lies in shared memory, in wgmma's core matrices of 8 × 8:
//     of the 1×1, for every 128 mid channels and 32 inputs: [128 / 8][4][8][8] of conv1, 32 scales and 32 shifts of norm1     8 320 bytes
//     of the 3×3, for every 32 outputs, 128 mid channels and 16 of those: [kx][ky][32 / 8][2][8][8] of conv2                  9 216 bytes
//   Warp 8 fetches them; warps 0 to 7 are two warpgroups that multiply. Barriers of a stage: `full` counts its bytes, `empty` the warps of the
//   whole cluster that are done with it. The fetching warp is ahead of layers and rounds as far as the ring allows.
//   1. The 1×1: a warpgroup makes 64 positions × 128 channels by m64n128k16. Slab rows come by cp.async into the same stage as their weights;
//      norm1 is applied to the A fragments in registers, the next ones while the tensor cores work on the last.
//   2. The 3×3: a warpgroup makes 64 columns of R pixels × N outputs by m64nNk16; the fragments of half the rows are loaded while the products of the others run.
// Shared memory: S stages of 16 512 bytes (slab rows at 0, weights at 8 192; those of the 3×3 at 0), norm2, barriers, mid: 230 336 bytes for
// 8×64 with S = 3. Registers: the fetching warpgroup leaves most of its own to the others, which have 232: 64 sums of the 1×1, R·N / 2 of the 3×3, about 4·(R + 3) of its A fragments.
//
// DenseNet-121 at 32 × 256×256, f16, on an H200: per output pixel and SM the products take (1.25·K·128 + 36 864) / 2048 cycles, slab rows from
// L2 2.5·K bytes at about 27 bytes a cycle, weights an 8th or 4th of that. Expected: 0.11 ms for block 1, 0.09 for 2, 0.11 for 3, 0.04 for 4.
// Not measured.
//
// Order of additions and error: as in dense.cu; the tensor cores may add the 16 products of a step in another order than mma.sync does.
#include "common/target.cuh"
#include "common/bulk.cuh"
#include "common/dense.cuh"
#include "common/wgmma.cuh"

// Other targets have no such kernels at all, so that none can be launched there.
#if RADNET_WGMMA

namespace {

constexpr int WARPS = DENSE_THREADS / 32;                    // that multiply
constexpr int THREADS = DENSE_THREADS + 128;
constexpr int CONV1 = MID * 4 * 16;                          // bytes of a stage's conv1
constexpr int FIRST_BYTES = CONV1 + 2 * LINE;                // and its norm1
constexpr int FIRST_AT = CHUNK * LINE;                       // after the slab rows
constexpr int STAGE = FIRST_AT + FIRST_BYTES;
constexpr int TAP = OUTPUTS * 2 * 16;                        // bytes of one tap in a stage of the 3×3
constexpr int TAP_BYTES = 9 * TAP;
constexpr int BARRIERS = 256;
static_assert(TAP_BYTES <= STAGE, "both use the ring");

// Keeps registers that the tensor cores may still read from being reused before this place.
template <int COUNT>
DEVICE void keep(uint32_t (&a)[COUNT][4]) {
#ifndef RADNET_EMULATED
#pragma unroll
    for (int i = 0; i < COUNT; ++i) asm volatile("" ::"r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]) : "memory");
#endif
}

template <int COUNT, int N>
DEVICE float (&part(float (&sums)[COUNT], int at))[N] {
    return reinterpret_cast<float(&)[N]>(sums[at]);
}

// PARTS: whether mid may have more than 128 channels, so that the sums of the 3×3 live through the 1×1.
template <typename T, int R, int N, int STAGES, bool PARTS>
struct Block {
    const DenseArguments& args;
    unsigned char* ring;
    float* norm2;
    uint64_t* full;                                          // the stage has landed
    uint64_t* empty;                                         // the cluster is done with it
    uint64_t* layer_done;
    unsigned char* mid;
    unsigned tiles, rank, blocks;                            // tiles of a slice; this block's number in its cluster, and the cluster's blocks

    DEVICE explicit Block(const DenseArguments& arguments) : args(arguments) {
        ring = dynamic_shared();
        norm2 = reinterpret_cast<float*>(ring + STAGES * STAGE);
        full = reinterpret_cast<uint64_t*>(ring + STAGES * STAGE + NORM2);
        empty = full + STAGES;
        layer_done = empty + STAGES;
        mid = ring + STAGES * STAGE + NORM2 + BARRIERS;
        tiles = unsigned(ceil_div(args.height, args.tile_rows) * ceil_div(args.width, args.tile_columns));
        rank = cluster_rank();
        blocks = cluster_size();
    }

    DEVICE unsigned char* stage(unsigned slot) const { return ring + slot * STAGE; }
    DEVICE static int lane() { return int(threadIdx.x) & 31; }
    // The same for all lanes, as the compiler can see. Products stand on no path that some warps might not take, even where nothing comes of
    // them: the compiler would make them wait for one another.
    DEVICE static int warp() { return __shfl_sync(~0u, int(threadIdx.x) / 32, 0); }

    // Whether some slice of the cluster is to be done; its slices are in order.
    DEVICE bool cluster_works() const { return (blockIdx.x - rank) / tiles < *args.count; }
    // The same for every block of the cluster, whatever the size of its tile.
    DEVICE int chunks() const { return ceil_div(min(args.tile_rows + 2, args.height) * min(args.tile_columns + 2, args.width), CHUNK); }
    DEVICE int first_steps(const Round& round) const { return ceil_div(int(args.layer[round.layer].in_channels), 32); }
    DEVICE int tap_steps(const Round& round) const { return min(MID, args.mid - round.mid) / 16; }

    // ---- the warp that fetches ----

    unsigned fetched;                                        // stages so far

    // Fetches the next stage of weights; false when the cluster has nothing to do.
    DEVICE bool fetch(const unsigned char* from, unsigned at, unsigned bytes) {
        if (fetched == STAGES) {
            grid_dependency_wait();
            if (!cluster_works()) return false;
        }
        unsigned slot = fetched % STAGES;
        if (fetched >= STAGES) mbarrier_wait(empty + slot, (fetched / STAGES - 1) & 1);
        mbarrier_expect(full + slot, bytes);
        unsigned pieces = bytes / 16, begin = pieces * rank / blocks * 16, end = pieces * (rank + 1) / blocks * 16;
        if (begin < end) bulk_copy(stage(slot) + at + begin, from + begin, end - begin, full + slot, (1u << blocks) - 1);
        ++fetched;
        return true;
    }

    DEVICE bool fetch_round(const Round& round) {
        const DenseLayer& layer = args.layer[round.layer];
        const unsigned char* stages = args.weights + layer.stages;
        int steps = first_steps(round), parts = ceil_div(args.mid, MID);
        if (makes_mid(args, round)) {
            for (int chunk = 0; chunk < chunks(); ++chunk)
                for (int step = 0; step < steps; ++step)
                    if (!fetch(stages + size_t(round.mid / MID * steps + step) * FIRST_BYTES, FIRST_AT, FIRST_BYTES)) return false;
        }
        stages += size_t(parts * steps) * FIRST_BYTES + size_t(round.output / OUTPUTS * (args.mid / 16) + round.mid / 16) * TAP_BYTES;
        for (int step = 0; step < tap_steps(round); ++step)
            if (!fetch(stages + size_t(step) * TAP_BYTES, 0, TAP_BYTES)) return false;
        return true;
    }

    DEVICE void fetch_all() {
        fetched = 0;
        bool works = true;
        for (Round round{0, 0, 0}; works && round.layer < args.layers; round = following(args, round)) works = fetch_round(round);
        if (fetched > STAGES) return;
        // Nobody else may be waiting for these: they must land before the block ends.
        grid_dependency_wait();
        if (!cluster_works())
            for (unsigned slot = 0; slot < fetched; ++slot) mbarrier_wait(full + slot, 0);
    }

    // ---- the warps that multiply ----

    T* slab;
    bool works;                                              // whether this block's slice is to be done
    int positions;
    unsigned slot, parity;                                   // of the next stage
    float sums[R * N / 2];                                   // of the 3×3

    DEVICE static int first_column() { return warp() % (N == 32 ? 8 : 4) * 16; }
    DEVICE static int first_output() { return N == 32 ? 0 : warp() / 4 * 16; }
    DEVICE Tile tile() const { return Tile(args, recomputed(blockIdx.x) % tiles); }

    DEVICE void wait_stage() const { mbarrier_wait(full + slot, parity); }
    DEVICE void advance() {
        if (++slot == STAGES) {
            slot = 0;
            parity ^= 1;
        }
    }
    DEVICE static unsigned before(unsigned slot) { return slot == 0 ? STAGES - 1 : slot - 1; }
    // This warp is done with a stage: tells all fetching warps of the cluster.
    DEVICE void release(unsigned slot) const {
        __syncwarp();
        if (unsigned(lane()) < blocks) mbarrier_arrive_at(empty + slot, unsigned(lane()));
    }

    // The A fragments of a stage of the 1×1, norm1 applied.
    DEVICE void load_first(uint32_t (&a)[2][4], const unsigned char* stage) const {
        const uint32_t* norm1 = reinterpret_cast<const uint32_t*>(stage + FIRST_AT + CONV1) + (lane() & 3);
        const unsigned char* at = stage + line_at(warp() * 16 + (lane() & 15), lane() >> 4);
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            ldmatrix_x4(a[k], at + k * second_half(lane()));
            uint32_t scale[2] = {norm1[8 * k], norm1[8 * k + 4]};
            uint32_t shift[2] = {norm1[16 + 8 * k], norm1[16 + 8 * k + 4]};
#pragma unroll
            for (int v = 0; v < 4; ++v) a[k][v] = affine_relu2<T>(a[k][v], scale[v / 2], shift[v / 2]);
        }
    }

    struct Walk {
        int step, position, left;                            // of the chunk's inputs; the chunk's first position; stages left in all
        FirstLoader<T> loader;
    };

    // One stage of the 1×1. `a` takes its fragments, while the products of `last` may still be running.
    DEVICE void first_step(const Round& round, Walk& walk, float (&first)[64], uint32_t (&a)[2][4], uint32_t (&last)[2][4], bool running) {
        cp_async_wait<STAGES - 2>();
        wait_stage();
        partial_barrier(1, DENSE_THREADS);
        if (walk.left >= STAGES && works) walk.loader.slab(stage(before(slot)), args, round, recomputed(blockIdx.x) % tiles, slab);
        cp_async_commit();
        load_first(a, stage(slot));
        if (running) {
            wgmma_wait<0>(first);
            keep(last);
            release(before(slot));
        }
        uint64_t conv1 = wgmma_descriptor(stage(slot) + FIRST_AT, Swizzle::none, 128, 512);
        wgmma_fence(first);
        wgmma_m64k16<T, 128>(first, a[0], conv1, walk.step != 0);
        wgmma_m64k16<T, 128>(first, a[1], conv1 + 16);
        wgmma_commit();
        --walk.left;
        if (++walk.step == first_steps(round)) {
            wgmma_wait<0>(first);
            keep(a);
            store_mid<T, 64>(first, mid, norm2, tile(), walk.position + warp() * 16, 0);
            walk.step = 0;
            walk.position += CHUNK;
        }
    }

    DEVICE void make_mid(const Round& round) {
        Walk walk{0, 0, first_steps(round) * chunks(), {}};
        walk.loader.begin();
        fetch_norm2(norm2, args, round);
        unsigned to = slot;
        for (int i = 0; i < STAGES - 1; ++i) {
            if (i < walk.left && works) walk.loader.slab(stage(to), args, round, recomputed(blockIdx.x) % tiles, slab);
            cp_async_commit();
            to = to + 1 == STAGES ? 0 : to + 1;
        }
        float first[64];
        uint32_t even[2][4], odd[2][4];
        bool running = false;
#pragma unroll 1
        while (walk.left > 0) {
            first_step(round, walk, first, even, odd, running);
            running = true;
            advance();
            if (walk.left == 0) break;
            first_step(round, walk, first, odd, even, true);
            advance();
        }
        release(before(slot));
    }

    // A stage of the 3×3 goes in six turns: for each kx, the upper and the lower half of the R + 2 rows.
    static constexpr int TURN = (R + 3) / 2;

    DEVICE void tap_step(const unsigned char* start, int pitch) {
        uint32_t a[2][TURN][4];
        wait_stage();
        uint64_t weights = wgmma_descriptor(stage(slot) + first_output() * 32, Swizzle::none, 128, 256);
#pragma unroll
        for (int turn = 0; turn < 6; ++turn) {
            int kx = turn / 2, begin = turn % 2 * TURN;
            wgmma_wait<1>(sums);
            if (turn >= 2) keep(a[turn % 2]);
#pragma unroll
            for (int i = 0; i < TURN; ++i)
                if (begin + i < R + 2) ldmatrix_x4(a[turn % 2][i], start + ((begin + i) * pitch + kx) * PITCH<T>);
            wgmma_fence(sums);
#pragma unroll
            for (int i = 0; i < TURN; ++i)
#pragma unroll
                for (int ky = 0; ky < 3; ++ky) {
                    int row = begin + i - ky;
                    if (row >= 0 && row < R)
                        wgmma_m64k16<T, N>(part<R * N / 2, N / 2>(sums, row * N / 2), a[turn % 2][i], weights + (kx * 3 + ky) * (TAP / 16));
                }
            wgmma_commit();
        }
        // The loop begins with nothing in flight that it would have to keep.
        wgmma_wait<0>(sums);
        keep(a[0]);
        keep(a[1]);
        release(slot);
        advance();
    }

    DEVICE void add_taps(const Round& round) {
        Tile at = tile();
        const unsigned char* start = column_start<T, R>(mid, at, first_column());
        if (!PARTS) {
            clear_sums();
            wgmma_wait<0>(sums);
        }
        partial_barrier(1, DENSE_THREADS);
#pragma unroll 1
        for (int step = 0; step < tap_steps(round); ++step) tap_step(start + step * 32, at.pitch);
        wgmma_wait<0>(sums);
    }

    DEVICE void clear_sums() {
#pragma unroll
        for (int i = 0; i < R * N / 2; ++i) sums[i] = 0.0f;
    }

    DEVICE void multiply_all() {
        unsigned slice = blockIdx.x / tiles;
        slab = static_cast<T*>(args.slab) + size_t(slice) * args.height * args.width * args.stride;
        clear_border<T>(mid, tile(), round_up(args.tile_rows, R) + 2);
        fence_proxy_async();
        grid_dependency_wait();
        if (!cluster_works()) return;
        works = slice < *args.count;
        positions = works ? tile().positions() : 0;
        slot = parity = 0;
        if (PARTS) clear_sums();
        Round round{0, 0, 0};
        while (true) {
            if (makes_mid(args, round)) make_mid(round);
            add_taps(round);
            Round next = following(args, round);
            if (next.layer == args.layers) grid_dependency_launch();
            if ((!PARTS || next.mid == 0) && works) {
                store_outputs<T, R, N>(sums, slab, args, tile(), round, first_column(), first_output());
            }
            if (PARTS && next.mid == 0) clear_sums();
            if (next.layer == args.layers) return;
            if (next.layer != round.layer) layer_barrier(round.layer);
            partial_barrier(1, DENSE_THREADS);
            round = next;
        }
    }

    // The new channels of the cluster's slices are there.
    DEVICE void layer_barrier(int layer) const {
        __syncwarp();
        if (unsigned(lane()) < blocks) mbarrier_arrive_at(layer_done, unsigned(lane()));
        mbarrier_wait(layer_done, layer & 1);
    }

    DEVICE void run() {
        if (threadIdx.x == 0) {
            for (int i = 0; i < STAGES; ++i) {
                mbarrier_init(full + i, 1);
                mbarrier_init(empty + i, WARPS * blocks);
            }
            mbarrier_init(layer_done, WARPS * blocks);
            mbarrier_init_fence();
        }
        cluster_sync();
        if (warp() < WARPS) {
            more_registers<232>();
            multiply_all();
        } else {
            fewer_registers<40>();
            if (threadIdx.x == DENSE_THREADS) fetch_all();
        }
        __syncwarp();
        cluster_sync();
    }
};

}  // namespace

#define DENSE(name, T, R, N, stages, parts) \
    KERNEL(name, DenseArguments, THREADS, 1) { Block<T, R, N, stages, parts>(args).run(); }

DENSE(dense_sm90_r4n32_f16, f16, 4, 32, 3, false)
DENSE(dense_sm90_r2n32_f16, f16, 2, 32, 4, true)
DENSE(dense_sm90_r1n32_f16, f16, 1, 32, 6, true)
DENSE(dense_sm90_r1n16_f16, f16, 1, 16, 6, true)
DENSE(dense_sm90_r4n32_bf16, bf16, 4, 32, 3, false)
DENSE(dense_sm90_r2n32_bf16, bf16, 2, 32, 4, true)
DENSE(dense_sm90_r1n32_bf16, bf16, 1, 32, 6, true)
DENSE(dense_sm90_r1n16_bf16, bf16, 1, 16, 6, true)

#endif
