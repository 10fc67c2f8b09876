// HU slices → planes of the network's size: bilinear resampling with antialiasing, the separable triangle filter of the host
// (src/preprocess/resample.rs), to the same bits.
//
//   plane[s][y][x] = Σ_j wy[y][j] · (Σ_i wx[x][i] · hu[s][fy[y] + j][fx[x] + i])          or `outside` where y or x is padding
//
// Layouts: hu [slices][source_rows][source_columns] of int16 · plane [slices][rows][columns] of float · per axis, one entry for each output
// {first source pixel, taps, offset of the first weight}, no taps for padding, and the weights in double.
//
// A thread makes one pixel. Sums are double, products and sums rounded one by one in the order of the host, and rounded to float once: bits do
// not depend on where a slice was resampled. 512×512 → 256×256 has 4 × 4 taps, 67 million products for 32 slices: double is no burden even
// where it runs at 1/64 of float's rate (some 50 µs). Reads: the source once from memory, 16.8 MB for 32 slices, about 5 µs on an H200. Not
// measured.
#include "common/target.cuh"
#include "common/double.cuh"

struct ResampleTaps {
    uint32_t first, count, weight;
};

struct ResampleArguments {
    const int16_t* source;
    float* planes;
    const ResampleTaps* row_taps;
    const ResampleTaps* column_taps;
    const double* weights;
    const unsigned* position;  // [1]: the planes that are there
    int source_rows, source_columns, rows, columns;
    float outside;
    int reserved;
};

KERNEL(resample, ResampleArguments, 256, 4) {
    grid_dependency_wait();
    if (blockIdx.y >= args.position[1]) return;
    int pixel = int(blockIdx.x) * 256 + int(threadIdx.x);
    if (pixel >= args.rows * args.columns) return;
    ResampleTaps row = args.row_taps[pixel / args.columns], column = args.column_taps[pixel % args.columns];
    const int16_t* slice = args.source + size_t(blockIdx.y) * args.source_rows * args.source_columns;
    float value = args.outside;
    if (row.count != 0 && column.count != 0) {
        double sum = 0.0;
        for (uint32_t j = 0; j < row.count; ++j) {
            const int16_t* line = slice + size_t(row.first + j) * args.source_columns + column.first;
            double along = 0.0;
            for (uint32_t i = 0; i < column.count; ++i) along = add_rounded(along, multiply_rounded(double(line[i]), args.weights[column.weight + i]));
            sum = add_rounded(sum, multiply_rounded(args.weights[row.weight + j], along));
        }
        value = float(sum);
    }
    args.planes[size_t(blockIdx.y) * args.rows * args.columns + pixel] = value;
    grid_dependency_launch();
}
