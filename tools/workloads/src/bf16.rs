//! The families over bf16. Outputs that are bf16 lie in the output's floats in pairs.

use super::fp32::{layers, products, transitions, windows};
use super::numbers::{activations, weights};
use super::{Each, Set, Workload};
use radnet_kernels::Isa;
use radnet_kernels::cpu::bf16::dense::{DenseWeights, conv1_len, conv2_len, dense_layer, pack_conv1, pack_conv2, scratch_len};
use radnet_kernels::cpu::bf16::gemm::{Product, product};
use radnet_kernels::cpu::bf16::layout::{floats_of_words, halves, halves_mut, inputs, matrix_len, order_channels, pack_matrix};
use radnet_kernels::cpu::bf16::numbers::narrow;
use radnet_kernels::cpu::bf16::transition::{TransitionWeights, conv_len, pack_conv, scratch_len as transition_scratch, transition};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::layout::pad;
use radnet_kernels::cpu::transition::TransitionShape;
use radnet_kernels::parallel::Crew;

pub(crate) fn all(set: Set) -> Vec<Workload> {
    let mut all: Vec<Workload> = products(set).iter().map(of_sums).collect();
    let [winograd, direct] = windows(set);
    all.extend(winograd.iter().map(|shape| window(shape, "3×3 Winograd bf16")));
    all.extend(direct.iter().map(|shape| window(shape, "3×3 direct bf16")));
    all.extend(layers(set).iter().map(layer));
    all.extend(transitions(set).iter().map(pooled));
    all
}

fn numbers(len: usize) -> Vec<u16> {
    activations(len).into_iter().map(narrow).collect()
}

/// A map of bf16 as floats.
fn as_floats(map: &[u16]) -> Vec<f32> {
    let mut floats = vec![0.0; floats_of_words(map.len())];
    halves_mut(&mut floats)[..map.len()].copy_from_slice(map);
    floats
}

/// A norm's factors as a tier reads them.
fn norm(isa: Isa, channels: usize, factor: f32) -> Vec<f32> {
    let mut factors = vec![factor; channels];
    factors.resize(inputs(isa, channels), 0.0);
    order_channels(isa, &mut factors);
    factors
}

fn of_sums(&[rows, n, k]: &[usize; 3]) -> Workload {
    let (a, w) = (numbers(rows * k), weights(n * k, k));
    let mut packed = vec![0; matrix_len(k, n)];
    pack_matrix(&mut packed, k, n, |o, i| f64::from(w[o * k + i]));
    let body = move |isa: Isa, dst: &mut [f32]| product(isa, &Product { rows, k, n, a: &a, a_stride: k, weights: &packed }, dst);
    Workload::new("1×1 bf16", format!("{rows}×{n}×{k}"), (rows * n * k) as u64, vec![0.0; rows * pad(n)], body)
}

/// By the way of the tiers without tiles.
fn window(&[side, mid, growth]: &[usize; 3], family: &'static str) -> Workload {
    let shape = DenseShape { images: 1, height: side, width: side, slab_stride: 16 + growth, in_channels: 16, mid, growth };
    dense(family, format!("{side}×{side}×{mid}×{growth}"), shape)
}

fn layer(&[images, side, k]: &[usize; 3]) -> Workload {
    let shape = DenseShape { images, height: side, width: side, slab_stride: k + 32, in_channels: k, mid: 128, growth: 32 };
    dense("dense layer bf16", format!("{images}×{side}×{side}×{k}"), shape)
}

fn dense(family: &'static str, name: String, shape: DenseShape) -> Workload {
    let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
    let (first, second) = (weights(mid * k, k), weights(growth * mid * 9, 9 * mid));
    let packed = Each::new(Isa::available(), |isa| {
        let (mut conv1, mut conv2) = (vec![0; conv1_len(isa, &shape)], vec![0; conv2_len(isa, &shape)]);
        pack_conv1(isa, &shape, &mut conv1, |o, i| f64::from(first[o * k + i]));
        pack_conv2(isa, &shape, &mut conv2, |o, i| std::array::from_fn(|t| f64::from(second[(o * mid + i) * 9 + t])));
        (norm(isa, k, 0.9), norm(isa, k, 0.05), conv1, conv2)
    });
    let bias1 = vec![0.1; mid];
    let mut scratch = vec![0.0; Isa::available().map(|isa| scratch_len(isa, &shape, 1)).max().unwrap_or(0)];
    let output = as_floats(&numbers(shape.images * shape.height * shape.width * shape.slab_stride));
    let body = move |isa: Isa, slab: &mut [f32]| {
        let (scale, shift, conv1, conv2) = packed.of(isa);
        let w = DenseWeights { scale, shift, conv1, bias1: &bias1, conv2 };
        dense_layer(isa, &shape, &w, None, halves_mut(slab), &mut scratch, &Crew::alone());
    };
    Workload::new(family, name, shape.flop() / 2, output, body)
}

fn pooled(&[side, k]: &[usize; 2]) -> Workload {
    let n = pad(k / 2);
    let shape = TransitionShape { height: side, width: side, in_channels: k, src_stride: k, out_channels: n, dst_stride: n };
    let w = weights(n * k, k);
    let packed = Each::new(Isa::available(), |isa| {
        let mut conv = vec![0; conv_len(isa, &shape)];
        pack_conv(isa, &shape, &mut conv, |o, i| f64::from(w[o * k + i]) / 4.0);
        (norm(isa, k, 0.9), norm(isa, k, 0.05), conv)
    });
    let src = as_floats(&numbers(side * side * k));
    let mut scratch = vec![0.0; Isa::available().map(|isa| transition_scratch(isa, &shape)).max().unwrap_or(0)];
    let body = move |isa: Isa, dst: &mut [f32]| {
        let (scale, shift, conv) = packed.of(isa);
        let w = TransitionWeights { scale, shift, conv };
        transition(isa, &shape, &w, (halves(&src), None), halves_mut(dst), &mut scratch, &Crew::alone());
    };
    let output = vec![0.0; floats_of_words((side / 2) * (side / 2) * n)];
    Workload::new("transition bf16", format!("{side}×{side}×{k}"), shape.flop() / 2, output, body)
}
