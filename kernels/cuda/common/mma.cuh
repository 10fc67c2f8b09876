// The tensor cores of sm_80 and later: d += a·b with a of 16×16, b of 16×8, d of 16×8, by one warp.
//
// With g = lane / 4 and t = lane mod 4, a lane holds (pairs are along k, the lower k in the low half):
//   a[0] = A[g][2t..]   a[1] = A[g+8][2t..]   a[2] = A[g][2t+8..]   a[3] = A[g+8][2t+8..]
//   b[0] = B[2t..][g]   b[1] = B[2t+8..][g]
//   d[0] = D[g][2t]     d[1] = D[g][2t+1]     d[2] = D[g+8][2t]     d[3] = D[g+8][2t+1]
// Products are exact. The device adds them and d in an order and with a truncation of its own; the emulation adds the sixteen products in
// order of k in double, adds d, and rounds once.
#pragma once

#include "types.cuh"

#ifdef RADNET_EMULATED

template <typename T>
DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], RADNET_HERE) {
    static_assert(sizeof(T) == 2, "tensor cores multiply f16 or bf16 here");
    emulation::mma_m16n8k16(d, a, b, __is_same(T, f16), RADNET_SITE("mma_m16n8k16"));
}

#else

template <typename T>
DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
DEVICE void mma_m16n8k16<f16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
DEVICE void mma_m16n8k16<bf16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
