// Tiles of matrices in shared memory: rows of 64 bytes in pieces of 16, placed so that eight consecutive rows are read without bank conflicts.
#pragma once

#include "target.cuh"

constexpr int LINE = 64;

// Elements of a piece.
template <typename T>
constexpr int PIECE = 16 / int(sizeof(T));

// Where piece `piece` of row `row` lies.
DEVICE int line_at(int row, int piece) { return row * LINE + ((piece ^ (row >> 1 & 3)) << 4); }

// From the pieces 0 and 1 of a row to the pieces 2 and 3: what is added for the second 32 bytes. Only bit 2 of the row counts.
DEVICE int second_half(int row) { return 32 - ((row & 4) << 4); }

// Float32 element `k` of a row.
DEVICE float line_float(const unsigned char* lines, int row, int k) {
    return *reinterpret_cast<const float*>(lines + line_at(row, k / 4) + k % 4 * 4);
}
