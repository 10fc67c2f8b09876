//! The fp32 families.

use super::numbers::{activations, weights};
use super::{Set, Workload};
use radnet_kernels::Isa;
use radnet_kernels::cpu::attention::{AttentionShape, AttentionWeights, Weighting, attention_pool};
use radnet_kernels::cpu::dense::{DenseShape, DenseWeights, dense_layer};
use radnet_kernels::cpu::gemm::{Matmul, matmul};
use radnet_kernels::cpu::layout::{matrix_len, pad, unaliased};
use radnet_kernels::cpu::math::{Function, apply};
use radnet_kernels::cpu::recurrent::{CellShape, CellWeights, recur};
use radnet_kernels::cpu::segmentation::{SegmentationShape, SegmentationWeights, segmentation_map};
use radnet_kernels::cpu::stem::{Slab, StemShape, stem};
use radnet_kernels::cpu::transition::{TransitionShape, TransitionWeights, transition};
use radnet_kernels::parallel::Crew;

/// Rows × outputs × length of the sums. Counted: whole and broken tiles of every tier. Timed: a block of pixels in each dense block, and a
/// point of Winograd.
pub(crate) fn products(set: Set) -> &'static [[usize; 3]] {
    match set {
        Set::Counted => &[[24, 128, 64], [13, 32, 128], [1, 64, 64]],
        Set::Timed => &[[96, 128, 128], [48, 128, 512], [24, 128, 1024], [16, 32, 128]],
    }
}

/// Side, channels between the convolutions, and channels appended of a layer that reads 16 channels, so that the 3×3 is nearly all of it.
pub(crate) fn windows(set: Set) -> [&'static [[usize; 3]]; 2] {
    match set {
        Set::Counted => [&[[8, 128, 32], [9, 64, 32]], &[[8, 48, 32], [2, 128, 32]]],
        Set::Timed => [&[[64, 128, 32], [16, 128, 32], [8, 128, 32]], &[[32, 48, 32], [2, 128, 32]]],
    }
}

/// Images × side × channels read; timed: the first and last layer of each block.
pub(crate) fn layers(set: Set) -> &'static [[usize; 3]] {
    match set {
        Set::Counted => &[[1, 8, 64], [2, 5, 96]],
        Set::Timed => &[[1, 64, 64], [1, 64, 224], [1, 32, 128], [1, 32, 480], [4, 16, 256], [4, 16, 992], [4, 8, 512], [4, 8, 992]],
    }
}

/// Side before the pool × channels read.
pub(crate) fn transitions(set: Set) -> &'static [[usize; 2]] {
    match set {
        Set::Counted => &[[8, 64], [7, 96]],
        Set::Timed => &[[64, 256], [32, 512], [16, 1024]],
    }
}

/// Channels × side of the input.
pub(crate) fn stems(set: Set) -> &'static [[usize; 2]] {
    match set {
        Set::Counted => &[[3, 32], [1, 37]],
        Set::Timed => &[[1, 256], [3, 256], [9, 256]],
    }
}

/// Side × channels × heads.
fn poolings(set: Set) -> &'static [[usize; 3]] {
    match set {
        Set::Counted => &[[8, 64, 1], [7, 96, 3]],
        Set::Timed => &[[8, 1024, 1], [16, 1024, 4]],
    }
}

/// Slices × width of the input × hidden units × gates.
fn recurrences(set: Set) -> &'static [[usize; 4]] {
    match set {
        Set::Counted => &[[4, 64, 32, 4], [3, 64, 24, 3]],
        Set::Timed => &[[32, 1024, 256, 4], [32, 1024, 256, 3]],
    }
}

/// Side of the map × channels × side of the input.
fn heads(set: Set) -> &'static [[usize; 3]] {
    match set {
        Set::Counted => &[[8, 64, 32]],
        Set::Timed => &[[64, 256, 256], [8, 1024, 256]],
    }
}

pub(crate) fn all(set: Set) -> Vec<Workload> {
    let mut all: Vec<Workload> = products(set).iter().map(product).collect();
    let [winograd, direct] = windows(set);
    all.extend(winograd.iter().map(|shape| window(shape, true)));
    all.extend(direct.iter().map(|shape| window(shape, false)));
    all.extend(layers(set).iter().map(layer));
    all.extend(transitions(set).iter().map(pooled));
    all.extend(stems(set).iter().map(first));
    all.extend(poolings(set).iter().map(attention));
    all.extend(recurrences(set).iter().map(recurrence));
    all.extend(heads(set).iter().map(segmentation));
    let values = if set == Set::Counted { 1000 } else { 100_000 };
    all.push(functions(values));
    all
}

fn product(&[rows, n, k]: &[usize; 3]) -> Workload {
    let (a, w, bias) = (activations(rows * unaliased(k)), weights(matrix_len(k, n), k), vec![0.1; pad(n)]);
    let body = move |isa: Isa, dst: &mut [f32]| {
        let m = Matmul { rows, k, n, a: &a, a_stride: unaliased(k), weights: &w, bias: &bias, relu: true };
        matmul(isa, &m, dst, pad(n));
    };
    Workload::new("1×1 fp32", format!("{rows}×{n}×{k}"), (rows * n * k) as u64, vec![0.0; rows * pad(n)], body)
}

fn window(&[side, mid, growth]: &[usize; 3], by_winograd: bool) -> Workload {
    let shape = DenseShape { images: 1, height: side, width: side, slab_stride: 16 + growth, in_channels: 16, mid, growth };
    assert_eq!(shape.winograd(), by_winograd, "{shape:?}");
    let family = if by_winograd { "3×3 Winograd fp32" } else { "3×3 direct fp32" };
    dense(family, format!("{side}×{side}×{mid}×{growth}"), shape)
}

fn layer(&[images, side, k]: &[usize; 3]) -> Workload {
    let shape = DenseShape { images, height: side, width: side, slab_stride: unaliased(k + 32), in_channels: k, mid: 128, growth: 32 };
    dense("dense layer fp32", format!("{images}×{side}×{side}×{k}"), shape)
}

fn dense(family: &'static str, name: String, shape: DenseShape) -> Workload {
    let (k, mid) = (shape.in_channels, shape.mid);
    let (conv1, conv2) = (weights(matrix_len(k, mid), k), weights(shape.conv2_len(), 9 * mid));
    let (scale, shift, bias1) = (vec![0.9; k], vec![0.05; k], vec![0.1; mid]);
    let mut scratch = vec![0.0; shape.scratch_len(1)];
    let slab = activations(shape.images * shape.height * shape.width * shape.slab_stride);
    let body = move |isa: Isa, slab: &mut [f32]| {
        let w = DenseWeights { scale: &scale, shift: &shift, conv1: &conv1, bias1: &bias1, conv2: &conv2 };
        dense_layer(isa, &shape, &w, None, slab, &mut scratch, &Crew::alone());
    };
    Workload::new(family, name, shape.flop() / 2, slab, body)
}

fn pooled(&[side, k]: &[usize; 2]) -> Workload {
    let n = pad(k / 2);
    let shape = TransitionShape { height: side, width: side, in_channels: k, src_stride: unaliased(k), out_channels: n, dst_stride: n };
    let (conv, scale, shift) = (weights(matrix_len(k, n), k), vec![0.9; k], vec![0.05; k]);
    let (src, mut scratch) = (activations(side * side * unaliased(k)), vec![0.0; shape.scratch_len()]);
    let body = move |isa: Isa, dst: &mut [f32]| {
        let w = TransitionWeights { scale: &scale, shift: &shift, conv: &conv };
        transition(isa, &shape, &w, (&src, None), dst, &mut scratch, &Crew::alone());
    };
    Workload::new("transition fp32", format!("{side}×{side}×{k}"), shape.flop() / 2, vec![0.0; (side / 2) * (side / 2) * n], body)
}

fn first(&[channels, side]: &[usize; 2]) -> Workload {
    let shape = StemShape { channels, height: side, width: side, out_channels: 64, slab_stride: 64 };
    let (w, bias) = (weights(shape.weights_len(), shape.k()), vec![0.1; 64]);
    let (image, mut scratch) = (activations(channels * side * side), vec![0.0; shape.scratch_len()]);
    let (rows, columns) = shape.output();
    let body =
        move |isa: Isa, dst: &mut [f32]| stem(isa, &shape, (&w, &bias), (&image, None), Slab::Floats(dst), &mut scratch, &Crew::alone());
    Workload::new("stem fp32", format!("{channels}×{side}×{side}"), shape.flop() / 2, vec![0.0; rows * columns * 64], body)
}

fn attention(&[side, channels, heads]: &[usize; 3]) -> Workload {
    let weighting = if heads > 1 { Weighting::Softmax } else { Weighting::Sigmoid };
    let shape = AttentionShape { height: side, width: side, channels, slab_stride: unaliased(channels), heads, weighting };
    let (w, bias) = (weights(matrix_len(channels, heads), channels), vec![0.1; pad(heads)]);
    let (scale, shift, slab) = (vec![0.9; channels], vec![0.05; channels], activations(side * side * unaliased(channels)));
    let (mut maps, mut scratch) = (vec![0.0; heads * side * side], vec![0.0; shape.scratch_len()]);
    let body = move |isa: Isa, pooled: &mut [f32]| {
        let w = AttentionWeights { scale: &scale, shift: &shift, heads: &w, bias: &bias };
        attention_pool(isa, &shape, &w, &slab, &mut maps, pooled, &mut scratch);
    };
    let multiply_adds = (2 * heads + 1) * side * side * channels;
    Workload::new("attention fp32", format!("{side}×{side}×{channels}×{heads}"), multiply_adds as u64, vec![0.0; heads * channels], body)
}

fn recurrence(&[slices, input, hidden, gates]: &[usize; 4]) -> Workload {
    let shape = CellShape { input, hidden, gates };
    let outputs = shape.outputs();
    let (w_input, w_hidden) = (weights(matrix_len(input, outputs), input), weights(matrix_len(hidden, outputs), hidden));
    let (bias, hidden_bias, x) = (vec![0.1; outputs], vec![0.05; outputs], activations(slices * input));
    let mut scratch = vec![0.0; shape.scratch_len(slices)];
    let body = move |isa: Isa, y: &mut [f32]| {
        let w = CellWeights { input: &w_input, bias: &bias, hidden: &w_hidden, hidden_bias: &hidden_bias };
        recur(isa, &shape, &w, false, &x, y, &mut scratch);
    };
    let multiply_adds = slices * gates * hidden * (input + hidden);
    let name = format!("{slices}×{input}×{hidden}×{}", if gates == 3 { "GRU" } else { "LSTM" });
    Workload::new("recurrence fp32", name, multiply_adds as u64, vec![0.0; slices * hidden], body)
}

fn segmentation(&[side, channels, input]: &[usize; 3]) -> Workload {
    let shape = SegmentationShape { height: side, width: side, channels, slab_stride: unaliased(channels) };
    let (conv, bias) = (weights(matrix_len(channels, 1), channels), vec![0.1; 16]);
    let (scale, shift, slab) = (vec![0.9; channels], vec![0.05; channels], activations(side * side * unaliased(channels)));
    let mut scratch = vec![0.0; shape.scratch_len()];
    let body = move |isa: Isa, dst: &mut [f32]| {
        let w = SegmentationWeights { scale: &scale, shift: &shift, conv: &conv, bias: &bias };
        segmentation_map(isa, &shape, &w, &slab, (dst, input, input), &mut scratch, &Crew::alone());
    };
    let multiply_adds = side * side * channels + 4 * input * input;
    Workload::new("segmentation fp32", format!("{side}×{side}×{channels}"), multiply_adds as u64, vec![0.0; input * input], body)
}

fn functions(len: usize) -> Workload {
    let values = activations(len);
    let body = move |isa: Isa, dst: &mut [f32]| {
        dst.copy_from_slice(&values);
        apply(isa, Function::Sigmoid, dst);
        apply(isa, Function::Tanh, dst);
        apply(isa, Function::Exp, dst);
    };
    Workload::new("functions fp32", format!("{len}"), 3 * len as u64, vec![0.0; len], body)
}
