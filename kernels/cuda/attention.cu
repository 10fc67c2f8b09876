// norm5·ReLU and attention pooling: F = relu(scale·x + shift), e = w·F + b per head, a = σ(e) or softmax(e) over the positions or 1,
// pooled[h][c] = Σ_p a[h][p]·F[p][c] divided by Σ a + 1e-6 (sigmoid), by 1 (softmax) or by the number of positions (mean).
//
// Layout: slab [slices][area][stride] of T; scale, shift float32 [channels], w float32 [heads][channels], padding 0; the channel map says
//   which logical channel a physical one is (all ones: padding). Scores and maps float32 [slices][heads][area], pooled float32
//   [slices][heads·C] in logical order. Everything after the slab is float32. The mean runs without the first kernel.
// attention_scores: a warp has two positions, up to four heads at a time; eight positions a block of four warps.
// attention_pool: a block of 256 threads has 64 channels of a slice: eight lanes of eight channels, 32 groups of positions, up to four heads
//   at a time (32 sums a thread). Each block makes the weights a of 512 positions at a time in shared memory (8 KB); the first writes them.
// Roof: the slab twice out of the L2 cache. At 256×256: 128 KB a slice; 32 slices are 256 + 512 blocks; predicted for an H200: 3 µs and 3 µs.
// Order: scores as in common/positions.cuh; sums of position p in group p mod 32, then lanes 8 and 16 apart, then the warps in order: it
//   depends on the map alone. Error: γ_{area/32 + 12}·Σ a·F, that of a (3 ulp and |e|'s own error), and the division.

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/math.cuh"
#include "common/positions.cuh"

struct AttentionArguments {
    const void* slab;
    const float* scale;
    const float* shift;
    const float* heads;
    const float* bias;
    const uint32_t* channel_map;
    float* scores;
    float* maps;
    float* pooled;
    const uint32_t* count;
    uint32_t area;
    uint32_t channels;
    uint32_t slab_channels;
    uint32_t slab_stride;
    uint32_t head_count;
    uint32_t weighting;
};

namespace {

constexpr unsigned SIGMOID = 1, SOFTMAX = 2;
constexpr unsigned HEADS = 4;  // at a time
constexpr unsigned SCORE_WARPS = 4, WARP_POSITIONS = 2;
constexpr unsigned THREADS = 256, WARPS = THREADS / 32, GROUPS = THREADS / 8;
constexpr unsigned CHANNELS = 64, POSITIONS = 512;

template <typename T>
DEVICE void attention_scores(const AttentionArguments& args) {
    unsigned slice = blockIdx.y;
    grid_dependency_wait();
    if (slice >= *args.count) return;
    Positions<T> at;
    at.slab = static_cast<const T*>(args.slab) + size_t(slice) * args.area * args.slab_stride;
    at.area = args.area;
    at.channels = args.slab_channels;
    at.stride = args.slab_stride;
    at.scale = args.scale;
    at.shift = args.shift;
    unsigned first = (blockIdx.x * SCORE_WARPS + threadIdx.x / 32) * WARP_POSITIONS;
    for (unsigned head = 0; head < args.head_count; head += HEADS) {
        unsigned heads = min(HEADS, args.head_count - head);
        float sums[WARP_POSITIONS][HEADS];
        dot_positions(sums, at, first, args.heads + size_t(head) * args.slab_channels, heads);
        if (threadIdx.x % 32 != 0) continue;
#pragma unroll
        for (unsigned h = 0; h < HEADS; ++h) {
            if (h >= heads) break;
            float* to = args.scores + (size_t(slice) * args.head_count + head + h) * args.area;
#pragma unroll
            for (unsigned p = 0; p < WARP_POSITIONS; ++p) {
                if (first + p < args.area) to[first + p] = sums[p][h] + args.bias[head + h];
            }
        }
    }
    grid_dependency_launch();
}

// Some heads of a slice.
struct Heads {
    const float* scores;
    float* maps;
    unsigned area;
    unsigned count;
    unsigned weighting;
    float largest[HEADS];  // softmax: max e and Σ exp(e - max)
    float total[HEADS];
};

struct Larger {
    DEVICE float operator()(float a, float b) const { return b > a ? b : a; }
};
struct Sum {
    DEVICE float operator()(float a, float b) const { return a + b; }
};

// Combines every thread's values, lanes by halves and then the warps in order; `shared` has room for HEADS floats a warp.
template <typename Combine>
DEVICE void combine(float (&v)[HEADS], float* shared, Combine operation) {
#pragma unroll
    for (unsigned h = 0; h < HEADS; ++h) {
#pragma unroll
        for (unsigned lanes = 16; lanes > 0; lanes /= 2) v[h] = operation(v[h], __shfl_xor_sync(~0u, v[h], lanes));
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
#pragma unroll
        for (unsigned h = 0; h < HEADS; ++h) shared[threadIdx.x / 32 * HEADS + h] = v[h];
    }
    __syncthreads();
#pragma unroll
    for (unsigned h = 0; h < HEADS; ++h) {
        v[h] = shared[h];
#pragma unroll
        for (unsigned warp = 1; warp < WARPS; ++warp) v[h] = operation(v[h], shared[warp * HEADS + h]);
    }
}

// max e and Σ exp(e - max) of every head.
DEVICE void softmax_statistics(Heads& heads, float* shared) {
#pragma unroll
    for (unsigned h = 0; h < HEADS; ++h) {
        heads.largest[h] = -__uint_as_float(0x7f800000u);
        if (h >= heads.count) continue;
        for (unsigned p = threadIdx.x; p < heads.area; p += THREADS) {
            heads.largest[h] = Larger()(heads.largest[h], heads.scores[size_t(h) * heads.area + p]);
        }
    }
    combine(heads.largest, shared, Larger());
#pragma unroll
    for (unsigned h = 0; h < HEADS; ++h) {
        heads.total[h] = 0.0f;
        if (h >= heads.count) continue;
        for (unsigned p = threadIdx.x; p < heads.area; p += THREADS) {
            heads.total[h] += exp_f32(heads.scores[size_t(h) * heads.area + p] - heads.largest[h]);
        }
    }
    combine(heads.total, shared, Sum());
}

// The weights of POSITIONS positions from `base` on into shared memory, zero beyond the map; adds this thread's to `added`.
DEVICE void make_weights(const Heads& heads, unsigned base, float* weights, bool writes, float (&added)[HEADS]) {
#pragma unroll
    for (unsigned h = 0; h < HEADS; ++h) {
        if (h >= heads.count) break;
#pragma unroll
        for (unsigned i = threadIdx.x; i < POSITIONS; i += THREADS) {
            unsigned p = base + i;
            float a = 0.0f;
            if (p < heads.area) {
                size_t at = size_t(h) * heads.area + p;
                a = 1.0f;
                if (heads.weighting == SIGMOID) a = sigmoid_f32(heads.scores[at]);
                if (heads.weighting == SOFTMAX) a = exp_f32(heads.scores[at] - heads.largest[h]) / heads.total[h];
                if (writes) heads.maps[at] = a;
            }
            weights[h * POSITIONS + i] = a;
            added[h] += a;
        }
    }
}

// What the sums of a head are divided by.
DEVICE float divisor(unsigned weighting, float added, unsigned area) {
    if (weighting == SOFTMAX) return 1.0f;
    return weighting == SIGMOID ? added + 1e-6f : float(area);
}

template <typename T>
DEVICE void attention_pool(const AttentionArguments& args) {
    float* weights = reinterpret_cast<float*>(dynamic_shared());
    float* partial = weights + HEADS * POSITIONS;        // [warp][head][channel]
    float* shared = partial + WARPS * HEADS * CHANNELS;  // of `combine`
    unsigned slice = blockIdx.y, group = threadIdx.x / 8, channel = threadIdx.x % 8 * 8, first = blockIdx.x * CHANNELS;
    bool active = first + channel < args.slab_channels;
    float scale[8] = {}, shift[8] = {};
    if (active) {
        load8(args.scale + first + channel, scale);
        load8(args.shift + first + channel, shift);
    }
    grid_dependency_wait();
    if (slice >= *args.count) return;
    const T* slab = static_cast<const T*>(args.slab) + size_t(slice) * args.area * args.slab_stride + first + channel;

    for (unsigned head = 0; head < args.head_count; head += HEADS) {
        Heads heads;
        size_t map = (size_t(slice) * args.head_count + head) * args.area;
        heads.scores = args.scores + map;
        heads.maps = args.maps + map;
        heads.area = args.area;
        heads.count = min(HEADS, args.head_count - head);
        heads.weighting = args.weighting;
        if (args.weighting == SOFTMAX) softmax_statistics(heads, shared);

        float added[HEADS] = {}, sums[HEADS][8] = {};
        for (unsigned base = 0; base < args.area; base += POSITIONS) {
            __syncthreads();
            make_weights(heads, base, weights, blockIdx.x == 0, added);
            __syncthreads();
            unsigned positions = active ? min(POSITIONS, args.area - base) : 0;
            // Two positions at a time, so that two loads are in flight.
            for (unsigned p = group; p < positions; p += 2 * GROUPS) {
                bool second = p + GROUPS < positions;
                float x[2][8] = {};
                const T* from = slab + size_t(base + p) * args.slab_stride;
                read8(from, x[0]);
                if (second) read8(from + size_t(GROUPS) * args.slab_stride, x[1]);
#pragma unroll
                for (unsigned j = 0; j < 2; ++j) {
#pragma unroll
                    for (unsigned i = 0; i < 8; ++i) x[j][i] = affine_relu(x[j][i], scale[i], shift[i]);
#pragma unroll
                    for (unsigned h = 0; h < HEADS; ++h) {
                        if (h >= heads.count) break;
                        float a = j == 0 || second ? weights[h * POSITIONS + p + j * GROUPS] : 0.0f;
#pragma unroll
                        for (unsigned i = 0; i < 8; ++i) sums[h][i] = fmaf(a, x[j][i], sums[h][i]);
                    }
                }
            }
        }
        combine(added, shared, Sum());
#pragma unroll
        for (unsigned h = 0; h < HEADS; ++h) {
#pragma unroll
            for (unsigned i = 0; i < 8; ++i) {
                sums[h][i] += __shfl_xor_sync(~0u, sums[h][i], 8);
                sums[h][i] += __shfl_xor_sync(~0u, sums[h][i], 16);
                if (threadIdx.x % 32 < 8) partial[(threadIdx.x / 32 * HEADS + h) * CHANNELS + channel + i] = sums[h][i];
            }
        }
        __syncthreads();
        // One thread for each of the 4·64 results.
        unsigned h = threadIdx.x / CHANNELS, c = threadIdx.x % CHANNELS;
        if (h < heads.count && first + c < args.slab_channels) {
            float sum = partial[h * CHANNELS + c];
#pragma unroll
            for (unsigned warp = 1; warp < WARPS; ++warp) sum += partial[(warp * HEADS + h) * CHANNELS + c];
            float total = h == 0 ? added[0] : h == 1 ? added[1] : h == 2 ? added[2] : added[3];
            uint32_t logical = args.channel_map[first + c];
            if (logical < args.channels) {
                args.pooled[(size_t(slice) * args.head_count + head + h) * args.channels + logical] = sum / divisor(args.weighting, total, args.area);
            }
        }
    }
    grid_dependency_launch();
}

}  // namespace

KERNEL(attention_scores_f16, AttentionArguments, 128, 4) { attention_scores<f16>(args); }
KERNEL(attention_scores_bf16, AttentionArguments, 128, 4) { attention_scores<bf16>(args); }
KERNEL(attention_scores_f32, AttentionArguments, 128, 4) { attention_scores<float>(args); }

KERNEL(attention_pool_f16, AttentionArguments, 256, 2) { attention_pool<f16>(args); }
KERNEL(attention_pool_bf16, AttentionArguments, 256, 2) { attention_pool<bf16>(args); }
KERNEL(attention_pool_f32, AttentionArguments, 256, 2) { attention_pool<float>(args); }
