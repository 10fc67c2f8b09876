// A segmentation head: norm·ReLU·1×1 + bias to one logit per position, bilinear upsampling to the network's input, sigmoid.
//
//   logit[p] = Σ_c w[c]·relu(scale[c]·x[p][c] + shift[c]) + b; out[y][x] = σ(bilinear(logit)) with half-pixel centres, clamped at the border.
// Layout: slab [slices][height·width][stride] of T, whose padding channels have weight 0; scale, shift, w float32 [channels].
//   Logits float32 [slices][height·width]; taps: for every output row, then every output column, two positions and their weights (worked out
//   in float64 by the host); probabilities float32 [slices][heads][rows][columns].
// Tile: a warp has four positions, so that norm and weights are loaded once for four; 16 positions a block of four warps. The upsampling is
//   a thread per pixel, four of them one after the other.
// Roof: HBM: the slab once and the maps once. At 256×256, block 1: 2 MB a slice and 256 KB of maps; predicted for an H200, 32 slices: 20 µs
//   and 4 µs.
// Order: a lane's runs of channels in order, then the lanes by halves. Error: γ_{channels/32 + 6}·Σ|w|y plus y's own rounding.

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/math.cuh"
#include "common/positions.cuh"

struct SegmentationArguments {
    const void* slab;
    const float* scale;
    const float* shift;
    const float* weights;
    const uint4* taps;
    float* logits;
    float* probabilities;
    const uint32_t* count;
    uint32_t height;
    uint32_t width;
    uint32_t slab_channels;
    uint32_t slab_stride;
    uint32_t rows;
    uint32_t columns;
    uint32_t heads;
    uint32_t head;
    float bias;
    uint32_t reserved;
};

namespace {

constexpr unsigned THREADS = 128;
constexpr unsigned WARP_POSITIONS = 4;
constexpr unsigned PIXELS = 4;  // of a thread

template <typename T>
DEVICE void segmentation_logits(const SegmentationArguments& args) {
    unsigned slice = blockIdx.y, area = args.height * args.width;
    grid_dependency_wait();
    if (slice >= *args.count) return;
    Positions<T> at;
    at.slab = static_cast<const T*>(args.slab) + size_t(slice) * area * args.slab_stride;
    at.area = area;
    at.channels = args.slab_channels;
    at.stride = args.slab_stride;
    at.scale = args.scale;
    at.shift = args.shift;
    unsigned first = (blockIdx.x * (THREADS / 32) + threadIdx.x / 32) * WARP_POSITIONS;
    float sums[WARP_POSITIONS][1];
    dot_positions(sums, at, first, args.weights, 1u);
    grid_dependency_launch();
    if (threadIdx.x % 32 != 0) return;
#pragma unroll
    for (unsigned p = 0; p < WARP_POSITIONS; ++p) {
        if (first + p < area) args.logits[size_t(slice) * area + first + p] = sums[p][0] + args.bias;
    }
}

}  // namespace

KERNEL(segmentation_logits_f16, SegmentationArguments, 128, 4) { segmentation_logits<f16>(args); }
KERNEL(segmentation_logits_bf16, SegmentationArguments, 128, 4) { segmentation_logits<bf16>(args); }
KERNEL(segmentation_logits_f32, SegmentationArguments, 128, 4) { segmentation_logits<float>(args); }

KERNEL(segmentation_upsample, SegmentationArguments, 128, 8) {
    unsigned slice = blockIdx.y, pixels = args.rows * args.columns;
    grid_dependency_wait();
    if (slice >= *args.count) return;
    const float* logits = args.logits + size_t(slice) * args.height * args.width;
    float* to = args.probabilities + (size_t(slice) * args.heads + args.head) * pixels;
#pragma unroll
    for (unsigned i = 0; i < PIXELS; ++i) {
        unsigned pixel = (blockIdx.x * PIXELS + i) * THREADS + threadIdx.x;
        if (pixel >= pixels) break;
        uint4 y = args.taps[pixel / args.columns], x = args.taps[args.rows + pixel % args.columns];
        const float *upper = logits + y.x * args.width, *lower = logits + y.y * args.width;
        float left = __uint_as_float(x.z), right = __uint_as_float(x.w);
        float above = fmaf(right, upper[x.y], left * upper[x.x]), below = fmaf(right, lower[x.y], left * lower[x.x]);
        to[pixel] = sigmoid_f32(fmaf(__uint_as_float(y.w), below, __uint_as_float(y.z) * above));
    }
    grid_dependency_launch();
}
