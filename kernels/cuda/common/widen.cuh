// Elements of global memory as float32.
#pragma once

#include "memory.cuh"
#include "types.cuh"

// Sixteen bytes: eight f16 or bf16, or four float32.
template <typename T>
DEVICE void widen(uint4 raw, float (&v)[8], const T*) {
    unpack2<T>(raw.x, v[0], v[1]);
    unpack2<T>(raw.y, v[2], v[3]);
    unpack2<T>(raw.z, v[4], v[5]);
    unpack2<T>(raw.w, v[6], v[7]);
}

DEVICE void widen(uint4 raw, float (&v)[4], const float*) {
    v[0] = __uint_as_float(raw.x);
    v[1] = __uint_as_float(raw.y);
    v[2] = __uint_as_float(raw.z);
    v[3] = __uint_as_float(raw.w);
}

// Eight elements that nothing writes while the kernel runs, 16-byte aligned.
template <typename T>
DEVICE void load8(const T* from, float (&v)[8]) {
    widen(load16(from), v, from);
}

DEVICE void load8(const float* from, float (&v)[8]) {
    float low[4], high[4];
    widen(load16(from), low, from);
    widen(load16(from + 4), high, from);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        v[i] = low[i];
        v[4 + i] = high[i];
    }
}

// Eight elements that an earlier kernel wrote, 16-byte aligned.
template <typename T>
DEVICE void read8(const T* from, float (&v)[8]) {
    widen(*reinterpret_cast<const uint4*>(from), v, from);
}

DEVICE void read8(const float* from, float (&v)[8]) {
    float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
    v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
    v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}
