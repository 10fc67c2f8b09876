// The arithmetic of common/types.cuh by itself, for tests on a device: conversions, pairs, and the packed affine + ReLU. One thread a word.
// `operation` says what becomes of word i:
//   0  both halves of x[i] as float32, to out[2i] and out[2i+1]
//   1  the float32 x[2i] and x[2i+1] as a pair, to out[i]        2  the same of their ReLU
//   3  relu(x[i]·y[i] + z[i]) of both halves, to out[i]          4  the larger of x[i] and y[i] in both halves, to out[i]

#include "common/target.cuh"
#include "common/types.cuh"

struct NumbersArguments {
    const uint32_t* x;
    const uint32_t* y;
    const uint32_t* z;
    uint32_t* out;
    uint32_t count;
    uint32_t operation;
};

template <typename T>
DEVICE void compute(const NumbersArguments& args) {
    grid_dependency_wait();
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < args.count) {
        if (args.operation == 0) {
            float lo, hi;
            unpack2<T>(args.x[i], lo, hi);
            args.out[2 * i] = __float_as_uint(lo);
            args.out[2 * i + 1] = __float_as_uint(hi);
        } else if (args.operation == 1) {
            args.out[i] = pack2<T>(__uint_as_float(args.x[2 * i]), __uint_as_float(args.x[2 * i + 1]));
        } else if (args.operation == 2) {
            args.out[i] = pack2_relu<T>(__uint_as_float(args.x[2 * i]), __uint_as_float(args.x[2 * i + 1]));
        } else if (args.operation == 3) {
            args.out[i] = affine_relu2<T>(args.x[i], args.y[i], args.z[i]);
        } else {
            args.out[i] = max2<T>(args.x[i], args.y[i]);
        }
    }
    grid_dependency_launch();
}

KERNEL(numbers_f16, NumbersArguments, 256, 1) { compute<f16>(args); }
KERNEL(numbers_bf16, NumbersArguments, 256, 1) { compute<bf16>(args); }
