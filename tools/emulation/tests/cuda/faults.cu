// What would end the process, and what an overlapping launch may not do.
#include "common/memory.cuh"

struct FaultArguments {
    const float* x;
    float* y;
    int bug;
    int n;
};

static __noinline__ float deep(const FaultArguments& args, int depth) {
    volatile float much[512];
    much[depth % 512] = float(depth);
    return depth == args.n * 1000 ? much[0] : deep(args, depth + 1) + much[depth % 512];
}

// y = x. Bug 1: an address where nothing is. Bug 2: more local memory than a thread has. Bug 3: a division by zero, x[0] being 1.
KERNEL(planted_fault, FaultArguments, 64, 1) {
    unsigned i = threadIdx.x;
    const float* from = args.bug == 1 && i == 5 ? reinterpret_cast<const float*>(uintptr_t{64}) : args.x + i;
    args.y[i] = *from;
    if (args.bug == 2 && i == 5) args.y[i] = deep(args, 0);
    if (args.bug == 3 && i == 5) args.y[i] = float(args.n / (int(args.x[0]) - 1));
}

// y = x + 1, where x is what the launch before wrote. Bug 1: it is read before the wait. Bug 2: there is no wait.
KERNEL(planted_overlap, FaultArguments, 64, 1) {
    unsigned i = blockIdx.x * 64 + threadIdx.x;
    float x = 0;
    if (args.bug == 1) x = args.x[i];
    if (args.bug != 2) grid_dependency_wait();
    if (args.bug != 1) x = args.x[i];
    grid_dependency_launch();
    args.y[i] = x + 1.0f;
}
