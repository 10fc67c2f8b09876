// norm·ReLU and a dot product over the channels of some positions of a slab: the scores of attention and the logits of segmentation.
#pragma once

#include "types.cuh"
#include "widen.cuh"

// Positions of a slice's slab in their own type.
template <typename T>
struct Positions {
    const T* slab;  // of the slice
    unsigned area;
    unsigned channels;  // a multiple of 16
    unsigned stride;
    const float* scale;
    const float* shift;
};

// sums[p][h] = Σ_c w[h·channels + c] · relu(scale[c] · x[first + p][c] + shift[c]) for `heads` ≤ HEADS, by one warp: each lane takes runs of
// eight channels, and the 32 partial sums are added by halves, so that every lane has the result. Positions beyond the map are zero.
template <typename T, unsigned COUNT, unsigned HEADS>
DEVICE void dot_positions(float (&sums)[COUNT][HEADS], const Positions<T>& at, unsigned first, const float* weights, unsigned heads) {
#pragma unroll
    for (unsigned p = 0; p < COUNT; ++p) {
#pragma unroll
        for (unsigned head = 0; head < HEADS; ++head) sums[p][head] = 0.0f;
    }
    for (unsigned c = threadIdx.x % 32 * 8; c < at.channels; c += 256) {
        float scale[8], shift[8], x[COUNT][8];
        load8(at.scale + c, scale);
        load8(at.shift + c, shift);
#pragma unroll
        for (unsigned p = 0; p < COUNT; ++p) {
            if (first + p >= at.area) {
#pragma unroll
                for (unsigned i = 0; i < 8; ++i) x[p][i] = 0.0f;
                continue;
            }
            read8(at.slab + size_t(first + p) * at.stride + c, x[p]);
#pragma unroll
            for (unsigned i = 0; i < 8; ++i) x[p][i] = affine_relu(x[p][i], scale[i], shift[i]);
        }
#pragma unroll
        for (unsigned head = 0; head < HEADS; ++head) {
            if (head >= heads) break;
            float w[8];
            load8(weights + size_t(head) * at.channels + c, w);
#pragma unroll
            for (unsigned p = 0; p < COUNT; ++p) {
#pragma unroll
                for (unsigned i = 0; i < 8; ++i) sums[p][head] = fmaf(w[i], x[p][i], sums[p][head]);
            }
        }
    }
#pragma unroll
    for (unsigned p = 0; p < COUNT; ++p) {
#pragma unroll
        for (unsigned head = 0; head < HEADS; ++head) {
#pragma unroll
            for (unsigned lanes = 16; lanes > 0; lanes /= 2) sums[p][head] += __shfl_xor_sync(~0u, sums[p][head], lanes);
        }
    }
}
