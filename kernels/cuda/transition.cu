// Transitions: norm·ReLU → average pool 2×2/2 → 1×1, from one block's slab to the first channels of the next.
//
//   pooled[p][k] = (Σ over the four pixels of relu(scale[k] · x[k] + shift[k])) / 4          rounded to T once; odd last rows and columns dropped
//   out[p][n]    = Σ_k conv[n][k] · pooled[p][k]
// The pool commutes with the 1×1 and goes first, on a quarter of the pixels.
//
// Layouts (T = f16, bf16 or float; channel counts multiples of 16, padding 0): src [slices][height·width][src_stride] and
// dst [slices][(height / 2)·(width / 2)][dst_stride] of T; norm [2][K] of float, conv [N][K] of T, at byte offsets of `weights`.
//
// A block of 256 threads makes 64 positions (counted over all slices) × 128 outputs; grid: positions × outputs. 64 bytes of K of the four
// pixels' rows, of conv and of norm come through a ring of three stages; a thread pools one piece of a position in float32, and the
// pooled tile of a stage goes to the tensor cores, 32 × 32 a warp (f32: 4 × 8 sums a thread). Shared memory: 78 592 bytes, two blocks a
// multiprocessor. DenseNet-121 at 32 × 256×256, f16: 6.4 GFLOP and 100 MB of slabs, read once for every 128 outputs; bound by L2 and by
// the pool's arithmetic, 0.04 ms expected on an H200. Not measured.
//
// Order: the four pixels row by row; k ascending in steps of 16 (f32: one by one). Error: 4 roundings of float32 and one to T of the pooled
// value, γ_K·Σ|a||b| of the sum, one rounding to T of the result.
#include "common/target.cuh"
#include "common/lines.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"
#include "common/types.cuh"
#include "common/widen.cuh"

struct TransitionArguments {
    const void* src;
    void* dst;
    const unsigned char* weights;
    const unsigned* count;
    uint32_t norm, conv;
    int height, width, in_channels, src_stride, out_channels, dst_stride;
};

namespace {

constexpr int THREADS = 256;
constexpr int POSITIONS = 64;
constexpr int OUTPUTS = 128;
constexpr int STAGES = 3;
constexpr int NORM = 2 * 32 * int(sizeof(float));
constexpr int CONV_AT = 4 * POSITIONS * LINE;                // after the four pixels' rows
constexpr int NORM_AT = CONV_AT + OUTPUTS * LINE;
constexpr int STAGE = NORM_AT + NORM;

// The sums of a block. On tensor cores a warp makes 32 positions × 32 outputs.
template <typename T>
struct Sums {
    float v[2][4][4];

    DEVICE static int lane() { return int(threadIdx.x) & 31; }
    DEVICE static int first_position() { return int(threadIdx.x) / 128 * 32; }
    DEVICE static int first_output() { return int(threadIdx.x) / 32 % 4 * 32; }

    DEVICE void add(const unsigned char* pooled, const unsigned char* conv, int left) {
        const unsigned char* a_at = pooled + line_at(first_position() + (lane() & 15), lane() >> 4);
        const unsigned char* b_at = conv + line_at(first_output() + (lane() >> 4) * 8 + (lane() & 7), lane() >> 3 & 1);
        int other = second_half(lane());
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            if (k * 16 >= left) break;
            uint32_t a[2][4];
            ldmatrix_x4(a[0], a_at + k * other);
            ldmatrix_x4(a[1], a_at + k * other + 16 * LINE);
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                uint32_t b[4];
                ldmatrix_x4(b, b_at + k * other + 16 * j * LINE);
                uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    mma_m16n8k16<T>(v[i][2 * j], a[i], low);
                    mma_m16n8k16<T>(v[i][2 * j + 1], a[i], high);
                }
            }
        }
    }

    // To position `first` + row of dst, as far as there are `positions`.
    DEVICE void store(T* dst, int first, int positions, int stride, int output, int outputs) const {
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                int p = first + first_position() + 16 * i + 8 * half + lane() / 4;
                if (p >= positions) continue;
                T* to = dst + size_t(p) * stride;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    int n = output + first_output() + 8 * j + 2 * (lane() & 3);
                    if (n < outputs) *reinterpret_cast<uint32_t*>(to + n) = pack2<T>(v[i][j][2 * half], v[i][j][2 * half + 1]);
                }
            }
    }
};

// Float32: a thread makes positions t / 16 + 16·i × outputs t mod 16 + 16·j.
template <>
struct Sums<float> {
    float v[4][8];

    DEVICE static int first_position() { return int(threadIdx.x) / 16; }
    DEVICE static int first_output() { return int(threadIdx.x) % 16; }

    DEVICE void add(const unsigned char* pooled, const unsigned char* conv, int left) {
#pragma unroll 1
        for (int k = 0; k < min(left, 16); ++k) {
            float a[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) a[i] = line_float(pooled, first_position() + 16 * i, k);
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                float b = line_float(conv, first_output() + 16 * j, k);
#pragma unroll
                for (int i = 0; i < 4; ++i) v[i][j] = fmaf(a[i], b, v[i][j]);
            }
        }
    }

    DEVICE void store(float* dst, int first, int positions, int stride, int output, int outputs) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int p = first + first_position() + 16 * i;
            if (p >= positions) continue;
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                int n = output + first_output() + 16 * j;
                if (n < outputs) dst[size_t(p) * stride + n] = v[i][j];
            }
        }
    }
};

template <typename T>
struct Block {
    const TransitionArguments& args;
    unsigned char* ring;
    unsigned char* pooled;
    int first, output;                                       // the block's first position and output
    const T* pixel;                                          // the first of the four pixels of this thread's position; null beyond the last

    DEVICE explicit Block(const TransitionArguments& arguments) : args(arguments) {
        ring = dynamic_shared();
        pooled = ring + STAGES * STAGE;
        first = int(blockIdx.x) * POSITIONS;
        output = int(blockIdx.y) * OUTPUTS;
    }

    // The thread's position, of `positions` in all.
    DEVICE void aim(int positions) {
        int p = first + int(threadIdx.x) / 4, across = args.width / 2, area = args.height / 2 * across;
        pixel = nullptr;
        if (p >= positions) return;
        int within = p % area;
        size_t at = size_t(p / area) * args.height * args.width + size_t(within / across * 2) * args.width + within % across * 2;
        pixel = static_cast<const T*>(args.src) + at * args.src_stride;
    }

    DEVICE void fetch_weights(unsigned char* stage, int step) const {
        int piece = int(threadIdx.x) % 4, k = (step * 4 + piece) * PIECE<T>;
        const T* conv = reinterpret_cast<const T*>(args.weights + args.conv);
#pragma unroll
        for (int i = 0; i < OUTPUTS; i += 64) {
            int row = int(threadIdx.x) / 4 + i;
            bool exists = output + row < args.out_channels && k < args.in_channels;
            cp_async16(stage + CONV_AT + line_at(row, piece), conv + (exists ? size_t(output + row) * args.in_channels + k : 0), exists);
        }
        constexpr int PIECES = 4 * PIECE<T> / 4;             // of float32, of a stage's scales, then of its shifts
        if (int(threadIdx.x) < 2 * PIECES) {
            int shift = int(threadIdx.x) / PIECES, channel = step * 4 * PIECE<T> + int(threadIdx.x) % PIECES * 4;
            const float* norm = reinterpret_cast<const float*>(args.weights + args.norm) + (shift ? args.in_channels : 0);
            bool exists = channel < args.in_channels;
            cp_async16(stage + NORM_AT + shift * NORM / 2 + int(threadIdx.x) % PIECES * 16, norm + (exists ? channel : 0), exists);
        }
    }

    DEVICE void fetch_pixels(unsigned char* stage, int step) const {
        int row = int(threadIdx.x) / 4, piece = int(threadIdx.x) % 4, k = (step * 4 + piece) * PIECE<T>;
        bool exists = pixel != nullptr && k < args.in_channels;
        const T* none = static_cast<const T*>(args.src);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const T* from = exists ? pixel + size_t(i / 2 * args.width + i % 2) * args.src_stride + k : none;
            cp_async16(stage + i * POSITIONS * LINE + row * LINE + piece * 16, from, exists);
        }
    }

    // The thread's own piece of its position: what it fetched itself.
    DEVICE void pool(const unsigned char* stage) const {
        int row = int(threadIdx.x) / 4, piece = int(threadIdx.x) % 4;
        const float* scale = reinterpret_cast<const float*>(stage + NORM_AT) + piece * PIECE<T>;
        const float* shift = scale + NORM / 2 / int(sizeof(float));
        float sum[PIECE<T>];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float x[PIECE<T>];
            const unsigned char* at = stage + i * POSITIONS * LINE + row * LINE + piece * 16;
            widen(*reinterpret_cast<const uint4*>(at), x, static_cast<const T*>(nullptr));
#pragma unroll
            for (int k = 0; k < PIECE<T>; ++k) {
                float y = affine_relu(x[k], scale[k], shift[k]);
                sum[k] = i == 0 ? y : sum[k] + y;
            }
        }
        store(pooled + line_at(row, piece), sum);
    }

    DEVICE static void store(unsigned char* to, const float (&sum)[8]) {
        uint4 packed;
        packed.x = pack2<T>(0.25f * sum[0], 0.25f * sum[1]);
        packed.y = pack2<T>(0.25f * sum[2], 0.25f * sum[3]);
        packed.z = pack2<T>(0.25f * sum[4], 0.25f * sum[5]);
        packed.w = pack2<T>(0.25f * sum[6], 0.25f * sum[7]);
        *reinterpret_cast<uint4*>(to) = packed;
    }

    DEVICE static void store(unsigned char* to, const float (&sum)[4]) {
        *reinterpret_cast<float4*>(to) = float4{0.25f * sum[0], 0.25f * sum[1], 0.25f * sum[2], 0.25f * sum[3]};
    }

    DEVICE void run() {
        int steps = ceil_div(args.in_channels, 4 * PIECE<T>);
        for (int i = 0; i < min(STAGES - 1, steps); ++i) fetch_weights(ring + i * STAGE, i);
        grid_dependency_wait();
        int positions = int(*args.count) * (args.height / 2) * (args.width / 2);
        if (first >= positions) {
            cp_async_wait<0>();
            return;
        }
        aim(positions);
        for (int i = 0; i < STAGES - 1; ++i) {
            if (i < steps) fetch_pixels(ring + i * STAGE, i);
            cp_async_commit();
        }
        Sums<T> sums = {};
#pragma unroll 1
        for (int i = 0; i < steps; ++i) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            int ahead = i + STAGES - 1;
            if (ahead < steps) {
                fetch_weights(ring + ahead % STAGES * STAGE, ahead);
                fetch_pixels(ring + ahead % STAGES * STAGE, ahead);
            }
            cp_async_commit();
            unsigned char* stage = ring + i % STAGES * STAGE;
            pool(stage);
            __syncthreads();
            sums.add(pooled, stage + CONV_AT, args.in_channels - i * 4 * PIECE<T>);
        }
        grid_dependency_launch();
        sums.store(static_cast<T*>(args.dst), first, positions, args.dst_stride, output, args.out_channels);
    }
};

}  // namespace

KERNEL(transition_f16, TransitionArguments, THREADS, 2) { Block<f16>(args).run(); }
KERNEL(transition_bf16, TransitionArguments, THREADS, 2) { Block<bf16>(args).run(); }
KERNEL(transition_f32, TransitionArguments, THREADS, 2) { Block<float>(args).run(); }
