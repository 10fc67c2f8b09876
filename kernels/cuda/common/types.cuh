// The element types: conversion, pairs, and the packed affine + ReLU of the prologues.
//
// Rounding is to nearest even with subnormals, overflow goes to infinity. A NaN stays one: `relu`, `max2` and `max_nan` hand it on, where the
// plain hardware max would drop it, so that a poisoned value cannot hide. Pairs are two elements in 32 bits, the first in the low half.
#pragma once

#include "target.cuh"

struct f16 {
    uint16_t bits;
};

struct bf16 {
    uint16_t bits;
};

#ifdef RADNET_EMULATED

DEVICE float to_float(f16 x) { return emulation::f16_to_float(x.bits); }
DEVICE float to_float(bf16 x) { return emulation::bf16_to_float(x.bits); }

namespace radnet {
DEVICE f16 round_to(float x, f16*) { return {emulation::float_to_f16(x)}; }
DEVICE bf16 round_to(float x, bf16*) { return {emulation::float_to_bf16(x)}; }
DEVICE uint16_t affine_relu(uint16_t x, uint16_t scale, uint16_t shift, f16*) { return emulation::f16_fma_relu(x, scale, shift); }
DEVICE uint16_t affine_relu(uint16_t x, uint16_t scale, uint16_t shift, bf16*) { return emulation::bf16_fma_relu(x, scale, shift); }
template <typename T>
DEVICE uint32_t pair(T lo, T hi) {
    return uint32_t(lo.bits) | uint32_t(hi.bits) << 16;
}
}  // namespace radnet

DEVICE float max_nan(float a, float b) {
    if (a != a || b != b) return emulation::canonical_nan();
    if (a == b) return __uint_as_float(__float_as_uint(a) & __float_as_uint(b));  // max(-0, +0) = +0
    return a > b ? a : b;
}

template <typename T>
DEVICE uint32_t pack2(float lo, float hi) {
    return radnet::pair(radnet::round_to(lo, static_cast<T*>(nullptr)), radnet::round_to(hi, static_cast<T*>(nullptr)));
}

template <typename T>
DEVICE uint32_t pack2_relu(float lo, float hi) {
    return pack2<T>(max_nan(lo, 0.0f), max_nan(hi, 0.0f));
}

template <typename T>
DEVICE uint32_t affine_relu2(uint32_t x, uint32_t scale, uint32_t shift) {
    T* type = nullptr;
    uint32_t lo = radnet::affine_relu(uint16_t(x), uint16_t(scale), uint16_t(shift), type);
    uint32_t hi = radnet::affine_relu(uint16_t(x >> 16), uint16_t(scale >> 16), uint16_t(shift >> 16), type);
    return lo | hi << 16;
}

template <typename T>
DEVICE uint32_t max2(uint32_t a, uint32_t b) {
    float lo = max_nan(to_float(T{uint16_t(a)}), to_float(T{uint16_t(b)}));
    float hi = max_nan(to_float(T{uint16_t(a >> 16)}), to_float(T{uint16_t(b >> 16)}));
    return pack2<T>(lo, hi);
}

#else

DEVICE float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

DEVICE float to_float(bf16 x) { return __uint_as_float(uint32_t(x.bits) << 16); }

namespace radnet {
DEVICE f16 round_to(float x, f16*) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

DEVICE bf16 round_to(float x, bf16*) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
}  // namespace radnet

DEVICE float max_nan(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

template <typename T>
DEVICE uint32_t pack2(float lo, float hi);
template <>
DEVICE uint32_t pack2<f16>(float lo, float hi) {
    uint32_t y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}
template <>
DEVICE uint32_t pack2<bf16>(float lo, float hi) {
    uint32_t y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}

// pack2 of the ReLU of both, in one instruction.
template <typename T>
DEVICE uint32_t pack2_relu(float lo, float hi);
template <>
DEVICE uint32_t pack2_relu<f16>(float lo, float hi) {
    uint32_t y;
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}
template <>
DEVICE uint32_t pack2_relu<bf16>(float lo, float hi) {
    uint32_t y;
    asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}

// relu(x·scale + shift) of both halves, each rounded once; a NaN becomes the canonical one.
template <typename T>
DEVICE uint32_t affine_relu2(uint32_t x, uint32_t scale, uint32_t shift);
template <>
DEVICE uint32_t affine_relu2<f16>(uint32_t x, uint32_t scale, uint32_t shift) {
    uint32_t y;
    asm("fma.rn.relu.f16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(x), "r"(scale), "r"(shift));
    return y;
}
template <>
DEVICE uint32_t affine_relu2<bf16>(uint32_t x, uint32_t scale, uint32_t shift) {
    uint32_t y;
    asm("fma.rn.relu.bf16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(x), "r"(scale), "r"(shift));
    return y;
}

template <typename T>
DEVICE uint32_t max2(uint32_t a, uint32_t b);
template <>
DEVICE uint32_t max2<f16>(uint32_t a, uint32_t b) {
    uint32_t y;
    asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
    return y;
}
template <>
DEVICE uint32_t max2<bf16>(uint32_t a, uint32_t b) {
    uint32_t y;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
    return y;
}

#endif

// Float32 in the place of an element, so that one template serves all three.
namespace radnet {
DEVICE float round_to(float x, float*) { return x; }
}  // namespace radnet

DEVICE float to_float(float x) { return x; }

template <typename T>
DEVICE T from_float(float x) {
    return radnet::round_to(x, static_cast<T*>(nullptr));
}

template <typename T>
DEVICE void unpack2(uint32_t pair, float& lo, float& hi) {
    lo = to_float(T{uint16_t(pair)});
    hi = to_float(T{uint16_t(pair >> 16)});
}

DEVICE float relu(float x) { return max_nan(x, 0.0f); }

// The float32 twin of affine_relu2, for one value.
DEVICE float affine_relu(float x, float scale, float shift) { return relu(fmaf(x, scale, shift)); }
