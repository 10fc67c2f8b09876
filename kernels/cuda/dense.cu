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
#include "common/lines.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"
#include "common/types.cuh"

struct DenseLayer {
    uint32_t norm1, conv1, norm2, conv2;
    uint32_t in_channels, out_offset;
};

struct DenseArguments {
    void* slab;
    const unsigned char* weights;
    const unsigned* count;
    int height, width, stride, mid, growth;
    int tile_rows, tile_columns;
    int layers;
    DenseLayer layer[32];
};

namespace {

constexpr int THREADS = 256;
constexpr int CHUNK = 128;                                   // positions of a step of the 1×1
constexpr int MID = 128;                                     // mid channels of a round
constexpr int OUTPUTS = 32;                                  // outputs of a round
constexpr int STAGES = 3;
constexpr int STAGE = (CHUNK + MID) * LINE + 2 * LINE;       // slab rows, conv1 rows, norm1's scale and shift
constexpr int TAP_LINE = 32;                                 // bytes of a row in a stage of the 3×3
constexpr int TAP_STAGES = 4;
constexpr int TAP_STAGE = 9 * OUTPUTS * TAP_LINE;
constexpr int RING = STAGES * STAGE;
constexpr int NORM2 = 2 * MID * int(sizeof(float));
static_assert(TAP_STAGES * TAP_STAGE <= RING, "both use the ring");
// The last stage of the 1×1 is the last of the ring, so that the first stages of the 3×3 can be fetched beside it.
static_assert((TAP_STAGES - 1) * TAP_STAGE <= (STAGES - 1) * STAGE, "the 3×3 begins while the 1×1 ends");

template <typename T>
constexpr int PITCH = MID * int(sizeof(T)) + 16;             // bytes from position to position of mid: eight neighbours meet no bank twice

// Where 16-byte piece `piece` of row `row` of a stage of the 3×3 lies: eight consecutive rows are read without bank conflicts.
DEVICE int tap_line_at(int row, int piece) { return row * TAP_LINE + ((piece ^ (row >> 2 & 1)) << 4); }

// A block's part of the map.
struct Tile {
    int y, x, rows, columns;                                 // its first pixel and its size, cut at the map's edge
    int border_y, border_x, border_rows, border_columns;     // with a border of one, as far as it lies in the map
    int pitch;                                               // positions from row to row of mid

    DEVICE explicit Tile(const DenseArguments& args) {
        int across = ceil_div(args.width, args.tile_columns);
        y = int(blockIdx.x) / across * args.tile_rows;
        x = int(blockIdx.x) % across * args.tile_columns;
        rows = min(args.tile_rows, args.height - y);
        columns = min(args.tile_columns, args.width - x);
        border_y = max(y - 1, 0);
        border_x = max(x - 1, 0);
        border_rows = min(y + rows + 1, args.height) - border_y;
        border_columns = min(x + columns + 1, args.width) - border_x;
        pitch = args.tile_columns + 2;
    }

    DEVICE int positions() const { return border_rows * border_columns; }
    // Row and column in the map of position `p` of the tile with its border.
    DEVICE int row_of(int p) const { return border_y + p / border_columns; }
    DEVICE int column_of(int p) const { return border_x + p % border_columns; }
    // Place in mid of a pixel of the map.
    DEVICE int place(int row, int column) const { return (row - y + 1) * pitch + column - x + 1; }
};

// What is done before a store of outputs or a barrier: one layer's 32 outputs from 128 mid channels.
struct Round {
    int layer, output, mid;
};

// ---- the 1×1 ----

// Fetches stages of the 1×1: thread t fetches piece t mod 4 of rows t / 4 and t / 4 + 64.
template <typename T>
struct FirstLoader {
    static constexpr uint32_t NOWHERE = ~0u;
    uint32_t pixels[2];                                      // the rows' pixels in the slice
    int layer, row, channels, steps, step, chunk;            // `row`: this thread's first of conv1

    DEVICE void begin(const DenseArguments& args, const Round& round) {
        layer = round.layer;
        row = round.mid + int(threadIdx.x) / 4;
        channels = int(args.layer[layer].in_channels);
        steps = ceil_div(channels, 4 * PIECE<T>);
        step = chunk = 0;
    }

    DEVICE void aim(const DenseArguments& args, const Tile& tile) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int p = chunk * CHUNK + int(threadIdx.x) / 4 + 64 * i;
            pixels[i] = p < tile.positions() ? uint32_t(tile.row_of(p) * args.width + tile.column_of(p)) : NOWHERE;
        }
    }

    // conv1 and norm1 of step `at`.
    DEVICE void weights(unsigned char* stage, const DenseArguments& args, int at) const {
        int piece = int(threadIdx.x) % 4, k = (at * 4 + piece) * PIECE<T>;
        const T* conv1 = reinterpret_cast<const T*>(args.weights + args.layer[layer].conv1);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            bool exists = row + 64 * i < args.mid && k < channels;
            unsigned char* to = stage + CHUNK * LINE + line_at(int(threadIdx.x) / 4 + 64 * i, piece);
            cp_async16(to, conv1 + (exists ? size_t(row + 64 * i) * channels + k : 0), exists);
        }
        if (threadIdx.x < 8) {
            const T* norm1 = reinterpret_cast<const T*>(args.weights + args.layer[layer].norm1);
            bool exists = k < channels;
            cp_async16(stage + (CHUNK + MID) * LINE + int(threadIdx.x) * 16, norm1 + (exists ? k + (threadIdx.x < 4 ? 0 : channels) : 0), exists);
        }
    }

    // The slab's part of the next step.
    DEVICE void slab(unsigned char* stage, const DenseArguments& args, const Tile& tile, const T* from) {
        if (step == 0) aim(args, tile);
        int piece = int(threadIdx.x) % 4, k = (step * 4 + piece) * PIECE<T>;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            bool exists = pixels[i] != NOWHERE && k < channels;
            unsigned char* to = stage + line_at(int(threadIdx.x) / 4 + 64 * i, piece);
            cp_async16(to, from + (exists ? size_t(pixels[i]) * args.stride + k : 0), exists);
        }
        if (++step == steps) {
            step = 0;
            ++chunk;
        }
    }
};

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
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                int p = first + first_row() + 16 * i + 8 * half + lane() / 4;
                if (p >= tile.positions()) continue;
                unsigned char* to = mid + tile.place(tile.row_of(p), tile.column_of(p)) * PITCH<T>;
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    int n = first_channel() + 8 * j + 2 * (lane() & 3);
                    float low = fmaf(sums[i][j][2 * half], norm2[n], norm2[MID + n]);
                    float high = fmaf(sums[i][j][2 * half + 1], norm2[n + 1], norm2[MID + n + 1]);
                    *reinterpret_cast<uint32_t*>(to + n * 2) = pack2_relu<T>(low, high);
                }
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
    for (int at = int(threadIdx.x); at < 9 * OUTPUTS * 2; at += THREADS) {
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
    DEVICE static int columns(const Tile& tile) { return ceil_div(tile.rows, R) * tile.columns; }

    DEVICE void clear() {
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int j = 0; j < N / 8; ++j)
#pragma unroll
                for (int v = 0; v < 4; ++v) sums[r][j][v] = 0.0f;
    }

    // Where this lane's row of the A fragments begins in mid. Columns past the last read what the first does.
    DEVICE static const unsigned char* start(const unsigned char* mid, const Tile& tile) {
        int column = first_column() + (lane() & 15);
        if (column >= columns(tile)) column = 0;
        return mid + (column / tile.columns * R * tile.pitch + column % tile.columns) * PITCH<T> + (lane() >> 4) * 16;
    }

    // Adds the products of step `step`, whose weights are in `stage`.
    DEVICE void add(const unsigned char* stage, const unsigned char* start, const Tile& tile, int step) {
        if (first_column() >= columns(tile)) return;
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
                ldmatrix_x4(a, a_at + (row * tile.pitch + kx) * PITCH<T>);
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
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int column = first_column() + 8 * half + lane() / 4;
            if (column >= columns(tile)) continue;
            int row = column / tile.columns * R, x = tile.x + column % tile.columns;
            int n = round.output + first_output() + 2 * (lane() & 3);
#pragma unroll
            for (int r = 0; r < R; ++r) {
                if (row + r >= tile.rows) break;
                size_t pixel = size_t(tile.y + row + r) * args.width + x;
                T* to = slab + pixel * args.stride + args.layer[round.layer].out_offset;
#pragma unroll
                for (int j = 0; j < N / 8; ++j)
                    if (n + 8 * j < args.growth)
                        *reinterpret_cast<uint32_t*>(to + n + 8 * j) = pack2<T>(sums[r][j][2 * half], sums[r][j][2 * half + 1]);
            }
        }
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

    DEVICE void add(const unsigned char* stage, const unsigned char* mid, const Tile& tile, int step) {
        int n = int(threadIdx.x) % OUTPUTS;
#pragma unroll 1
        for (int i = 0; i < PIXELS; ++i) {
            int pixel = int(threadIdx.x) / OUTPUTS + 8 * i;
            if (pixel >= tile.rows * tile.columns) return;
            const unsigned char* at = mid + (pixel / tile.columns * tile.pitch + pixel % tile.columns) * PITCH<float> + step * TAP_LINE;
            float sum = 0.0f;
#pragma unroll
            for (int j = 0; j < PIXELS; ++j) sum = i == j ? sums[j] : sum;
#pragma unroll 1
            for (int kx = 0; kx < 3; ++kx)
#pragma unroll 1
                for (int ky = 0; ky < 3; ++ky) {
                    const float* a = reinterpret_cast<const float*>(at + (ky * tile.pitch + kx) * PITCH<float>);
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
    Tile tile;
    unsigned char* ring;
    float* norm2;
    unsigned char* mid;
    T* slab;
    FirstLoader<T> loader;
    int total, slot;
    Second<T, R, N> second;

    DEVICE explicit Block(const DenseArguments& arguments) : args(arguments), tile(arguments) {
        ring = dynamic_shared();
        norm2 = reinterpret_cast<float*>(ring + RING);
        mid = ring + RING + NORM2;
        slab = static_cast<T*>(args.slab) + size_t(blockIdx.y) * args.height * args.width * args.stride;
    }

    DEVICE bool makes_mid(const Round& round) const { return round.output == 0 || args.mid > MID; }
    DEVICE unsigned char* stage(int slot) const { return ring + slot * STAGE; }

    // Zeros where mid lies outside the map; they stay.
    DEVICE void clear_border() {
        int rows = round_up(args.tile_rows, second.ROWS) + 2;
        for (int at = int(threadIdx.x); at < rows * tile.pitch * (PITCH<T> / 16); at += THREADS) {
            int place = at / (PITCH<T> / 16), row = tile.y + place / tile.pitch - 1, column = tile.x + place % tile.pitch - 1;
            bool made = row >= tile.border_y && row < tile.border_y + tile.border_rows && column >= tile.border_x &&
                        column < tile.border_x + tile.border_columns;
            if (!made) *reinterpret_cast<uint4*>(mid + size_t(at) * 16) = uint4{0, 0, 0, 0};
        }
    }

    // Fetches what a round's 1×1 needs before the slab is ready: the weights of its first stages, and norm2.
    DEVICE void begin(const Round& round) {
        loader.begin(args, round);
        total = loader.steps * ceil_div(tile.positions(), CHUNK);
        slot = (3 * STAGES - 1 - (total - 1) % STAGES) % STAGES;
        for (int i = 0; i < min(STAGES - 1, total); ++i) loader.weights(stage((slot + i) % STAGES), args, i % loader.steps);
        int n = int(threadIdx.x) % MID;
        const float* from = reinterpret_cast<const float*>(args.weights + args.layer[round.layer].norm2);
        float value = round.mid + n < args.mid ? from[(int(threadIdx.x) < MID ? 0 : args.mid) + round.mid + n] : 0.0f;
        norm2[threadIdx.x] = value;
    }

    // The 1×1 of a round that was begun; fetches the first stages of its 3×3.
    DEVICE void make_mid(const Round& round) {
        int fetch = slot;
        for (int i = 0; i < STAGES - 1; ++i) {
            if (i < total) loader.slab(stage(fetch), args, tile, slab);
            cp_async_commit();
            fetch = fetch + 1 == STAGES ? 0 : fetch + 1;
        }
        First<T> first;
        first.clear();
        int step = 0, position = 0, now = slot;
        for (int i = 0; i < total; ++i) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            if (i + STAGES - 1 < total) {
                loader.weights(stage(fetch), args, loader.step);
                loader.slab(stage(fetch), args, tile, slab);
                fetch = fetch + 1 == STAGES ? 0 : fetch + 1;
            }
            if (i + 1 < total) cp_async_commit();
            else fetch_first_taps(round);
            first.add(stage(now), loader.channels - step * 4 * PIECE<T>, tile.positions() - position, args.mid - round.mid);
            now = now + 1 == STAGES ? 0 : now + 1;
            if (++step == loader.steps) {
                first.store(mid, norm2, tile, position);
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
        const unsigned char* start = second.start(mid, tile);
#pragma unroll 1
        for (int i = 0; i < steps; ++i) {
            cp_async_wait<TAP_STAGES - 2>();
            __syncthreads();
            int ahead = i + TAP_STAGES - 1;
            if (ahead < steps) fetch_taps<T>(ring + ahead % TAP_STAGES * TAP_STAGE, args, round, ahead);
            cp_async_commit();
            second.add(ring + i % TAP_STAGES * TAP_STAGE, start, tile, i);
        }
    }

    // The round after `round`: the next mid channels, else the next outputs, else the next layer.
    DEVICE Round after(Round round) const {
        round.mid += MID;
        if (round.mid < args.mid) return round;
        round.mid = 0;
        round.output += OUTPUTS;
        if (round.output < args.growth) return round;
        return {round.layer + 1, 0, 0};
    }

    DEVICE void run() {
        Round round{0, 0, 0};
        begin(round);
        clear_border();
        grid_dependency_wait();
        if (blockIdx.y >= *args.count) {
            cp_async_wait<0>();
            return;
        }
        second.clear();
        while (true) {
            if (makes_mid(round)) make_mid(round);
            else fetch_first_taps(round);
            add_taps(round);
            Round next = after(round);
            if (next.layer == args.layers) grid_dependency_launch();
            if (next.mid == 0) {
                second.store(slab, args, tile, round);
                second.clear();
            }
            if (next.layer == args.layers) return;
            __syncthreads();
            if (makes_mid(next)) begin(next);
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
    KERNEL(name, DenseArguments, THREADS, blocks) { Block<T, R, N>(args).run(); }

DENSE(dense_r4n32_f16, f16, 4, 32, 1)
DENSE(dense_r2n32_f16, f16, 2, 32, 1)
DENSE(dense_r2n16_f16, f16, 2, 16, 2)
DENSE(dense_r1n16_f16, f16, 1, 16, 2)
DENSE(dense_r4n32_bf16, bf16, 4, 32, 1)
DENSE(dense_r2n32_bf16, bf16, 2, 32, 1)
DENSE(dense_r2n16_bf16, bf16, 2, 16, 2)
DENSE(dense_r1n16_bf16, bf16, 1, 16, 2)
DENSE(dense_f32, float, 1, 16, 1)
