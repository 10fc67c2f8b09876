//! One group per kernel family, shapes as data; throughput in multiply-adds, so that a rate can be read beside the machine's FMA peak.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use radnet_kernels::Isa;
use radnet_kernels::cpu::dense::{DenseShape, DenseWeights, dense_layer};
use radnet_kernels::cpu::gemm::{Matmul, matmul};
use radnet_kernels::cpu::layout::{matrix_len, unaliased};
use radnet_kernels::cpu::stem::{StemShape, stem};
use std::hint::black_box;

/// rows × outputs × k: the register tile alone, 1×1 blocks of each block of DenseNet-121, one point of Winograd.
const PRODUCTS: [(usize, usize, usize); 5] = [(6, 16, 256), (96, 128, 128), (48, 128, 512), (24, 128, 1024), (16, 32, 128)];
/// images × side × channels read: the first and last layer of each block at 256×256.
const LAYERS: [(usize, usize, usize); 8] =
    [(1, 64, 64), (1, 64, 224), (1, 32, 128), (1, 32, 480), (4, 16, 256), (4, 16, 992), (4, 8, 512), (4, 8, 992)];

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for (rows, n, k) in PRODUCTS {
        let (a, weights, bias) = (vec![0.5; rows * unaliased(k)], vec![0.25; matrix_len(k, n)], vec![0.0; n]);
        let mut dst = vec![0.0; rows * n];
        group.throughput(Throughput::Elements((rows * n * k) as u64));
        for isa in Isa::available().filter(|i| i.name() != "portable") {
            group.bench_function(BenchmarkId::new(isa.name(), format!("{rows}x{n}x{k}")), |b| {
                let m = Matmul { rows, k, n, a: &a, a_stride: unaliased(k), weights: &weights, bias: &bias, relu: false };
                b.iter(|| matmul(isa, black_box(&m), &mut dst, n));
            });
        }
    }
}

fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("dense layer");
    for (images, side, k) in LAYERS {
        let shape = DenseShape { images, height: side, width: side, slab_stride: unaliased(k + 32), in_channels: k, mid: 128, growth: 32 };
        let (conv1, conv2) = (vec![0.01; matrix_len(k, 128)], vec![0.01; shape.conv2_len()]);
        let norm = vec![0.5; k.max(128)];
        let weights = DenseWeights { scale: &norm, shift: &norm, conv1: &conv1, bias1: &norm, conv2: &conv2 };
        let mut slab = vec![0.5; images * side * side * shape.slab_stride];
        let mut scratch = vec![0.0; shape.scratch_len(1)];
        group.throughput(Throughput::Elements(shape.flop() / 2));
        for isa in Isa::available().filter(|i| i.name() != "portable") {
            group.bench_function(BenchmarkId::new(isa.name(), format!("{images}x{side}x{side}x{k}")), |b| {
                b.iter(|| dense_layer(isa, &shape, &weights, None, black_box(&mut slab), &mut scratch, 1));
            });
        }
    }
}

fn stems(c: &mut Criterion) {
    let mut group = c.benchmark_group("stem");
    for channels in [1, 3, 9] {
        let shape = StemShape { channels, height: 256, width: 256, out_channels: 64, slab_stride: 272 };
        let (weights, bias) = (vec![0.01; matrix_len(shape.k(), 64)], vec![0.0; 64]);
        let image = vec![0.5; channels * 256 * 256];
        let (mut slab, mut scratch) = (vec![0.0; 64 * 64 * 272], vec![0.0; shape.scratch_len()]);
        group.throughput(Throughput::Elements(shape.flop() / 2));
        for isa in Isa::available().filter(|i| i.name() != "portable") {
            group.bench_function(BenchmarkId::new(isa.name(), channels), |b| {
                b.iter(|| stem(isa, &shape, (&weights, &bias), (black_box(&image), None), &mut slab, &mut scratch, 1));
            });
        }
    }
}

criterion_group!(benches, products, layers, stems);
criterion_main!(benches);
