// What the two kernels of the recurrence share: their arguments and what a cell does with its gates.
#pragma once

#include "math.cuh"
#include "target.cuh"

struct RecurrentArguments {
    const void* weights;
    const float* bias;
    const float* projections;
    float* outputs;
    const uint32_t* count;
    uint32_t hidden;
    uint32_t gates;
    uint32_t directions;
    uint32_t capacity;
    uint32_t tiles;
    uint32_t fragments;
};

// σ(i), σ(f), tanh(g), σ(o) and c, which is replaced; returns h.
DEVICE float lstm_update(float input, float forget, float candidate, float output, float& cell) {
    cell = fmaf(input, candidate, forget * cell);
    return output * tanh_f32(cell);
}

// σ(r), σ(z), W_hn·h + b_hn, x_n and h; returns the new h.
DEVICE float gru_update(float reset, float update, float recurrent, float projection, float h) {
    float candidate = tanh_f32(fmaf(reset, recurrent, projection));
    return fmaf(update, h - candidate, candidate);
}
