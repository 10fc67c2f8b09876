// LSTM and GRU over the slices of a scan, all directions of a layer at once; this file is the kernel that runs everywhere.
//
//   LSTM (i, f, g, o): c = σ(f)·c + σ(i)·tanh(g), h = σ(o)·tanh(c)
//   GRU  (r, z, n):    n = tanh(x_n + σ(r)·(W_hn·h + b_hn)), h = (1 - σ(z))·n + σ(z)·h
//   Every gate is x + W_hh·h; x [slices][directions][gates][hidden] float32 comes with the biases (but for b_hn) from linear.cu.
// Layout: W_hh of T, runs of 8 inputs (padded by zeros): [directions][runs][hidden][4 gates][8]; GRU's fourth gate is never read.
//   Outputs float32 [slices][directions][hidden]; backward runs from the last slice.
// Tile: one block a direction, up to 1024 threads; four lanes a unit, one for each gate, exchange their sums by shuffles. h twice, so that
//   one barrier a step is enough, and c: 12 bytes of shared memory a unit.
// Roof: a step streams W_hh (256 units: 512 KB) from the L2 cache into one multiprocessor: 64 bytes a clock, 4.7 µs; predicted 6 µs a slice
//   on an A100 or H200. Where clusters exist recurrent_cluster.cu holds the weights on the chip instead.
// Order: one chain over the inputs. Error of a gate: γ_{hidden + 1}·(Σ|h||w| + |x|), carried on by the recurrence.

#include "common/target.cuh"
#include "common/types.cuh"
#include "common/memory.cuh"
#include "common/math.cuh"
#include "common/recurrent.cuh"
#include "common/widen.cuh"

namespace {

// Σ h·w of one gate of one unit; `weights` is its first run, `stride` elements from run to run.
template <typename T>
DEVICE float gate_sum(const T* weights, size_t stride, const float* h, unsigned runs) {
    constexpr unsigned AHEAD = sizeof(T) == 2 ? 4 : 2;  // runs in flight, as many as 64 registers hold
    float sum = 0.0f;
#pragma unroll AHEAD
    for (unsigned run = 0; run < runs; ++run) {
        float w[8];
        load8(weights + run * stride, w);
        float4 low = *reinterpret_cast<const float4*>(h + 8 * run), high = *reinterpret_cast<const float4*>(h + 8 * run + 4);
        sum = fmaf(w[0], low.x, sum);
        sum = fmaf(w[1], low.y, sum);
        sum = fmaf(w[2], low.z, sum);
        sum = fmaf(w[3], low.w, sum);
        sum = fmaf(w[4], high.x, sum);
        sum = fmaf(w[5], high.y, sum);
        sum = fmaf(w[6], high.z, sum);
        sum = fmaf(w[7], high.w, sum);
    }
    return sum;
}

template <typename T>
DEVICE void recurrent(const RecurrentArguments& args) {
    unsigned hidden = args.hidden, runs = ceil_div(hidden, 8u), direction = blockIdx.x;
    bool lstm = args.gates == 4;
    float* state = reinterpret_cast<float*>(dynamic_shared());
    float* cell = state + 16 * runs;
    for (unsigned i = threadIdx.x; i < 16 * runs + hidden; i += blockDim.x) state[i] = 0.0f;
    grid_dependency_wait();
    unsigned slices = min(*args.count, args.capacity);
    __syncthreads();

    unsigned gate = threadIdx.x % 4, first = threadIdx.x % 32 / 4 * 4;
    const T* weights = static_cast<const T*>(args.weights) + size_t(direction) * runs * hidden * 32 + gate * 8;
    for (unsigned step = 0; step < slices; ++step) {
        unsigned slice = direction == 0 ? step : slices - 1 - step;
        const float* h = state + step % 2 * 8 * runs;
        float* next = state + (step + 1) % 2 * 8 * runs;
        const float* projections = args.projections + (size_t(slice) * args.directions + direction) * args.gates * hidden;
        float* outputs = args.outputs + (size_t(slice) * args.directions + direction) * hidden;
        // All lanes of a warp go through the loop together: they exchange sums.
        for (unsigned base = 0; base < hidden; base += blockDim.x / 4) {
            unsigned unit = base + threadIdx.x / 4;
            float x = 0.0f, sum = 0.0f;
            if (unit < hidden && gate < args.gates) {
                x = projections[gate * hidden + unit];
                sum = gate_sum(weights + size_t(unit) * 32, size_t(hidden) * 32, h, runs);
            }
            // What the unit's first lane needs of this gate: of GRU's n, W_hn·h + b_hn.
            float mine = tanh_or_sigmoid_f32(x + sum, gate == 2);
            if (!lstm && gate == 2) mine = unit < hidden ? sum + args.bias[direction * hidden + unit] : 0.0f;
            float second = __shfl_sync(~0u, mine, first + 1), third = __shfl_sync(~0u, mine, first + 2);
            float fourth = __shfl_sync(~0u, lstm ? mine : x, first + (lstm ? 3 : 2));
            if (gate != 0 || unit >= hidden) continue;
            float y;
            if (lstm) {
                y = lstm_update(mine, second, third, fourth, cell[unit]);
            } else {
                y = gru_update(mine, second, third, fourth, h[unit]);
            }
            next[unit] = y;
            outputs[unit] = y;
        }
        __syncthreads();
    }
    grid_dependency_launch();
}

}  // namespace

KERNEL(recurrent_f16, RecurrentArguments, 1024, 1) { recurrent<f16>(args); }
KERNEL(recurrent_bf16, RecurrentArguments, 1024, 1) { recurrent<bf16>(args); }
KERNEL(recurrent_f32, RecurrentArguments, 1024, 1) { recurrent<float>(args); }
