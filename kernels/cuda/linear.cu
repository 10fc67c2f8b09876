// y[m][n] = Σ_k x[m][k] · w[n][k] + b[n]: the recurrence's input projections and the classifier.
//
//   x, b, y float32, w of T; m < slices, any K and N. Sums are float32 by FMA: x is not rounded to T, as tensor cores would want.
// Layout: x [M][K], w [N][Kp] with Kp = K padded to 8 by zeros, y [M][N].
// Tile: 32 slices × 16 outputs by 256 threads. A block takes 256 inputs at a time into shared memory as float32 (48·260·4 = 50 KB, three
//   blocks a multiprocessor); of these each of its eight warps multiplies 32, and each lane holds 4×4 sums, which share their 8 operands.
//   Rows of 260 floats: the eight rows that a quarter of a warp reads at once lie in different banks.
// Roof: for 32 slices the weights, N·K·2 bytes (4 MB for the LSTM of 256 units: 1 µs of HBM), and the x that every block reads again from
//   the L2 cache, N/16 · 128 KB = 16 MB. Predicted for an H200, 1024 → 2048 outputs: 5 µs for 32 slices; then 0.1 µs more each.
// Order: warp v adds inputs 256·i + 32·v + (0..32) over i, then the eight partial sums are added in order, then the bias: it depends on K
//   alone. Error: γ_{K/8 + 9} · (Σ|x||w| + |b|).

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/widen.cuh"

struct LinearArguments {
    const void* weights;
    const float* bias;
    const float* x;
    float* y;
    const uint32_t* count;
    uint32_t inputs;
    uint32_t padded;
    uint32_t outputs;
    uint32_t capacity;
};

namespace {

constexpr unsigned THREADS = 256, WARPS = THREADS / 32;
constexpr unsigned ROWS = 32, COLUMNS = 16;
constexpr unsigned CHUNK = 256, STRIDE = CHUNK + 4;

// Weights [first, first + CHUNK) of the block's outputs; zeros beyond either end.
template <typename T>
DEVICE void stage_weights(const LinearArguments& args, float* shared, unsigned output, unsigned first) {
    constexpr unsigned RUN = 16 / sizeof(T), RUNS = CHUNK / RUN;
#pragma unroll
    for (unsigned i = threadIdx.x; i < COLUMNS * RUNS; i += THREADS) {
        unsigned row = i / RUNS, k = i % RUNS * RUN;
        float v[RUN] = {};
        if (output + row < args.outputs && first + k < args.padded) {
            const T* from = static_cast<const T*>(args.weights) + size_t(output + row) * args.padded + first + k;
            widen(load16(from), v, from);
        }
#pragma unroll
        for (unsigned j = 0; j < RUN; j += 4) {
            *reinterpret_cast<float4*>(shared + row * STRIDE + k + j) = make_float4(v[j], v[j + 1], v[j + 2], v[j + 3]);
        }
    }
}

// Inputs [first, first + CHUNK) of the block's slices; zeros beyond either end.
DEVICE void stage_inputs(const LinearArguments& args, float* shared, unsigned slice, unsigned slices, unsigned first) {
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (unsigned row = warp; row < ROWS; row += WARPS) {
        const float* from = args.x + size_t(slice + row) * args.inputs + first;
#pragma unroll
        for (unsigned k = lane; k < CHUNK; k += 32) {
            bool inside = slice + row < slices && first + k < args.inputs;
            shared[row * STRIDE + k] = inside ? from[k] : 0.0f;
        }
    }
}

DEVICE float4 four(const float* shared) { return *reinterpret_cast<const float4*>(shared); }

// A warp's 32 inputs of a chunk; `x` and `w` are its lane's first row of each.
DEVICE void multiply(float (&sums)[4][4], const float* x, const float* w) {
#pragma unroll 2
    for (unsigned k = 0; k < CHUNK / WARPS; k += 4) {
        float4 a[4], b[4];
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            a[i] = four(x + 8 * i * STRIDE + k);
            b[i] = four(w + 4 * i * STRIDE + k);
        }
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
                float sum = sums[i][j];
                sum = fmaf(a[i].x, b[j].x, sum);
                sum = fmaf(a[i].y, b[j].y, sum);
                sum = fmaf(a[i].z, b[j].z, sum);
                sums[i][j] = fmaf(a[i].w, b[j].w, sum);
            }
        }
    }
}

template <typename T>
DEVICE void linear(const LinearArguments& args) {
    float* shared_x = reinterpret_cast<float*>(dynamic_shared());
    float* shared_w = shared_x + ROWS * STRIDE;
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    unsigned output = blockIdx.x * COLUMNS, slice = blockIdx.y * ROWS;
    stage_weights<T>(args, shared_w, output, 0);
    grid_dependency_wait();
    unsigned slices = min(*args.count, args.capacity);
    if (slice >= slices) return;

    float sums[4][4] = {};
    for (unsigned first = 0; first < args.inputs; first += CHUNK) {
        if (first > 0) {
            __syncthreads();
            stage_weights<T>(args, shared_w, output, first);
        }
        stage_inputs(args, shared_x, slice, slices, first);
        __syncthreads();
        unsigned k = warp * (CHUNK / WARPS);
        multiply(sums, shared_x + lane % 8 * STRIDE + k, shared_w + lane / 8 * STRIDE + k);
    }
    grid_dependency_launch();

    __syncthreads();
    float* partial = shared_x;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) partial[(warp * ROWS + lane % 8 + 8 * i) * COLUMNS + lane / 8 + 4 * j] = sums[i][j];
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
        unsigned row = i / COLUMNS, column = i % COLUMNS;
        if (slice + row >= slices || output + column >= args.outputs) continue;
        float sum = partial[i];
#pragma unroll
        for (unsigned v = 1; v < WARPS; ++v) sum += partial[v * ROWS * COLUMNS + i];
        args.y[size_t(slice + row) * args.outputs + output + column] = sum + args.bias[output + column];
    }
}

}  // namespace

KERNEL(linear_f16, LinearArguments, 256, 2) { linear<f16>(args); }
KERNEL(linear_bf16, LinearArguments, 256, 2) { linear<bf16>(args); }
KERNEL(linear_f32, LinearArguments, 256, 2) { linear<float>(args); }
