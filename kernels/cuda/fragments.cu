// What the other kernels take for granted, by itself, for tests on a device: which lane holds which element of a fragment, what ldmatrix hands
// out, how wgmma reads shared memory, and how the blocks of a cluster see one another.
//
// Products: block p multiplies problem p, d = a·b with a[m][k] and b[n][k] of the element type, both with k contiguous, and d[m][n] float32.
// The numbers of the tests are whole and small, so that every sum is exact and any wrong place shows.
// The emulation writes the same maps down once more; only a device can prove that both are the hardware's.

#include "common/target.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"
#include "common/wgmma.cuh"

struct FragmentProductArguments {
    const void* a;
    const void* b;
    float* d;
    uint32_t variant;
    uint32_t unused;
};

struct FragmentLoadArguments {
    const void* rows;
    uint32_t* out;
};

struct FragmentClusterArguments {
    uint32_t* out;
};

// Elements k and k + 1 of a row.
template <typename T>
DEVICE uint32_t pair_at(const T* row, unsigned k) {
    return uint32_t(row[k].bits) | uint32_t(row[k + 1].bits) << 16;
}

// Bytes from one row of a tile to the next: a multiple of 16 that spreads eight rows over all banks.
constexpr unsigned TILE_ROW = 48;

// m16n8k16. Variant 0 takes both fragments from global memory by the map in mma.cuh; 1 by ldmatrix, as rows of k; 2 the same with b stored as
// rows of n and transposed on the way.
template <typename T>
DEVICE void multiply(const FragmentProductArguments& args) {
    grid_dependency_wait();
    const T* a = static_cast<const T*>(args.a) + blockIdx.x * 256;
    const T* b = static_cast<const T*>(args.b) + blockIdx.x * 128;
    unsigned lane = threadIdx.x, g = lane / 4, t = lane % 4;
    uint32_t a_fragment[4], b_fragment[2];
    if (args.variant == 0) {
        for (unsigned i = 0; i < 4; i++) a_fragment[i] = pair_at(a + (g + i % 2 * 8) * 16, 2 * t + i / 2 * 8);
        for (unsigned i = 0; i < 2; i++) b_fragment[i] = pair_at(b + g * 16, 2 * t + i * 8);
    } else {
        unsigned char* a_tile = dynamic_shared();
        unsigned char* b_tile = a_tile + 16 * TILE_ROW;
        unsigned char* b_transposed = b_tile + 8 * TILE_ROW;
        for (unsigned i = lane; i < 256; i += 32) reinterpret_cast<T*>(a_tile + i / 16 * TILE_ROW)[i % 16] = a[i];
        for (unsigned i = lane; i < 128; i += 32) {
            reinterpret_cast<T*>(b_tile + i / 16 * TILE_ROW)[i % 16] = b[i];
            reinterpret_cast<T*>(b_transposed + i % 16 * 16)[i / 16] = b[i];
        }
        __syncwarp();
        ldmatrix_x4(a_fragment, a_tile + lane % 16 * TILE_ROW + lane / 16 * 16);
        if (args.variant == 1) {
            ldmatrix_x2(b_fragment, b_tile + lane % 8 * TILE_ROW + lane / 8 % 2 * 16);
        } else {
            ldmatrix_x2_trans(b_fragment, b_transposed + lane % 16 * 16);
        }
    }
    float d[4] = {0, 0, 0, 0};
    mma_m16n8k16<T>(d, a_fragment, b_fragment);
    float* out = args.d + blockIdx.x * 128;
    for (unsigned i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
    grid_dependency_launch();
}

KERNEL(fragments_mma_f16, FragmentProductArguments, 32, 1) { multiply<f16>(args); }
KERNEL(fragments_mma_bf16, FragmentProductArguments, 32, 1) { multiply<bf16>(args); }

// One warp; lane l hands out row l of 32 rows of 16 bytes. The registers of the four forms go to out[form][lane][register]; forms of two
// matrices leave registers 2 and 3 zero.
KERNEL(fragments_ldmatrix, FragmentLoadArguments, 32, 1) {
    grid_dependency_wait();
    unsigned lane = threadIdx.x;
    uint4* rows = reinterpret_cast<uint4*>(dynamic_shared());
    cp_async16(rows + lane, static_cast<const uint4*>(args.rows) + lane, true);
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();
    uint32_t forms[4][4] = {};
    uint32_t two[2];
    ldmatrix_x4(forms[0], rows + lane);
    ldmatrix_x4_trans(forms[1], rows + lane);
    ldmatrix_x2(two, rows + lane);
    forms[2][0] = two[0], forms[2][1] = two[1];
    ldmatrix_x2_trans(two, rows + lane);
    forms[3][0] = two[0], forms[3][1] = two[1];
    for (unsigned form = 0; form < 4; form++) {
        for (unsigned i = 0; i < 4; i++) args.out[(form * 32 + lane) * 4 + i] = forms[form][i];
    }
    grid_dependency_launch();
}

// m64nNk16, four times along k in two groups; a is 64×64, b N×64. Variant 0: no swizzle, core matrices next to each other along k; 1: along n;
// 2: swizzled by 128 bytes.
template <typename T, int N>
DEVICE void multiply_asynchronously(const FragmentProductArguments& args) {
#if RADNET_WGMMA
    grid_dependency_wait();
    const T* a = static_cast<const T*>(args.a) + blockIdx.x * 64 * 64;
    const T* b = static_cast<const T*>(args.b) + blockIdx.x * N * 64;
    unsigned char* shared = dynamic_shared();
    unsigned lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4, t = lane % 4;
    // From one core matrix to the next along k and along n, in bytes.
    uint32_t leading = args.variant == 1 ? N / 8 * 128 : 128, stride = args.variant == 1 ? 128 : 1024;
    for (unsigned i = threadIdx.x; i < N * 64; i += 128) {
        unsigned n = i / 64, k = i % 64;
        unsigned at = args.variant == 2 ? swizzle128(n * 128 + k * 2) : n / 8 * stride + k / 8 * leading + n % 8 * 16 + k % 8 * 2;
        *reinterpret_cast<T*>(shared + at) = b[i];
    }
    fence_proxy_async();
    __syncthreads();
    uint64_t descriptor = wgmma_descriptor(shared, args.variant == 2 ? Swizzle::bytes128 : Swizzle::none, leading, stride);
    uint64_t step = args.variant == 2 ? 2 : 2 * leading / 16;
    uint32_t a_fragments[4][4];
    for (unsigned k = 0; k < 4; k++) {
        for (unsigned i = 0; i < 4; i++) a_fragments[k][i] = pair_at(a + (row + i % 2 * 8) * 64, k * 16 + 2 * t + i / 2 * 8);
    }
    float d[N / 2];
    for (unsigned i = 0; i < N / 2; i++) d[i] = 0;
    wgmma_fence(d);
    wgmma_m64k16<T, N>(d, a_fragments[0], descriptor, false);
    wgmma_m64k16<T, N>(d, a_fragments[1], descriptor + step);
    wgmma_commit();
    wgmma_fence(d);
    wgmma_m64k16<T, N>(d, a_fragments[2], descriptor + 2 * step);
    wgmma_m64k16<T, N>(d, a_fragments[3], descriptor + 3 * step);
    wgmma_commit();
    wgmma_wait<0>(d);
    float* out = args.d + blockIdx.x * 64 * N;
    for (unsigned i = 0; i < N / 2; i++) out[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + 2 * t + i % 2] = d[i];
    grid_dependency_launch();
#else
    __trap();
#endif
}

KERNEL(fragments_wgmma_f16_n8, FragmentProductArguments, 128, 1) { multiply_asynchronously<f16, 8>(args); }
KERNEL(fragments_wgmma_f16_n32, FragmentProductArguments, 128, 1) { multiply_asynchronously<f16, 32>(args); }
KERNEL(fragments_wgmma_f16_n128, FragmentProductArguments, 128, 1) { multiply_asynchronously<f16, 128>(args); }
KERNEL(fragments_wgmma_bf16_n16, FragmentProductArguments, 128, 1) { multiply_asynchronously<bf16, 16>(args); }
KERNEL(fragments_wgmma_bf16_n64, FragmentProductArguments, 128, 1) { multiply_asynchronously<bf16, 64>(args); }
KERNEL(fragments_wgmma_bf16_n96, FragmentProductArguments, 128, 1) { multiply_asynchronously<bf16, 96>(args); }

// Each block tells its right neighbour in the cluster, by reading and by writing. out[block] = its rank, the cluster's size, 32 words read from
// the neighbour, 32 words that the left neighbour wrote here: 1000·(the other's rank) + i, and 500 more where written.
KERNEL(fragments_cluster, FragmentClusterArguments, 32, 1) {
    grid_dependency_wait();
    uint32_t* words = reinterpret_cast<uint32_t*>(dynamic_shared());
    unsigned i = threadIdx.x, rank = cluster_rank(), size = cluster_size();
    uint32_t* out = args.out + blockIdx.x * 66;
    words[i] = 1000 * rank + i;
    cluster_sync();
    uint32_t* theirs = cluster_shared(words, (rank + 1) % size);
    out[2 + i] = theirs[i];
    theirs[32 + i] = 1000 * rank + 500 + i;
    cluster_sync();
    out[34 + i] = words[32 + i];
    if (i == 0) {
        out[0] = rank;
        out[1] = size;
    }
    grid_dependency_launch();
}
