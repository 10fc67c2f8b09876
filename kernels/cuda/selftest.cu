// The first kernel of every device: each thread hands its number, mixed with a seed, to the thread opposite in its block.
//
//   out[i] = rotate_left((j ^ seed) * 0x9E3779B1, 13),   j = block·128 + 127 − i mod 128
//
// One block: 128 threads, 512 bytes of shared memory used at the end of however much is given, so that a launch with more than 48 KiB proves
// that the device grants it. Words past `count` are not written. 4 bytes written for each word: bound by the launch. Integers: exact.
#include "common/target.cuh"

struct SelftestArguments {
    uint32_t* out;
    uint32_t count;
    uint32_t seed;
};

constexpr unsigned selftest_threads = 128;
constexpr unsigned selftest_shared = 64 << 10;

KERNEL(selftest, SelftestArguments, selftest_threads, 1) {
    uint32_t* words = reinterpret_cast<uint32_t*>(dynamic_shared() + selftest_shared) - selftest_threads;
    const uint32_t thread = threadIdx.x;
    const uint32_t index = blockIdx.x * selftest_threads + thread;
    const uint32_t mixed = (index ^ args.seed) * 0x9E3779B1u;
    words[thread] = mixed << 13 | mixed >> 19;
    __syncthreads();
    grid_dependency_launch();
    if (index < args.count) args.out[index] = words[selftest_threads - 1 - thread];
}
