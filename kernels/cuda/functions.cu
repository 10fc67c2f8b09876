// y[i] = exp(x[i]), sigmoid(x[i]) or tanh(x[i]): common/math.cuh by itself, for tests on a device. One thread an element.

#include "common/target.cuh"
#include "common/math.cuh"

struct FunctionsArguments {
    const float* x;
    float* y;
    uint32_t count;
    uint32_t function;  // 0 exp, 1 sigmoid, 2 tanh
};

KERNEL(functions, FunctionsArguments, 256, 1) {
    grid_dependency_wait();
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < args.count) {
        float x = args.x[i];
        args.y[i] = args.function == 0 ? exp_f32(x) : args.function == 1 ? sigmoid_f32(x) : tanh_f32(x);
    }
    grid_dependency_launch();
}
