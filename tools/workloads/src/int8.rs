//! The families over 8-bit codes. Outputs that are codes lie in the output's floats as bytes.

use super::fp32::{layers, products, stems, transitions, windows};
use super::numbers::{activations, bytes};
use super::{Each, Set, Workload};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::int8::convert::{ConvertShape, quantise};
use radnet_kernels::cpu::int8::dense::{
    DenseWeights, conv1_len, conv2_len, dense_layer, pack_conv1, pack_direct, pack_winograd, scratch_len, winograd,
};
use radnet_kernels::cpu::int8::gemm::{Product, product};
use radnet_kernels::cpu::int8::layout::{CODES, codes_mut, floats_of_codes, matrix_len, pack_matrix};
use radnet_kernels::cpu::int8::stem::{self, Slab, StemWeights, pack_stem, weights_len};
use radnet_kernels::cpu::int8::transition::{self, TransitionWeights};
use radnet_kernels::cpu::layout::pad;
use radnet_kernels::cpu::stem::StemShape;
use radnet_kernels::cpu::transition::TransitionShape;
use radnet_kernels::isa::Portable;
use radnet_kernels::parallel::Crew;
use radnet_kernels::{Integers, Isa};

pub(crate) fn all(set: Set) -> Vec<Workload> {
    let mut all: Vec<Workload> = products(set).iter().map(of_sums).collect();
    let [winograd, direct] = windows(set);
    all.extend(winograd.iter().map(|shape| window(shape, "3×3 Winograd int8")));
    all.extend(direct.iter().map(|shape| window(shape, "3×3 direct int8")));
    all.extend(layers(set).iter().map(layer));
    all.extend(transitions(set).iter().map(pooled));
    all.extend(stems(set).iter().map(first));
    all.push(converted(if set == Set::Counted { 8 } else { 64 }));
    all
}

/// Weights in [−127, 127].
fn small(count: usize) -> Vec<i8> {
    bytes(count).into_iter().map(|byte| (i16::from(byte) - 128).max(-127) as i8).collect()
}

/// A packed matrix \[n, k\] of them.
fn matrix(k: usize, n: usize, activation: i64) -> Vec<i16> {
    let weights = small(n * k);
    let mut packed = vec![0; matrix_len(k, n)];
    let fits = pack_matrix(&mut packed, k, n, activation, |o, i| weights[o * k + i]);
    assert!(fits, "{n} sums of {k}");
    packed
}

fn of_sums(&[rows, n, k]: &[usize; 3]) -> Workload {
    let a: Vec<i16> = bytes(rows * k).into_iter().map(i16::from).collect();
    let weights = matrix(k, n, CODES);
    let body =
        move |isa: Isa, dst: &mut [f32]| product(Integers::of(isa), &Product { rows, k, n, a: &a, a_stride: k, weights: &weights }, dst);
    Workload::new("1×1 int8", format!("{rows}×{n}×{k}"), (rows * n * k) as u64, vec![0.0; rows * pad(n)], body)
}

fn window(&[side, mid, growth]: &[usize; 3], family: &'static str) -> Workload {
    let shape = DenseShape { images: 1, height: side, width: side, slab_stride: 16 + growth, in_channels: 16, mid, growth };
    assert_eq!(winograd(Integers::of(Isa::Portable(Portable)), &shape), family.contains("Winograd"), "{shape:?}");
    dense(family, format!("{side}×{side}×{mid}×{growth}"), shape)
}

fn layer(&[images, side, k]: &[usize; 3]) -> Workload {
    let shape = DenseShape { images, height: side, width: side, slab_stride: k + 32, in_channels: k, mid: 128, growth: 32 };
    dense("dense layer int8", format!("{images}×{side}×{side}×{k}"), shape)
}

fn dense(family: &'static str, name: String, shape: DenseShape) -> Workload {
    let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
    let weights = small(mid * k);
    let taps = bytes(growth * mid * 9);
    let tap = move |o: usize, i: usize| -> [i8; 9] { std::array::from_fn(|t| (taps[(o * mid + i) * 9 + t] >> 1) as i8 - 63) };
    let pack = |level| {
        let (mut conv1, mut conv2) = (vec![0; conv1_len(level, &shape)], vec![0; conv2_len(level, &shape)]);
        assert!(pack_conv1(level, &shape, &mut conv1, |o, i| weights[o * k + i]));
        if winograd(level, &shape) {
            pack_winograd(&shape, &mut conv2, &mut vec![0.0; growth], |o, i| tap(o, i).map(|w| f64::from(w) / 4096.0));
        } else {
            assert!(pack_direct(level, &shape, &mut conv2, &tap));
        }
        (conv1, conv2)
    };
    let packed = Each::new(Integers::available(), pack);
    // Sums of random signs grow with the root of their length; the codes they become lie around the middle.
    let scale = |k: usize, largest: f32| 64.0 / (largest * (k as f32).sqrt());
    let (scale1, offset1) = (vec![scale(k, 1e4); mid], vec![64.0; mid]);
    let (scale2, offset2) = (vec![scale(9 * mid, 1e4); growth], vec![128.0; growth]);
    let (low, high) = (vec![100; k], vec![255; k]);
    let mut scratch = vec![0.0; Integers::available().map(|level| scratch_len(level, &shape, 1)).max().unwrap_or(0)];
    let slab = bytes(shape.images * shape.height * shape.width * shape.slab_stride);
    let output = as_floats(&slab);
    let body = move |isa: Isa, slab: &mut [f32]| {
        let level = Integers::of(isa);
        let (conv1, conv2) = packed.of(level);
        let weights =
            DenseWeights { low: &low, high: &high, conv1, scale1: &scale1, offset1: &offset1, conv2, scale2: &scale2, offset2: &offset2 };
        dense_layer(level, &shape, &weights, None, codes_mut(slab), &mut scratch, &Crew::alone());
    };
    Workload::new(family, name, shape.flop() / 2, output, body)
}

fn pooled(&[side, k]: &[usize; 2]) -> Workload {
    let n = pad(k / 2);
    let shape = TransitionShape { height: side, width: side, in_channels: k, src_stride: k, out_channels: n, dst_stride: n };
    let (weights, low, high) = (small(n * k), vec![0; k], vec![200; k]);
    let pack = |level| {
        let mut conv = vec![0; transition::conv_len(level, &shape)];
        assert!(transition::pack_conv(level, &shape, &mut conv, |o, i| weights[o * k + i]));
        conv
    };
    let packed = Each::new(Integers::available(), pack);
    let (scale, offset) = (vec![64.0 / (4e4 * (k as f32).sqrt()); n], vec![128.0; n]);
    let (src, mut scratch) =
        (bytes(side * side * k), vec![0.0; Integers::available().map(|level| transition::scratch_len(level, &shape)).max().unwrap_or(0)]);
    let body = move |isa: Isa, dst: &mut [f32]| {
        let level = Integers::of(isa);
        let conv = packed.of(level);
        let weights = TransitionWeights { low: &low, high: &high, conv, scale: &scale, offset: &offset };
        transition::transition(level, &shape, &weights, (&src, None), codes_mut(dst), &mut scratch, &Crew::alone());
    };
    let output = vec![0.0; floats_of_codes((side / 2) * (side / 2) * n)];
    Workload::new("transition int8", format!("{side}×{side}×{k}"), shape.flop() / 2, output, body)
}

fn first(&[channels, side]: &[usize; 2]) -> Workload {
    let shape = StemShape { channels, height: side, width: side, out_channels: 64, slab_stride: 64 };
    let weights = small(64 * shape.k());
    let pack = |level| {
        let mut conv = vec![0; weights_len(level, &shape)];
        assert!(pack_stem(level, &shape, &mut conv, 4096, |o, i| weights[o * shape.k() + i].into()));
        conv
    };
    let packed = Each::new(Integers::available(), pack);
    let room = Integers::available().map(|level| stem::scratch_len(level, &shape)).max().unwrap_or(0);
    let (scale, offset) = (vec![1.0 / (4096.0 * 64.0 * (shape.k() as f32).sqrt()); 64], vec![0.1; 64]);
    let (inverse, zero) = (vec![64.0; 64], vec![0.5; 64]);
    let (image, mut scratch) = (activations(channels * side * side), vec![0.0; room]);
    let body = move |isa: Isa, dst: &mut [f32]| {
        let level = stem::quickest(Integers::of(isa), &shape);
        let conv = packed.of(level);
        let weights = StemWeights { unit: 4096.0, conv, scale: &scale, offset: &offset };
        let slab = Slab { codes: codes_mut(dst), scale: &inverse, offset: &zero };
        stem::stem(level, &shape, &weights, (&image, None), slab, &mut scratch, &Crew::alone());
    };
    let (rows, columns) = shape.output();
    Workload::new("stem int8", format!("{channels}×{side}×{side}"), shape.flop() / 2, vec![0.0; floats_of_codes(rows * columns * 64)], body)
}

/// Floats of a map of 64 channels to codes.
fn converted(side: usize) -> Workload {
    let shape = ConvertShape { height: side, width: side, channels: 64, floats_stride: 64, codes_stride: 64 };
    let (floats, scale, offset) = (activations(side * side * 64), vec![100.0; 64], vec![128.0; 64]);
    let body = move |isa: Isa, dst: &mut [f32]| {
        quantise(Integers::of(isa), &shape, (&scale, &offset), (&floats, None), codes_mut(dst), &Crew::alone())
    };
    let output = vec![0.0; floats_of_codes(side * side * 64)];
    Workload::new("quantise int8", format!("{side}×{side}×64"), (side * side * 64) as u64, output, body)
}

/// Bytes as the floats that hold them.
fn as_floats(bytes: &[u8]) -> Vec<f32> {
    let mut floats = vec![0.0; floats_of_codes(bytes.len())];
    codes_mut(&mut floats)[..bytes.len()].copy_from_slice(bytes);
    floats
}
