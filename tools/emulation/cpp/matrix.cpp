// ldmatrix and mma.sync. The fragment maps are those of the PTX ISA, written down once more, independently of the kernels that use them.
#include <cstring>

#include "runtime.h"

namespace emulation {

namespace {

struct Load {
    uint32_t* to;
    const void* row;
};

struct Multiply {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
    bool is_f16;
};

float element(uint32_t pair, unsigned half, bool is_f16) {
    auto bits = uint16_t(pair >> 16 * half);
    return is_f16 ? f16_to_float(bits) : bf16_to_float(bits);
}

void check_rows(Fiber** lanes, unsigned matrices, const Site& site) {
    for (unsigned lane = 0; lane < 8 * matrices; lane++) {
        const void* row = static_cast<Load*>(lanes[lane]->operand)->row;
        const SharedMemory& shared = lanes[lane]->block->shared;
        if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail(site, "the row of lane %u at %p is no multiple of 16", lane, row);
        if (!shared.contains(row, 16)) {
            fail(site, "the row of lane %u is byte %td of %zu of shared memory", lane, static_cast<const unsigned char*>(row) - shared.base(), shared.bytes());
        }
    }
}

}  // namespace

void ldmatrix(uint32_t* to, const void* row, unsigned matrices, bool transposed, const Site& site) {
    Load mine{to, row};
    together(site, ~0u, &mine, [&](Fiber** lanes) {
        check_rows(lanes, matrices, site);
        for (unsigned matrix = 0; matrix < matrices; matrix++) {
            uint16_t elements[8][8];
            for (unsigned r = 0; r < 8; r++) std::memcpy(elements[r], static_cast<Load*>(lanes[8 * matrix + r]->operand)->row, 16);
            for (unsigned lane = 0; lane < 32; lane++) {
                unsigned g = lane / 4, t = lane % 4;
                uint32_t lo = transposed ? elements[2 * t][g] : elements[g][2 * t];
                uint32_t hi = transposed ? elements[2 * t + 1][g] : elements[g][2 * t + 1];
                static_cast<Load*>(lanes[lane]->operand)->to[matrix] = lo | hi << 16;
            }
        }
    });
}

void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, bool is_f16, const Site& site) {
    Multiply mine{d, a, b, is_f16};
    together(site, ~0u, &mine, [&](Fiber** lanes) {
        float rows[16][16], columns[16][8];
        for (unsigned lane = 0; lane < 32; lane++) {
            const auto& operands = *static_cast<Multiply*>(lanes[lane]->operand);
            unsigned g = lane / 4, t = lane % 4;
            for (unsigned i = 0; i < 2; i++) {
                for (unsigned high = 0; high < 2; high++) {
                    for (unsigned half = 0; half < 2; half++) rows[g + 8 * i][8 * high + 2 * t + half] = element(operands.a[i + 2 * high], half, is_f16);
                }
            }
            for (unsigned high = 0; high < 2; high++) {
                for (unsigned half = 0; half < 2; half++) columns[8 * high + 2 * t + half][g] = element(operands.b[high], half, is_f16);
            }
        }
        for (unsigned row = 0; row < 16; row++) {
            double sums[8] = {};
            for (unsigned k = 0; k < 16; k++) {
                for (unsigned n = 0; n < 8; n++) sums[n] += double(rows[row][k]) * double(columns[k][n]);
            }
            for (unsigned n = 0; n < 8; n++) {
                float& sum = static_cast<Multiply*>(lanes[row % 8 * 4 + n / 2]->operand)->d[row / 8 * 2 + n % 2];
                sum = float(double(sum) + sums[n]);
            }
        }
    });
}

}  // namespace emulation
