// Moving data: asynchronous copies into shared memory, matrix fragments out of it, 16-byte global accesses, and the shared memory of the
// other blocks of a cluster.
//
// cp.async copies are grouped by `cp_async_commit`; `cp_async_wait<N>` waits until all but this thread's last N groups have landed, and other
// threads see them after the next barrier. The cluster functions need sm_90; elsewhere they are for code that is never reached.
#pragma once

#include "target.cuh"

#ifdef RADNET_EMULATED

DEVICE void cp_async16(void* to, const void* from, bool valid, RADNET_HERE) { emulation::copy_async(to, from, valid, RADNET_SITE("cp_async16")); }
DEVICE void cp_async_commit() { emulation::copy_commit(); }
template <int PENDING>
DEVICE void cp_async_wait() {
    emulation::copy_wait(PENDING);
}

DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row, RADNET_HERE) { emulation::ldmatrix(r, row, 4, false, RADNET_SITE("ldmatrix_x4")); }
DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row, RADNET_HERE) { emulation::ldmatrix(r, row, 2, false, RADNET_SITE("ldmatrix_x2")); }
DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, RADNET_HERE) {
    emulation::ldmatrix(r, row, 4, true, RADNET_SITE("ldmatrix_x4_trans"));
}
DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, RADNET_HERE) {
    emulation::ldmatrix(r, row, 2, true, RADNET_SITE("ldmatrix_x2_trans"));
}

DEVICE uint4 load16(const void* global, RADNET_HERE) { return emulation::load_global16(global, RADNET_SITE("load16")); }
DEVICE void store16(void* to, uint4 value, RADNET_HERE) { emulation::store16(to, value, RADNET_SITE("store16")); }

DEVICE unsigned cluster_rank(RADNET_HERE) { return emulation::cluster_rank(RADNET_SITE("cluster_rank")); }
DEVICE unsigned cluster_size(RADNET_HERE) { return emulation::cluster_size(RADNET_SITE("cluster_size")); }
DEVICE void cluster_arrive(RADNET_HERE) { emulation::cluster_arrive(RADNET_SITE("cluster_arrive")); }
DEVICE void cluster_wait(RADNET_HERE) { emulation::cluster_wait(RADNET_SITE("cluster_wait")); }
DEVICE void cluster_sync(RADNET_HERE) { emulation::cluster_sync(RADNET_SITE("cluster_sync")); }

template <typename T>
DEVICE T* cluster_shared(T* mine, unsigned rank, RADNET_HERE) {
    return reinterpret_cast<T*>(emulation::cluster_shared((void*)mine, rank, RADNET_SITE("cluster_shared")));
}

#else

namespace radnet {
// The 32-bit address that shared-memory instructions take; a builtin, so that the compiler sees through it to constant offsets.
DEVICE uint32_t shared_address(const void* shared) { return uint32_t(__cvta_generic_to_shared(shared)); }
}  // namespace radnet

// Sixteen bytes from global to shared memory, past the L1 cache; zeros where not `valid`, without reading `from`. Both are 16-byte aligned.
DEVICE void cp_async16(void* to, const void* from, bool valid) {
    uint32_t bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(radnet::shared_address(to)), "l"(from), "r"(bytes) : "memory");
}

DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING>
DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Matrices of 8×8 16-bit elements. Lane 8·i + j gives the address of row j of matrix i (16-byte aligned); r[i] of lane l is then elements
// 2·(l mod 4) and the next of row l / 4 of matrix i; with `_trans`, of column l / 4.
DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(radnet::shared_address(row))
                 : "memory");
}

DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(radnet::shared_address(row))
                 : "memory");
}

DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(radnet::shared_address(row))
                 : "memory");
}

DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(radnet::shared_address(row))
                 : "memory");
}

// Sixteen bytes of global memory that nothing writes while the kernel runs.
DEVICE uint4 load16(const void* global) {
    uint4 v;
    asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(global));
    return v;
}

DEVICE void store16(void* to, uint4 value) { *static_cast<uint4*>(to) = value; }

#if RADNET_ARCH >= 900

DEVICE unsigned cluster_rank() {
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

DEVICE unsigned cluster_size() {
    uint32_t size;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
}

// A barrier of all threads of the cluster in two halves: what a thread wrote before it arrives is seen by all after they waited.
DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
DEVICE void cluster_sync() {
    cluster_arrive();
    cluster_wait();
}

// The same place as `mine` in the shared memory of another block of the cluster; both blocks must be running while it is used.
template <typename T>
DEVICE T* cluster_shared(T* mine, unsigned rank) {
    T* theirs;
    asm volatile("mapa.u64 %0, %1, %2;" : "=l"(theirs) : "l"(mine), "r"(rank));
    return theirs;
}

#else

DEVICE unsigned cluster_rank() { return 0; }
DEVICE unsigned cluster_size() { return 1; }
DEVICE void cluster_arrive() { __trap(); }
DEVICE void cluster_wait() { __trap(); }
DEVICE void cluster_sync() { __trap(); }
template <typename T>
DEVICE T* cluster_shared(T* mine, unsigned) {
    return mine;
}

#endif
#endif
