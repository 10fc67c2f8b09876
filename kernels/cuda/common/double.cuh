// Products and sums of double that no compiler fuses: each is rounded by itself, as on the host.
#pragma once

#include "target.cuh"

#ifdef RADNET_EMULATED

// The emulation is compiled without contraction.
DEVICE double multiply_rounded(double a, double b) { return a * b; }
DEVICE double add_rounded(double a, double b) { return a + b; }

#else

DEVICE double multiply_rounded(double a, double b) {
    double product;
    asm("mul.rn.f64 %0, %1, %2;" : "=d"(product) : "d"(a), "d"(b));
    return product;
}

DEVICE double add_rounded(double a, double b) {
    double sum;
    asm("add.rn.f64 %0, %1, %2;" : "=d"(sum) : "d"(a), "d"(b));
    return sum;
}

#endif
