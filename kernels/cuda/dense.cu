// Dense layers: norm1·ReLU·1×1 → norm2·ReLU·3×3, appended to the block's slab in place.
//
// For every pixel p of a slice, with x the slab's first K channels, m = `mid` and g = `growth` channels:
//   mid[p][i]  = relu(scale2[i] · Σ_k conv1[i][k] · relu(scale1[k] · x[p][k] + shift1[k]) + shift2[i])     0 outside the map
//   out[p][n]  = Σ_tap Σ_i conv2[tap][n][i] · mid[p + tap][i]                                             tap = 3·ky + kx, offsets −1 to 1
//
// Layouts (T = f16, bf16 or float; all channel counts multiples of 16, padding 0):
//   slab [slices][height·width][stride] of T: the layer reads channels 0..K and writes out_offset..out_offset + g, which do not overlap.
//   norm1 [2][K] of T (scale, shift) · conv1 [m][K] of T · norm2 [2][m] of float · conv2 [9][g][m] of T, at byte offsets of `weights`.
//
// A block of 256 threads makes one tile of one slice (grid: tiles × slices), for one layer or, where the tiles of a slice are one cluster
// or one block, for several with a barrier between them. It goes in rounds of up to 128 mid channels and 32 outputs:
//   1. The 1×1, over the positions of the tile and a border of one that lie in the map, 128 positions a chunk. Slab rows (raw) and conv1 come
//      through a ring of three stages, 32 channels (64 bytes) of 128 rows each; norm1 is applied to the A fragments in registers, norm2 to the
//      sums; the results go to shared memory as T, [positions with border][128 + 16 bytes], the part outside the map being zero.
//   2. The 3×3, as nine products with shifted rows of that. conv2 comes through the same ring, 16 channels of all taps at a time. A warp owns
//      16 columns of R pixels and N outputs: an A fragment (16 columns, one row, one kx) is read once and meets the three ky, for three rows
//      of sums, so that shared memory is read R + 2 times instead of 3·R.
//   Both keep the ring filled across chunks and from the first to the second.
// Shared memory: ring 49 536 bytes, norm2 1 024, mid (rows rounded up to R + 2)·(columns + 2)·272 (f16): 230 080 bytes for 8×64, of 232 448.
// Registers: 64 sums of the 1×1 and R·N / 2 of the 3×3, which live through the 1×1 where mid is more than 128.
//
// DenseNet-121 at 32 × 256×256, f16: 237 GFLOP in all, of which these layers do 201; the slabs are read about 1.25 times (borders) from L2,
// which holds them. Products: 8×64 tiles of 64×64 maps spend 1.25 of the 1×1's minimum; at mma.sync's share of the tensor cores' rate (an
// H200's wgmma does about half as much again) the model of kernels/src/cuda/dense/tile.rs expects 0.25 ms for block 1, 0.15 for 2, 0.2 for
// 3 and 0.1 for 4. It is bound by products and by L2 (conv1 is read once per 128 positions), not by memory. Not measured.
//
// Order of additions: k ascending in steps of the tensor core's 16 (f32: one by one); for the 3×3, blocks of 16 channels (f32: 8), in
// each kx, then ky, so the same for every tile, split, grid and count. Error: γ of K (+1 for norm2's FMA) and 9·m terms over Σ|a||b|, and one
// rounding to T of norm1's result, of mid and of out each.
#include "common/target.cuh"
#include "common/dense.cuh"
#include "common/mma.cuh"

namespace {

constexpr int STAGES = 3;
constexpr int STAGE = (CHUNK + MID) * LINE + 2 * LINE;       // slab rows, conv1 rows, norm1's scale and shift
constexpr int TAP_LINE = 32;                                 // bytes of a row in a stage of the 3×3
constexpr int TAP_STAGES = 4;
constexpr int TAP_STAGE = 9 * OUTPUTS * TAP_LINE;
constexpr int RING = STAGES * STAGE;
static_assert(TAP_STAGES * TAP_STAGE <= RING, "both use the ring");
// The last stage of the 1×1 is the last of the ring, so that the first stages of the 3×3 can be fetched beside it.
static_assert((TAP_STAGES - 1) * TAP_STAGE <= (STAGES - 1) * STAGE, "the 3×3 begins while the 1×1 ends");

// Where 16-byte piece `piece` of row `row` of a stage of the 3×3 lies: eight consecutive rows are read without bank conflicts.
DEVICE int tap_line_at(int row, int piece) { return row * TAP_LINE + ((piece ^ (row >> 2 & 1)) << 4); }

// ---- the 1×1 ----

// Fetches conv1 and norm1 of step `at`.
template <typename T>
DEVICE void fetch_weights(unsigned char* stage, const DenseArguments& args, const Round& round, int at) {
    const DenseLayer& layer = args.layer[round.layer];
    int channels = int(layer.in_channels), piece = int(threadIdx.x) % 4, k = (at * 4 + piece) * PIECE<T>;
    const T* conv1 = reinterpret_cast<const T*>(args.weights + layer.conv1);
#pragma unroll
    for (int i = 0; i < MID; i += 64) {
        int row = int(threadIdx.x) / 4 + i, n = round.mid + row;
        bool exists = n < args.mid && k < channels;
        cp_async16(stage + CHUNK * LINE + line_at(row, piece), conv1 + (exists ? size_t(n) * channels + k : 0), exists);
    }
    if (threadIdx.x < 8) {
        const T* norm1 = reinterpret_cast<const T*>(args.weights + layer.norm1);
        bool exists = k < channels;
        cp_async16(stage + (CHUNK + MID) * LINE + int(threadIdx.x) * 16, norm1 + (exists ? k + (threadIdx.x < 4 ? 0 : channels) : 0), exists);
    }
}

// The sums of a chunk. On tensor cores a warp makes 32 positions × 64 channels.
template <typename T>
struct First {
    float sums[2][8][4];

    DEVICE static int lane() { return int(threadIdx.x) & 31; }
    DEVICE static int first_row() { return (int(threadIdx.x) >> 6) * 32; }
    DEVICE static int first_channel() { return (int(threadIdx.x) >> 5 & 1) * 64; }

    DEVICE void clear() {
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j)
#pragma unroll
                for (int v = 0; v < 4; ++v) sums[i][j][v] = 0.0f;
    }

    // Adds a stage's products; `left` input channels are left, `rows` positions and `channels` mid channels exist.
    DEVICE void add(const unsigned char* stage, int left, int rows, int channels) {
        if (first_row() >= rows || first_channel() >= channels) return;
        const uint32_t* norm1 = reinterpret_cast<const uint32_t*>(stage + (CHUNK + MID) * LINE) + (lane() & 3);
        const unsigned char* a_at = stage + line_at(first_row() + (lane() & 15), lane() >> 4);
        const unsigned char* b_at = stage + CHUNK * LINE + line_at(first_channel() + (lane() >> 4) * 8 + (lane() & 7), lane() >> 3 & 1);
        int other = second_half(lane());
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            if (k * 16 >= left) break;
            uint32_t a[2][4];
            uint32_t scale[2] = {norm1[8 * k], norm1[8 * k + 4]};
            uint32_t shift[2] = {norm1[16 + 8 * k], norm1[16 + 8 * k + 4]};
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                ldmatrix_x4(a[i], a_at + k * other + 16 * i * LINE);
#pragma unroll
                for (int v = 0; v < 4; ++v) a[i][v] = affine_relu2<T>(a[i][v], scale[v / 2], shift[v / 2]);
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                uint32_t b[4];
                ldmatrix_x4(b, b_at + k * other + 16 * j * LINE);
                uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    mma_m16n8k16<T>(sums[i][2 * j], a[i], low);
                    mma_m16n8k16<T>(sums[i][2 * j + 1], a[i], high);
                }
            }
        }
    }

    // norm2 and ReLU, to mid; `first` is the chunk's first position.
    DEVICE void store(unsigned char* mid, const float* norm2, const Tile& tile, int first) const {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            store_mid<T, 32>(&sums[i][0][0], mid, norm2, tile, first + first_row() + 16 * i, first_channel());
        }
    }
};

// Float32: a thread makes positions t / 16 + 16·i × channels t mod 16 + 16·j.
template <>
struct First<float> {
    float sums[8][8];

    DEVICE static int first_row() { return int(threadIdx.x) / 16; }
    DEVICE static int first_channel() { return int(threadIdx.x) % 16; }

    DEVICE void clear() {
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) sums[i][j] = 0.0f;
    }

    DEVICE void add(const unsigned char* stage, int left, int, int) {
        const float* norm1 = reinterpret_cast<const float*>(stage + (CHUNK + MID) * LINE);
#pragma unroll 1
        for (int k = 0; k < min(left, 16); ++k) {
            float a[8];
#pragma unroll
            for (int i = 0; i < 8; ++i) a[i] = affine_relu(line_float(stage, first_row() + 16 * i, k), norm1[k], norm1[16 + k]);
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                float b = line_float(stage + CHUNK * LINE, first_channel() + 16 * j, k);
#pragma unroll
                for (int i = 0; i < 8; ++i) sums[i][j] = fmaf(a[i], b, sums[i][j]);
            }
        }
    }

    DEVICE void store(unsigned char* mid, const float* norm2, const Tile& tile, int first) const {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            int p = first + first_row() + 16 * i;
            if (p >= tile.positions()) continue;
            unsigned char* to = mid + tile.place(tile.row_of(p), tile.column_of(p)) * PITCH<float>;
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                int n = first_channel() + 16 * j;
                reinterpret_cast<float*>(to)[n] = relu(fmaf(sums[i][j], norm2[n], norm2[MID + n]));
            }
        }
    }
};

// ---- the 3×3 ----

// Fetches 32 bytes of mid channels of all taps and outputs of a round.
template <typename T>
DEVICE void fetch_taps(unsigned char* stage, const DenseArguments& args, const Round& round, int step) {
    const T* conv2 = reinterpret_cast<const T*>(args.weights + args.layer[round.layer].conv2);
    int channel = round.mid + step * 2 * PIECE<T>;
    for (int at = int(threadIdx.x); at < 9 * OUTPUTS * 2; at += DENSE_THREADS) {
        int row = at / 2, piece = at % 2, n = round.output + row % OUTPUTS;
        bool exists = n < args.growth;
        const T* from = conv2 + (size_t(row / OUTPUTS) * args.growth + (exists ? n : 0)) * args.mid + channel + piece * PIECE<T>;
        cp_async16(stage + tap_line_at(row, piece), from, exists);
    }
}

// The sums of the tile. On tensor cores a warp makes N outputs for 16 columns of R pixels below each other.
template <typename T, int R, int N>
struct Second {
    static constexpr int ROWS = R;
    float sums[R][N / 8][4];

    DEVICE static int lane() { return int(threadIdx.x) & 31; }
    DEVICE static int first_column() { return int(threadIdx.x) / 32 / (OUTPUTS / N) * 16; }
    DEVICE static int first_output() { return int(threadIdx.x) / 32 % (OUTPUTS / N) * N; }

    DEVICE void clear() {
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int j = 0; j < N / 8; ++j)
#pragma unroll
                for (int v = 0; v < 4; ++v) sums[r][j][v] = 0.0f;
    }

    DEVICE static const unsigned char* start(const unsigned char* mid, const Tile& tile) { return column_start<T, R>(mid, tile, first_column()); }
    DEVICE static int work(const Tile& tile) { return columns_of<R>(tile); }

    // Adds the products of step `step`, whose weights are in `stage`, where there are `columns`.
    DEVICE void add(const unsigned char* stage, const unsigned char* start, int columns, int pitch, int, int step) {
        if (first_column() >= columns) return;
        const unsigned char* weights = stage + tap_line_at(first_output() + (lane() >> 4) * 8 + (lane() & 7), lane() >> 3 & 1);
        const unsigned char* a_at = start + step * TAP_LINE;
#pragma unroll
        for (int kx = 0; kx < 3; ++kx) {
            uint32_t b[3][N / 8][2];
#pragma unroll
            for (int ky = 0; ky < 3; ++ky)
#pragma unroll
                for (int j = 0; j < N / 16; ++j) {
                    uint32_t both[4];
                    ldmatrix_x4(both, weights + ((ky * 3 + kx) * OUTPUTS + 16 * j) * TAP_LINE);
                    b[ky][2 * j][0] = both[0];
                    b[ky][2 * j][1] = both[1];
                    b[ky][2 * j + 1][0] = both[2];
                    b[ky][2 * j + 1][1] = both[3];
                }
#pragma unroll
            for (int row = 0; row < R + 2; ++row) {
                uint32_t a[4];
                ldmatrix_x4(a, a_at + (row * pitch + kx) * PITCH<T>);
#pragma unroll
                for (int ky = 0; ky < 3; ++ky)
                    if (row - ky >= 0 && row - ky < R) {
#pragma unroll
                        for (int j = 0; j < N / 8; ++j) mma_m16n8k16<T>(sums[row - ky][j], a, b[ky][j]);
                    }
            }
        }
    }

    // To the slab of the slice.
    DEVICE void store(T* slab, const DenseArguments& args, const Tile& tile, const Round& round) const {
        store_outputs<T, R, N>(&sums[0][0][0], slab, args, tile, round, first_column(), first_output());
    }
};

// Float32: a thread makes output t mod 32 of pixels t / 32 + 8·i.
template <int R, int N>
struct Second<float, R, N> {
    static constexpr int ROWS = 1;
    static constexpr int PIXELS = 32;
    float sums[PIXELS];

    DEVICE void clear() {
#pragma unroll
        for (int i = 0; i < PIXELS; ++i) sums[i] = 0.0f;
    }

    DEVICE static const unsigned char* start(const unsigned char* mid, const Tile&) { return mid; }
    DEVICE static int work(const Tile& tile) { return tile.rows * tile.columns; }

    DEVICE void add(const unsigned char* stage, const unsigned char* mid, int pixels, int pitch, int columns, int step) {
        int n = int(threadIdx.x) % OUTPUTS;
#pragma unroll 1
        for (int i = 0; i < PIXELS; ++i) {
            int pixel = int(threadIdx.x) / OUTPUTS + 8 * i;
            if (pixel >= pixels) return;
            const unsigned char* at = mid + (pixel / columns * pitch + pixel % columns) * PITCH<float> + step * TAP_LINE;
            float sum = 0.0f;
#pragma unroll
            for (int j = 0; j < PIXELS; ++j) sum = i == j ? sums[j] : sum;
#pragma unroll 1
            for (int kx = 0; kx < 3; ++kx)
#pragma unroll 1
                for (int ky = 0; ky < 3; ++ky) {
                    const float* a = reinterpret_cast<const float*>(at + (ky * pitch + kx) * PITCH<float>);
                    for (int k = 0; k < 8; ++k) {
                        int row = (ky * 3 + kx) * OUTPUTS + n;
                        sum = fmaf(a[k], *reinterpret_cast<const float*>(stage + tap_line_at(row, k / 4) + k % 4 * 4), sum);
                    }
                }
#pragma unroll
            for (int j = 0; j < PIXELS; ++j) sums[j] = i == j ? sum : sums[j];
        }
    }

    DEVICE void store(float* slab, const DenseArguments& args, const Tile& tile, const Round& round) const {
        int n = round.output + int(threadIdx.x) % OUTPUTS;
        if (n >= args.growth) return;
#pragma unroll
        for (int i = 0; i < PIXELS; ++i) {
            int pixel = int(threadIdx.x) / OUTPUTS + 8 * i;
            if (pixel >= tile.rows * tile.columns) break;
            size_t at = size_t(tile.y + pixel / tile.columns) * args.width + tile.x + pixel % tile.columns;
            slab[at * args.stride + args.layer[round.layer].out_offset + n] = sums[i];
        }
    }
};

// ---- the block ----

template <typename T, int R, int N>
struct Block {
    const DenseArguments& args;
    unsigned char* ring;
    float* norm2;
    unsigned char* mid;
    T* slab;
    FirstLoader<T> loader;
    int positions, total, slot;
    Second<T, R, N> second;

    DEVICE explicit Block(const DenseArguments& arguments) : args(arguments) {
        ring = dynamic_shared();
        norm2 = reinterpret_cast<float*>(ring + RING);
        mid = ring + RING + NORM2;
        slab = static_cast<T*>(args.slab) + size_t(blockIdx.y) * args.height * args.width * args.stride;
    }

    DEVICE Tile tile() const { return Tile(args, recomputed(blockIdx.x)); }
    DEVICE unsigned char* stage(int slot) const { return ring + slot * STAGE; }
    DEVICE static int next(int slot) { return slot + 1 == STAGES ? 0 : slot + 1; }

    // Fetches what a round's 1×1 needs before the slab is ready: the weights of its first stages, and norm2.
    DEVICE void begin(const Round& round) {
        loader.begin();
        int steps = loader.steps(args, round);
        total = steps * ceil_div(positions, CHUNK);
        slot = (3 * STAGES - 1 - (total - 1) % STAGES) % STAGES;
        for (int i = 0, at = slot; i < min(STAGES - 1, total); ++i, at = next(at)) fetch_weights<T>(stage(at), args, round, i % steps);
        fetch_norm2(norm2, args, round);
    }

    // The 1×1 of a round that was begun; fetches the first stages of its 3×3.
    DEVICE void make_mid(const Round& round) {
        int ahead = slot;
        for (int i = 0; i < STAGES - 1; ++i, ahead = next(ahead)) {
            if (i < total) loader.slab(stage(ahead), args, round, blockIdx.x, slab);
            cp_async_commit();
        }
        First<T> first;
        first.clear();
        int step = 0, position = 0, now = slot;
#pragma unroll 1
        for (int i = 0; i < total; ++i, now = next(now)) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            if (i + STAGES - 1 < total) {
                unsigned char* to = stage(now == 0 ? STAGES - 1 : now - 1);
                fetch_weights<T>(to, args, round, loader.step);
                loader.slab(to, args, round, blockIdx.x, slab);
            }
            if (i + 1 < total) cp_async_commit();
            else fetch_first_taps(round);
            first.add(stage(now), loader.channels(args, round) - step * 4 * PIECE<T>, positions - position, args.mid - round.mid);
            if (++step == loader.steps(args, round)) {
                first.store(mid, norm2, tile(), position);
                first.clear();
                step = 0;
                position += CHUNK;
            }
        }
    }

    DEVICE void fetch_first_taps(const Round& round) {
        int steps = tap_steps(round);
        for (int i = 0; i < TAP_STAGES - 1; ++i) {
            if (i < steps) fetch_taps<T>(ring + i * TAP_STAGE, args, round, i);
            cp_async_commit();
        }
    }

    DEVICE int tap_steps(const Round& round) const { return min(MID, args.mid - round.mid) / (2 * PIECE<T>); }

    // The 3×3 of a round whose first stages are on their way.
    DEVICE void add_taps(const Round& round) {
        int steps = tap_steps(round);
        Tile at = tile();
        const unsigned char* start = second.start(mid, at);
        int work = second.work(at);
#pragma unroll 1
        for (int i = 0; i < steps; ++i) {
            cp_async_wait<TAP_STAGES - 2>();
            __syncthreads();
            int ahead = i + TAP_STAGES - 1;
            if (ahead < steps) fetch_taps<T>(ring + ahead % TAP_STAGES * TAP_STAGE, args, round, ahead);
            cp_async_commit();
            second.add(ring + i % TAP_STAGES * TAP_STAGE, start, work, at.pitch, at.columns, i);
        }
    }

    DEVICE void run() {
        Round round{0, 0, 0};
        positions = tile().positions();
        begin(round);
        clear_border<T>(mid, tile(), round_up(args.tile_rows, second.ROWS) + 2);
        grid_dependency_wait();
        if (blockIdx.y >= *args.count) {
            cp_async_wait<0>();
            return;
        }
        second.clear();
        while (true) {
            if (makes_mid(args, round)) make_mid(round);
            else fetch_first_taps(round);
            add_taps(round);
            Round next = following(args, round);
            if (next.layer == args.layers) grid_dependency_launch();
            if (next.mid == 0) {
                second.store(slab, args, tile(), round);
                second.clear();
            }
            if (next.layer == args.layers) return;
            __syncthreads();
            if (makes_mid(args, next)) begin(next);
            if (next.layer != round.layer) layer_barrier();
            round = next;
        }
    }

    // The whole slice's new channels are there.
    DEVICE void layer_barrier() {
        if (gridDim.x > 1) cluster_sync();
        else __syncthreads();
    }
};

}  // namespace

#define DENSE(name, T, R, N, blocks) \
    KERNEL(name, DenseArguments, DENSE_THREADS, blocks) { Block<T, R, N>(args).run(); }

DENSE(dense_r4n32_f16, f16, 4, 32, 1)
DENSE(dense_r2n32_f16, f16, 2, 32, 1)
DENSE(dense_r2n16_f16, f16, 2, 16, 1)
DENSE(dense_r1n16_f16, f16, 1, 16, 1)
DENSE(dense_r4n32_bf16, bf16, 4, 32, 1)
DENSE(dense_r2n32_bf16, bf16, 2, 32, 1)
DENSE(dense_r2n16_bf16, bf16, 2, 16, 1)
DENSE(dense_r1n16_bf16, bf16, 1, 16, 1)
DENSE(dense_f32, float, 1, 16, 1)
