// exp, sigmoid and tanh in float32: no library and no approximate instruction, so that every device gives the same bits.
//
// exp: x = n·ln 2 + r with |r| ≤ ln 2 / 2, ln 2 split in two, a polynomial of degree 6 for e^r, times 2^n. sigmoid: 1 / (1 + e^-x).
// tanh: an odd polynomial below 0.625, else 1 - 2 / (e^2x + 1). The coefficients are those of Cephes' expf and tanhf, as on the CPU.
// Errors: exp 1.5 ulp on [-87, 88], sigmoid 3 ulp above -80, tanh 3 ulp. Arguments beyond [-87.33, 88.37] (sigmoid: below -87) are
// clamped, so that no result is infinite or subnormal for a finite argument; a NaN stays one.
#pragma once

#include "target.cuh"

namespace radnet {

// 1.5 · 2^23: adding it leaves a whole number in the low bits.
constexpr float ROUND_BIAS = 12582912.0f;

// Clamps, but keeps a NaN.
DEVICE float clamp(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

}  // namespace radnet

DEVICE float exp_f32(float x) {
    x = radnet::clamp(x, -87.33f, 88.37f);
    float biased = fmaf(x, 1.44269504f, radnet::ROUND_BIAS);
    float n = biased - radnet::ROUND_BIAS;
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    float square = r * r;
    p = fmaf(p, square, r) + 1.0f;
    return p * __uint_as_float((__float_as_uint(biased) + 127u) << 23);
}

DEVICE float sigmoid_f32(float x) {
    return 1.0f / (exp_f32(-(x < -87.0f ? -87.0f : x)) + 1.0f);
}

namespace radnet {

// tanh of |x| < 0.625.
DEVICE float tanh_small(float x) {
    float square = x * x;
    float p = -5.70498872745e-3f;
    p = fmaf(p, square, 2.06390887954e-2f);
    p = fmaf(p, square, -5.37397155531e-2f);
    p = fmaf(p, square, 1.33314422036e-1f);
    p = fmaf(p, square, -3.33332819422e-1f);
    float scaled = p * square;
    return fmaf(scaled, x, x);
}

}  // namespace radnet

// tanh or sigmoid of x: lanes that want different ones share the exponential and the division. The same bits as by themselves.
DEVICE float tanh_or_sigmoid_f32(float x, bool wants_tanh) {
    float magnitude = fabsf(x), twice = magnitude + magnitude;
    float argument = wants_tanh ? (twice > 80.0f ? 80.0f : twice) : -(x < -87.0f ? -87.0f : x);
    float quotient = (wants_tanh ? 2.0f : 1.0f) / (exp_f32(argument) + 1.0f);
    float large = 1.0f - quotient;
    float tanh = magnitude < 0.625f ? radnet::tanh_small(x) : x < 0.0f ? -large : large;
    return wants_tanh ? tanh : quotient;
}

DEVICE float tanh_f32(float x) { return tanh_or_sigmoid_f32(x, true); }
