// What the kernels of dense layers share: their arguments, the tile of a block, the mid map in shared memory, and the loads from the slab.
// See dense.cu for the layers themselves.
#pragma once

#include "lines.cuh"
#include "memory.cuh"
#include "registers.cuh"
#include "types.cuh"

struct DenseLayer {
    uint32_t norm1, conv1, norm2, conv2;
    uint32_t stages;                                         // all of them once more, as dense_sm90.cu takes them
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

constexpr int DENSE_THREADS = 256;                          // that multiply
constexpr int CHUNK = 128;                                   // positions of a step of the 1×1
constexpr int MID = 128;                                     // mid channels of a round
constexpr int OUTPUTS = 32;                                  // outputs of a round
constexpr int NORM2 = 2 * MID * int(sizeof(float));

// Bytes from position to position of mid: eight neighbours meet no bank twice.
template <typename T>
constexpr int PITCH = MID * int(sizeof(T)) + 16;

// A block's part of the map.
struct Tile {
    int y, x, rows, columns;                                 // its first pixel and its size, cut at the map's edge
    int border_y, border_x, border_rows, border_columns;     // with a border of one, as far as it lies in the map
    int pitch;                                               // positions from row to row of mid

    // Tile `index` of a slice, row by row. What is computed from a recomputed() index takes no registers elsewhere.
    DEVICE Tile(const DenseArguments& args, uint32_t index) {
        int across = ceil_div(args.width, args.tile_columns);
        y = int(index) / across * args.tile_rows;
        x = int(index) % across * args.tile_columns;
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

// The round after `round`: the next mid channels, else the next outputs, else the next layer.
DEVICE Round following(const DenseArguments& args, Round round) {
    round.mid += MID;
    if (round.mid < args.mid) return round;
    round.mid = 0;
    round.output += OUTPUTS;
    if (round.output < args.growth) return round;
    return {round.layer + 1, 0, 0};
}

// Whether mid is not there yet from the round before.
DEVICE bool makes_mid(const DenseArguments& args, const Round& round) { return round.output == 0 || args.mid > MID; }

// Zeros where mid, of `rows` rows, lies outside the map; they stay.
template <typename T>
DEVICE void clear_border(unsigned char* mid, const Tile& tile, int rows) {
    for (int at = int(threadIdx.x); at < rows * tile.pitch * (PITCH<T> / 16); at += DENSE_THREADS) {
        int place = at / (PITCH<T> / 16), row = tile.y + place / tile.pitch - 1, column = tile.x + place % tile.pitch - 1;
        bool made = row >= tile.border_y && row < tile.border_y + tile.border_rows && column >= tile.border_x &&
                    column < tile.border_x + tile.border_columns;
        if (!made) *reinterpret_cast<uint4*>(mid + size_t(at) * 16) = uint4{0, 0, 0, 0};
    }
}

// norm2 of a round, zero beyond the last channel.
DEVICE void fetch_norm2(float* norm2, const DenseArguments& args, const Round& round) {
    int n = round.mid + int(threadIdx.x) % MID;
    const float* from = reinterpret_cast<const float*>(args.weights + args.layer[round.layer].norm2);
    norm2[threadIdx.x] = n < args.mid ? from[(int(threadIdx.x) < MID ? 0 : args.mid) + n] : 0.0f;
}

// Fetches slab rows for the 1×1: thread t fetches piece t mod 4 of rows t / 4 and t / 4 + 64.
template <typename T>
struct FirstLoader {
    static constexpr uint32_t NOWHERE = ~0u;
    uint32_t pixels[2];                                      // the rows' pixels in the slice
    int step, chunk;

    DEVICE static int channels(const DenseArguments& args, const Round& round) { return int(args.layer[round.layer].in_channels); }
    DEVICE static int steps(const DenseArguments& args, const Round& round) { return ceil_div(channels(args, round), 4 * PIECE<T>); }

    DEVICE void begin() { step = chunk = 0; }

    DEVICE void aim(const DenseArguments& args, const Tile& tile) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int p = chunk * CHUNK + int(threadIdx.x) / 4 + 64 * i;
            pixels[i] = p < tile.positions() ? uint32_t(tile.row_of(p) * args.width + tile.column_of(p)) : NOWHERE;
        }
    }

    // The slab's part of the next step.
    DEVICE void slab(unsigned char* stage, const DenseArguments& args, const Round& round, uint32_t index, const T* from) {
        if (step == 0) aim(args, Tile(args, recomputed(index)));
        int piece = int(threadIdx.x) % 4, k = (step * 4 + piece) * PIECE<T>;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            bool exists = pixels[i] != NOWHERE && k < channels(args, round);
            unsigned char* to = stage + line_at(int(threadIdx.x) / 4 + 64 * i, piece);
            cp_async16(to, from + (exists ? size_t(pixels[i]) * args.stride + k : 0), exists);
        }
        if (++step == steps(args, round)) {
            step = 0;
            ++chunk;
        }
    }
};

// Columns of R pixels of a tile below each other, as the 3×3 takes them: column c is pixel c mod `columns` of rows R·(c / `columns`) on.
template <int R>
DEVICE int columns_of(const Tile& tile) {
    return ceil_div(tile.rows, R) * tile.columns;
}

// Where this lane's row of the A fragments of 16 columns begins in mid. Columns past the last read what the first does.
template <typename T, int R>
DEVICE const unsigned char* column_start(const unsigned char* mid, const Tile& tile, int first_column) {
    int lane = int(threadIdx.x) & 31, column = first_column + (lane & 15);
    if (column >= columns_of<R>(tile)) column = 0;
    return mid + (column / tile.columns * R * tile.pitch + column % tile.columns) * PITCH<T> + (lane >> 4) * 16;
}

// Sums of 16 columns of R pixels × N outputs, in the tensor cores' order, to the slab of the slice.
template <typename T, int R, int N>
DEVICE void store_outputs(const float* sums, T* slab, const DenseArguments& args, const Tile& tile, const Round& round, int first_column, int first_output) {
    int lane = int(threadIdx.x) & 31, n = round.output + first_output + 2 * (lane & 3);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int column = first_column + 8 * half + lane / 4;
        if (column >= columns_of<R>(tile)) continue;
        int row = column / tile.columns * R, x = tile.x + column % tile.columns;
#pragma unroll
        for (int r = 0; r < R; ++r) {
            if (row + r >= tile.rows) break;
            size_t pixel = size_t(tile.y + row + r) * args.width + x;
            T* to = slab + pixel * args.stride + args.layer[round.layer].out_offset;
#pragma unroll
            for (int j = 0; j < N / 8; ++j) {
                const float* sum = sums + (r * N / 8 + j) * 4 + 2 * half;
                if (n + 8 * j < args.growth) *reinterpret_cast<uint32_t*>(to + n + 8 * j) = pack2<T>(sum[0], sum[1]);
            }
        }
    }
}

// norm2 and ReLU of the sums of 16 positions (in the tensor cores' order, `COUNT / 4` groups of 8 channels from `first_channel` on), to mid.
// `first` is the position of the first row.
template <typename T, int COUNT>
DEVICE void store_mid(const float* sums, unsigned char* mid, const float* norm2, const Tile& tile, int first, int first_channel) {
    int lane = int(threadIdx.x) & 31;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int p = first + 8 * half + lane / 4;
        if (p >= tile.positions()) continue;
        unsigned char* to = mid + tile.place(tile.row_of(p), tile.column_of(p)) * PITCH<T>;
#pragma unroll
        for (int j = 0; j < COUNT / 4; ++j) {
            int n = int(recomputed(uint32_t(first_channel + 2 * (lane & 3)))) + 8 * j;
            float low = fmaf(sums[4 * j + 2 * half], norm2[n], norm2[MID + n]);
            float high = fmaf(sums[4 * j + 2 * half + 1], norm2[n + 1], norm2[MID + n + 1]);
            *reinterpret_cast<uint32_t*>(to + n * 2) = pack2_relu<T>(low, high);
        }
    }
}
