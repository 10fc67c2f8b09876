// The stem in one pass: conv 7×7/2 pad 3 → norm0 → ReLU → maxpool 3×3/2 pad 1 → the first channels of block 1's slab.
//
//   conv[p][n] = Σ_{c,ky,kx} x[c][2i+ky-3][2j+kx-3]·w[n][c][ky][kx]; y = relu(scale[n]·conv + shift[n]), rounded to T; slab = max of 3×3.
//   x is a float32 plane, or cut from a HU plane on the way in: clip((hu - low)/width, 0, 1) normalised, by a double-float FMA whose result is
//   that of float64 to float32 rounding; the planes of a channel are those of the slice at its offset, clamped to the series.
// Layout: planes [slices][C][H][W], or HU [planes][H][W] with a window for each channel; weights [N][K] with K = (c, ky, kx padded to 8)
//   padded to 16, the padding zero, of T, but of f16 where T is bf16, as the patch; scale, shift float32 [N]; N padded to 16;
//   slab [slices][h·w][stride] of T.
// Tile: `tile_rows`×`tile_columns` positions after the pool (4×16), (2r+1)(2q+1) after the convolution (297 = 19 fragments of 16), chosen by the
//   host. In shared memory: the input patch of T (10 KB at 3 channels), the convolution's outputs (rows of N + 8: conflict-free, 43 KB), the
//   weights (23 KB). Implicit GEMM: two taps in x are one aligned word of the patch, since the stride is 2, so an operand fragment is four
//   4-byte loads from 32 neighbouring words, without any im2col. A warp has three fragments × 64 channels (96 sums): 24 tensor operations
//   for 12 loads of the patch and 4 ldmatrix. Seven warps, two blocks a multiprocessor.
// Roof: tensor cores: 0.48 GFLOP a slice at 256×256 with padding and halo. Predicted for an H200, 32 slices: 35 µs (25 µs of it mma.sync at
//   60 % of the tensor cores' rate), 17 MB written.
// Order: over K as packed, in tensor operations of 16 (float32: one chain); it does not depend on the tile. Error: γ_{49·C} of tensor sums,
//   the affine's and T's rounding.

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"
#include "common/registers.cuh"
#include "common/widen.cuh"

struct StemArguments {
    const float* planes;
    const void* windows;
    const uint32_t* position;
    const void* weights;
    const float* scale;
    const float* shift;
    void* slab;
    const uint32_t* count;
    uint32_t channels;
    uint32_t height;
    uint32_t width;
    uint32_t features;
    uint32_t slab_stride;
    uint32_t plane_capacity;
    uint32_t tile_rows;
    uint32_t tile_columns;
    uint32_t tile_features;
    // What follows from these, worked out by the host, so that no register has to hold it.
    uint32_t tiles_across;
    uint32_t conv_rows, conv_columns;      // of the map
    uint32_t pooled_rows, pooled_columns;  // of the map
    uint32_t taps;                         // K, padded
    uint32_t patch_rows, patch_columns;    // of the tile
    uint32_t positions_across, positions;  // of the tile after the convolution
    uint32_t pitch;                        // elements from position to position of the convolution's outputs
    uint32_t conv_at, weights_at;          // bytes in shared memory, after the patch
};

namespace {

constexpr unsigned FRAGMENTS = 3;  // of a warp: the host chooses tiles of at most 7·3
constexpr unsigned PAIRS = 4;      // of 8 output channels, at most
// Blocks for which a multiprocessor's shared memory has room: 100 KB on 8.6, 8.9 and 12.0.
constexpr int BLOCKS = RADNET_ARCH == 860 || RADNET_ARCH == 890 || RADNET_ARCH >= 1200 ? 1 : 2;

// A channel's window: x = clamp(factor·hu + constant, low, high), factor and constant in two floats each.
struct Window {
    int32_t offset;
    float factor, factor_rest, constant, constant_rest, low, high;
    uint32_t reserved;

    DEVICE float operator()(float hu) const {
        float product = __fmul_rn(hu, factor);
        float product_rest = fmaf(hu, factor, -product);
        float sum = __fadd_rn(product, constant);
        float of_constant = __fadd_rn(sum, -product);
        float sum_rest = __fadd_rn(__fadd_rn(product, -__fadd_rn(sum, -of_constant)), __fadd_rn(constant, -of_constant));
        float x = __fadd_rn(sum, product_rest + sum_rest + fmaf(hu, factor_rest, constant_rest));
        x = x < low ? low : x;
        return x > high ? high : x;
    }
};

// What input and weights are multiplied as: the input is a window's few units, so that bf16 would only cost it three bits.
template <typename T>
struct Operand {
    using Type = T;
};
template <>
struct Operand<bf16> {
    using Type = f16;
};

template <typename T>
DEVICE T* patch_of(const StemArguments&) {
    return reinterpret_cast<T*>(dynamic_shared());
}
template <typename T>
DEVICE T* conv_of(const StemArguments& args) {
    return reinterpret_cast<T*>(dynamic_shared() + args.conv_at);
}
template <typename T>
DEVICE T* weights_of(const StemArguments& args) {
    return reinterpret_cast<T*>(dynamic_shared() + args.weights_at);
}

// The block's first position after the pool.
DEVICE unsigned first_row(const StemArguments& args) { return blockIdx.x / args.tiles_across * args.tile_rows; }
DEVICE unsigned first_column(const StemArguments& args) { return blockIdx.x % args.tiles_across * args.tile_columns; }

// Whether a position of the tile lies on the map after the convolution; those beside it are zero, which the pool takes for -∞ after ReLU.
DEVICE bool on_map(const StemArguments& args, unsigned position) {
    unsigned y = 2 * first_row(args) - 1 + position / args.positions_across;
    unsigned x = 2 * first_column(args) - 1 + position % args.positions_across;
    return y < args.conv_rows && x < args.conv_columns;
}

DEVICE void store_pair(float* to, float a, float b) {
    to[0] = a;
    to[1] = b;
}
template <typename T>
DEVICE void store_pair(T* to, float a, float b) {
    *reinterpret_cast<uint32_t*>(to) = pack2<T>(a, b);
}

// The input of the tile, zero outside the image; a thread writes two columns at a time.
template <typename T, bool HU>
DEVICE void stage_patch(const StemArguments& args) {
    unsigned pairs = args.patch_columns / 2, plane = args.height * args.width;
    unsigned top = 4 * first_row(args) - 5, left = 4 * first_column(args) - 5;
    int first = 0, last = 0;
    if (HU) {
        first = int(args.position[0] + blockIdx.y);
        last = int(min(args.position[1], args.plane_capacity)) - 1;
    }
    for (unsigned channel = 0; channel < args.channels; ++channel) {
        const float* from = args.planes;
        Window window;
        if (HU) {
            window = static_cast<const Window*>(args.windows)[channel];
            from += size_t(max(0, min(first + window.offset, last))) * plane;
        } else {
            from += (size_t(blockIdx.y) * args.channels + channel) * plane;
        }
        T* to = patch_of<T>(args) + channel * args.patch_rows * args.patch_columns;
#pragma unroll 4
        for (unsigned i = threadIdx.x; i < args.patch_rows * pairs; i += blockDim.x) {
            unsigned row = i / pairs, column = i % pairs * 2;
            // Coordinates before the image wrap to large numbers.
            unsigned y = top + row, x = left + column;
            float v[2] = {0.0f, 0.0f};
#pragma unroll
            for (unsigned j = 0; j < 2; ++j) {
                unsigned at = x + j;
                if (y >= args.height || at >= args.width) continue;
                v[j] = from[size_t(y) * args.width + at];
                if (HU) v[j] = window(v[j]);
            }
            store_pair(to + row * args.patch_columns + column, v[0], v[1]);
        }
    }
}

// The weights of `features` output channels from `first` on; float32 reads them where they are.
template <typename T>
DEVICE void stage_weights(const StemArguments& args, unsigned first, unsigned features) {
    if (sizeof(T) == 4) return;
    unsigned runs = args.taps / 8;
    const T* from = static_cast<const T*>(args.weights) + size_t(first) * args.taps;
    for (unsigned i = threadIdx.x; i < features * runs; i += blockDim.x) {
        unsigned row = i / runs, k = i % runs * 8;
        cp_async16(weights_of<T>(args) + row * (args.taps + 8) + k, from + row * args.taps + k, true);
    }
    cp_async_commit();
}

// Where the rows (c, ky) of the patch begin, one after the other.
struct PatchRow {
    unsigned ky = 0, offset = 0;

    DEVICE void next(const StemArguments& args) {
        ++ky;
        offset += args.patch_columns;
        if (ky == 7) {
            ky = 0;
            offset += (args.patch_rows - 7) * args.patch_columns;
        }
    }
};

template <typename T>
DEVICE uint32_t pair_of(const T* at) {
    return *reinterpret_cast<const uint32_t*>(at);
}

// Sums of FRAGMENTS·16 positions from `first` on and `features` channels, by one warp.
template <typename T>
DEVICE void multiply(float (&sums)[FRAGMENTS][2 * PAIRS][4], const StemArguments& args, unsigned first, unsigned features) {
    unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const T* patch = patch_of<T>(args);
    unsigned at[FRAGMENTS];  // of rows g and g + 8, 16 bits each: registers are short here
#pragma unroll
    for (unsigned f = 0; f < FRAGMENTS; ++f) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            unsigned position = min(first + 16 * f + 8 * half + g, args.positions - 1);
            unsigned row = position / args.positions_across, column = position % args.positions_across;
            unsigned place = 2 * row * args.patch_columns + 2 * column + 2 * t;
            at[f] = half == 0 ? place : at[f] | place << 16;
        }
    }
    const T* weights = weights_of<T>(args) + (lane / 16 * 8 + lane % 8) * (args.taps + 8) + lane / 8 % 2 * 8;
    unsigned rows = 7 * args.channels;
    PatchRow row;
    for (unsigned k = 0; k < args.taps; k += 16) {
        unsigned upper = row.offset;
        // An odd last row is paired with itself; its weights there are zero.
        if (k / 8 + 1 < rows) row.next(args);
        unsigned lower = row.offset;
        row.next(args);
        uint32_t a[FRAGMENTS][4];
#pragma unroll
        for (unsigned f = 0; f < FRAGMENTS; ++f) {
            uint32_t both = recomputed(at[f]);
            const T *low = patch + both % 65536, *high = patch + both / 65536;
            a[f][0] = pair_of(low + upper);
            a[f][1] = pair_of(high + upper);
            a[f][2] = pair_of(low + lower);
            a[f][3] = pair_of(high + lower);
        }
#pragma unroll
        for (unsigned pair = 0; pair < PAIRS; ++pair) {
            if (16 * pair >= features) break;
            uint32_t b[4];
            ldmatrix_x4(b, weights + 16 * pair * (args.taps + 8) + k);
            uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
#pragma unroll
            for (unsigned f = 0; f < FRAGMENTS; ++f) {
                mma_m16n8k16<T>(sums[f][2 * pair], a[f], b0);
                mma_m16n8k16<T>(sums[f][2 * pair + 1], a[f], b1);
            }
        }
    }
}

// Convolution, norm0 and ReLU of the tile for `features` output channels from `channel` on.
template <typename T>
DEVICE void convolve(const StemArguments& args, unsigned channel, unsigned features, const T*) {
    unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, first = threadIdx.x / 32 * FRAGMENTS * 16;
    if (first >= args.positions) return;
    float sums[FRAGMENTS][2 * PAIRS][4] = {};
    multiply<typename Operand<T>::Type>(sums, args, first, features);
    unsigned on = 0;
#pragma unroll
    for (unsigned half = 0; half < 2 * FRAGMENTS; ++half) on |= unsigned(on_map(args, first + 8 * half + g)) << half;
    T* to = conv_of<T>(args) + (first + g) * args.pitch + 2 * t;
#pragma unroll
    for (unsigned n = 0; n < 2 * PAIRS; ++n) {
        if (8 * n >= features) break;
        float2 scale = *reinterpret_cast<const float2*>(args.scale + channel + 8 * n + 2 * t);
        float2 shift = *reinterpret_cast<const float2*>(args.shift + channel + 8 * n + 2 * t);
#pragma unroll
        for (unsigned half = 0; half < 2 * FRAGMENTS; ++half) {
            float a = fmaf(sums[half / 2][n][half % 2 * 2], scale.x, shift.x);
            float b = fmaf(sums[half / 2][n][half % 2 * 2 + 1], scale.y, shift.y);
            uint32_t y = on >> half & 1 ? pack2_relu<T>(a, b) : 0;
            if (first + 8 * half + g < args.positions) *reinterpret_cast<uint32_t*>(to + 8 * half * args.pitch + 8 * n) = y;
        }
    }
}

// The same in float32: a thread has one position and eight channels.
DEVICE void convolve(const StemArguments& args, unsigned channel, unsigned features, const float*) {
    for (unsigned i = threadIdx.x; i < args.positions * (features / 8); i += blockDim.x) {
        unsigned position = i % args.positions, c = channel + i / args.positions * 8;
        const float* at = patch_of<float>(args) + position / args.positions_across * 2 * args.patch_columns + position % args.positions_across * 2;
        const float* weights = static_cast<const float*>(args.weights) + size_t(c) * args.taps;
        float sums[8] = {};
        PatchRow row;
        for (unsigned k = 0; k < 56 * args.channels; k += 8) {
            float x[7];
#pragma unroll
            for (unsigned kx = 0; kx < 7; ++kx) x[kx] = at[row.offset + kx];
            row.next(args);
#pragma unroll
            for (unsigned n = 0; n < 8; ++n) {
                float w[8];
                load8(weights + n * args.taps + k, w);
#pragma unroll
                for (unsigned kx = 0; kx < 7; ++kx) sums[n] = fmaf(x[kx], w[kx], sums[n]);
            }
        }
        bool on = on_map(args, position);
#pragma unroll
        for (unsigned n = 0; n < 8; ++n) {
            float y = affine_relu(sums[n], args.scale[c + n], args.shift[c + n]);
            conv_of<float>(args)[position * args.pitch + c - channel + n] = on ? y : 0.0f;
        }
    }
}

DEVICE uint4 larger(uint4 a, uint4 b, const float*) {
    auto word = [](uint32_t a, uint32_t b) { return __float_as_uint(max_nan(__uint_as_float(a), __uint_as_float(b))); };
    return make_uint4(word(a.x, b.x), word(a.y, b.y), word(a.z, b.z), word(a.w, b.w));
}
template <typename T>
DEVICE uint4 larger(uint4 a, uint4 b, const T*) {
    return make_uint4(max2<T>(a.x, b.x), max2<T>(a.y, b.y), max2<T>(a.z, b.z), max2<T>(a.w, b.w));
}

// The pool of the tile into the slab; a thread takes 16 bytes of channels of one position.
template <typename T>
DEVICE void pool(const StemArguments& args, unsigned channel, unsigned features) {
    constexpr unsigned RUN = 16 / sizeof(T);
    unsigned runs = features / RUN;
    for (unsigned i = threadIdx.x; i < args.tile_rows * args.tile_columns * runs; i += blockDim.x) {
        unsigned c = i % runs * RUN, row = i / runs / args.tile_columns, column = i / runs % args.tile_columns;
        unsigned y = first_row(args) + row, x = first_column(args) + column;
        if (y >= args.pooled_rows || x >= args.pooled_columns) continue;
        const T* from = conv_of<T>(args) + (2 * row * args.positions_across + 2 * column) * args.pitch + c;
        uint4 best = *reinterpret_cast<const uint4*>(from);
#pragma unroll
        for (unsigned k = 1; k < 9; ++k) {
            const T* at = from + (k / 3 * args.positions_across + k % 3) * args.pitch;
            best = larger(best, *reinterpret_cast<const uint4*>(at), at);
        }
        size_t position = (size_t(blockIdx.y) * args.pooled_rows + y) * args.pooled_columns + x;
        store16(static_cast<T*>(args.slab) + position * args.slab_stride + channel + c, best);
    }
}

template <typename T, bool HU>
DEVICE void stem(const StemArguments& args) {
    using X = typename Operand<T>::Type;
    stage_weights<X>(args, 0, min(args.tile_features, args.features));
    grid_dependency_wait();
    if (blockIdx.y >= *args.count) return;
    stage_patch<X, HU>(args);
    for (unsigned channel = 0; channel < args.features; channel += args.tile_features) {
        unsigned features = min(args.tile_features, args.features - channel), next = channel + features;
        cp_async_wait<0>();
        __syncthreads();
        convolve(args, channel, features, static_cast<const T*>(nullptr));
        __syncthreads();
        if (next < args.features) {
            stage_weights<X>(args, next, min(args.tile_features, args.features - next));
        } else {
            grid_dependency_launch();
        }
        pool<T>(args, channel, features);
    }
}

}  // namespace

KERNEL(stem_windowed_f16, StemArguments, 224, BLOCKS) { stem<f16, false>(args); }
KERNEL(stem_windowed_bf16, StemArguments, 224, BLOCKS) { stem<bf16, false>(args); }
KERNEL(stem_windowed_f32, StemArguments, 224, BLOCKS) { stem<float, false>(args); }
KERNEL(stem_hu_f16, StemArguments, 224, BLOCKS) { stem<f16, true>(args); }
KERNEL(stem_hu_bf16, StemArguments, 224, BLOCKS) { stem<bf16, true>(args); }
KERNEL(stem_hu_f32, StemArguments, 224, BLOCKS) { stem<float, true>(args); }
