// f16 and bf16 arithmetic with one rounding to nearest even, subnormals, infinities, and the canonical NaN of PTX.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulation {

inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline uint64_t bits_of(double x) {
    uint64_t bits;
    std::memcpy(&bits, &x, 8);
    return bits;
}

inline double double_of(uint64_t bits) {
    double x;
    std::memcpy(&x, &bits, 8);
    return x;
}

inline float canonical_nan() { return float_of(0x7fffffffu); }

inline float bf16_to_float(uint16_t bits) { return float_of(uint32_t(bits) << 16); }

// The exponent is moved by a multiplication, which is exact for subnormals too.
inline float f16_to_float(uint16_t bits) {
    uint32_t magnitude = uint32_t(bits & 0x7fff) << 13;
    float value = float_of(magnitude) * 0x1p112f;
    uint32_t special = (bits & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    return float_of(bits_of(value) | special | uint32_t(bits & 0x8000) << 16);
}

inline uint16_t float_to_bf16(float x) {
    if (x != x) return 0x7fff;
    uint32_t bits = bits_of(x);
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline uint16_t float_to_f16(float x) {
    uint32_t bits = bits_of(x);
    uint16_t sign = uint16_t(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 and up: the tie above the largest finite value goes to infinity
    if (magnitude < 0x38800000) {                       // below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the lowest bits, rounded
        return sign | uint16_t(bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u);
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return sign | uint16_t((rounded - 0x38000000u) >> 13);
}

// x·y + z rounded to odd in double, so that one more rounding, to 24 bits or fewer, is the only one that shows. The product of two f16 or
// bf16 numbers is exact in double.
inline double fma_to_odd(float x, float y, float z) {
    double product = double(x) * double(y), addend = z;
    double sum = product + addend;
    double part = sum - product;
    double error = (product - (sum - part)) + (addend - part);
    if (error == 0 || !std::isfinite(sum)) return sum;
    uint64_t bits = bits_of(sum);
    if ((error > 0) != (sum > 0)) bits -= 1;
    return double_of(bits | 1);
}

// A double that was rounded to odd as a float that still is: enough bits for one rounding to f16 or bf16.
inline float narrow_to_odd(double x) {
    float y = float(x);
    if (double(y) == x || x != x) return y;
    uint32_t bits = bits_of(y);
    if (std::fabs(double(y)) > std::fabs(x)) bits -= 1;  // towards zero, from infinity too
    return float_of(bits | 1);
}

inline float relu_number(float x) { return x > 0 ? x : 0.0f; }

inline uint16_t f16_fma_relu(uint16_t x, uint16_t scale, uint16_t shift) {
    float y = narrow_to_odd(fma_to_odd(f16_to_float(x), f16_to_float(scale), f16_to_float(shift)));
    return y != y ? uint16_t(0x7fff) : float_to_f16(relu_number(y));
}

inline uint16_t bf16_fma_relu(uint16_t x, uint16_t scale, uint16_t shift) {
    float y = narrow_to_odd(fma_to_odd(bf16_to_float(x), bf16_to_float(scale), bf16_to_float(shift)));
    return y != y ? uint16_t(0x7fff) : float_to_bf16(relu_number(y));
}

}  // namespace emulation
