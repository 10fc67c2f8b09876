//! The oracle of the 8-bit network: the integers of [`crate::backend::quantised`] multiplied and added one by one in 64 bits, each code made
//! by the one fused multiply-add of its definition. Everything after the last block is the float64 oracle's, and so is the stem of a slice that has
//! no numbers of 16 bits.

use super::winograd::Winograd;
use super::{Map, Reference, Stage, attention_pool, conv, max_pool, norm_relu, segmentation};
use crate::backend::quantised::stem::{StemCodes, reaches};
use crate::backend::quantised::{Decoder, DenseCodes, Encoder, Reader, Rounded, TransitionCodes, saturated};
use crate::model::{Network, Quantisation, Step};
use crate::tensor::Extent;
use crate::weights::Model;
use std::sync::Arc;

/// A network's integers.
#[derive(Clone, Debug)]
pub(super) struct NetworkCodes {
    stems: Vec<StemCodes>,
    blocks: Vec<BlockCodes>,
}

/// A block's integers.
#[derive(Clone, Debug)]
struct BlockCodes {
    encoders: Vec<Encoder>,
    decoders: Vec<Decoder>,
    layers: Vec<Layer>,
    transition: Option<TransitionCodes>,
}

/// A dense layer's integers.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Layer {
    codes: DenseCodes,
    three: ThreeByThree,
}

/// Which way the 3×3 goes.
#[derive(Clone, Debug)]
enum ThreeByThree {
    Direct(Rounded),
    Winograd(Winograd),
}

impl Layer {
    /// On maps of this extent; `directly` leaves Winograd out.
    pub(in crate::backend) fn new(codes: DenseCodes, extent: Extent, directly: bool) -> Self {
        let winograd = if directly { None } else { Winograd::new(&codes, extent) };
        let three = winograd.map_or_else(|| ThreeByThree::Direct(codes.direct()), ThreeByThree::Winograd);
        Self { codes, three }
    }
}

/// Codes of a map, channel by channel, each row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Codes {
    pub(in crate::backend) extent: Extent,
    pub(in crate::backend) channels: Vec<Vec<u8>>,
}

impl Reference {
    /// The oracle of `model` in 8-bit integers with such ranges, which were checked against its network. `directly` says which way the 3×3 goes, as a level
    /// of arithmetic does ([`radnet_kernels::Integers::directly`]).
    pub fn quantised(model: Arc<Model>, quantisation: &Quantisation, directly: bool) -> Self {
        let (weights, eps, ranges) = (&model.weights, model.network.bn_eps, &quantisation.blocks);
        let blocks = weights.blocks.iter().zip(extents(&model.network)).enumerate().map(|(b, (block, extent))| BlockCodes {
            encoders: ranges[b].channels.iter().map(|range| Encoder::new(*range)).collect(),
            decoders: ranges[b].channels.iter().map(|range| Decoder::new(*range)).collect(),
            layers: block
                .layers
                .iter()
                .enumerate()
                .map(|(l, w)| Layer::new(DenseCodes::new(w, eps, &ranges[b], l), extent, directly))
                .collect(),
            transition: block.transition.as_ref().map(|w| TransitionCodes::new(w, eps, &ranges[b], &ranges[b + 1])),
        });
        let stem = |reach| StemCodes::new(&weights.conv0, &weights.norm0, eps, reach);
        let codes = NetworkCodes { stems: reaches(model.network.largest_input).map(stem).collect(), blocks: blocks.collect() };
        Self { codes: Some(codes), model }
    }

    /// As [`Reference::slice_stages`]; maps are what their codes stand for.
    pub(super) fn quantised_stages(&self, slice: Map, NetworkCodes { stems, blocks }: &NetworkCodes) -> Vec<Stage> {
        let Model { network, weights, .. } = &*self.model;
        let eps = network.bn_eps;
        let mut x = slice;
        let mut codes = Codes { extent: Extent { height: 0, width: 0 }, channels: Vec::new() };
        let mut stages = Vec::new();
        let mut current = 0;
        for (i, step) in network.steps.iter().enumerate() {
            match *step {
                Step::Stem { out_channels, .. } => {
                    let numbers = |stem: &StemCodes| x.values.iter().map(|v| stem.numbers.of(*v as f32)).collect::<Option<Vec<i16>>>();
                    x = match stems.iter().find_map(|stem| Some((stem, numbers(stem)?))) {
                        Some((stem, numbers)) => integer_stem(&x, &numbers, stem),
                        None => max_pool(&norm_relu(&conv(&x, &weights.conv0, out_channels, (7, 2, 3)), &weights.norm0, eps)),
                    };
                    codes = encoded(&x, &blocks[0].encoders);
                    stages.push(decoded(&codes, &blocks[0].decoders).stage("stem".to_owned()));
                }
                Step::DenseLayer { block, layer, .. } => {
                    current = block - 1;
                    dense_layer(&mut codes, &blocks[current].layers[layer - 1]);
                    if !matches!(network.steps[i + 1], Step::DenseLayer { .. }) {
                        x = decoded(&codes, &blocks[current].decoders);
                        stages.push(x.stage(format!("block{block}")));
                    }
                }
                Step::Segmentation { block, .. } => {
                    let head = weights.blocks[block - 1].segmentation.as_ref().expect("validated");
                    stages.push(segmentation(&x, head, eps, network.input).stage(format!("segmentation{block}")));
                }
                Step::Transition { block, .. } => {
                    codes = transition(&codes, blocks[current].transition.as_ref().expect("validated"));
                    stages.push(decoded(&codes, &blocks[block].decoders).stage(format!("transition{block}")));
                }
                Step::AttentionPool { softmax, .. } => {
                    x = norm_relu(&decoded(&codes, &blocks[current].decoders), &weights.norm5, eps);
                    stages.push(x.stage("features".to_owned()));
                    attention_pool(&x, weights.attention.as_ref(), softmax, &mut stages);
                }
                Step::Recurrent { .. } | Step::Classifier { .. } => {}
            }
        }
        stages
    }
}

/// The stem of a slice in numbers.
fn integer_stem(slice: &Map, numbers: &[i16], stem: &StemCodes) -> Map {
    let (Extent { height, width }, area) = (slice.extent, slice.extent.area());
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    let mut map = Map::zeros(stem.scale.len(), rows, columns);
    let taps = stem.weights.chunks_exact(slice.channels * 49);
    for (o, (plane, taps)) in map.values.chunks_exact_mut(rows * columns).zip(taps).enumerate() {
        for (i, output) in plane.iter_mut().enumerate() {
            let mut sum = 0i64;
            for (tap, weight) in taps.iter().enumerate() {
                let (y, x) = (2 * (i / columns) + tap % 49 / 7, 2 * (i % columns) + tap % 7);
                if (3..height + 3).contains(&y) && (3..width + 3).contains(&x) {
                    sum += i64::from(*weight) * i64::from(numbers[tap / 49 * area + (y - 3) * width + x - 3]);
                }
            }
            *output = f64::from((sum as f32).mul_add(stem.scale[o], stem.shift[o]).max(0.0));
        }
    }
    max_pool(&map)
}

fn encoded(x: &Map, encoders: &[Encoder]) -> Codes {
    let code = |encoder: &Encoder, v: f64| saturated((v as f32).mul_add(encoder.inverse, encoder.offset));
    let channels = (0..x.channels).map(|c| x.channel(c).iter().map(|v| code(&encoders[c], *v)).collect());
    Codes { extent: x.extent, channels: channels.collect() }
}

fn decoded(codes: &Codes, decoders: &[Decoder]) -> Map {
    let value = |decoder: &Decoder, q: u8| f64::from(f32::from(q).mul_add(decoder.step, decoder.low));
    let channels = codes.channels.iter().zip(decoders);
    let values = channels.flat_map(|(codes, decoder)| codes.iter().map(move |q| value(decoder, *q))).collect();
    Map { channels: codes.channels.len(), extent: codes.extent, values }
}

/// The extent of every block.
fn extents(network: &Network) -> Vec<Extent> {
    let entered = network.steps.iter().filter_map(|step| match *step {
        Step::Stem { output, .. } | Step::Transition { output, .. } => Some(output),
        _ => None,
    });
    entered.collect()
}

/// Appends the layer's channels to the slab.
pub(in crate::backend) fn dense_layer(slab: &mut Codes, Layer { codes, three }: &Layer) {
    let clamped = clamped(&slab.channels, &codes.readers);
    let mid = (0..codes.conv1.scale.len()).map(|o| {
        let mut sums = vec![0i64; slab.extent.area()];
        for (weight, codes) in row(&codes.conv1, o).iter().zip(&clamped) {
            sums.iter_mut().zip(codes).for_each(|(sum, q)| *sum += i64::from(*weight) * i64::from(*q));
        }
        requantised(&codes.conv1, o, &sums)
    });
    let mid = Codes { extent: slab.extent, channels: mid.collect() };
    slab.channels.extend(match three {
        ThreeByThree::Winograd(winograd) => winograd.run(&mid),
        ThreeByThree::Direct(matrix) => direct(&mid, matrix),
    });
}

fn direct(mid: &Codes, matrix: &Rounded) -> Vec<Vec<u8>> {
    let output = |o| {
        let mut sums = vec![0i64; mid.extent.area()];
        for (taps, codes) in row(matrix, o).chunks_exact(9).zip(&mid.channels) {
            add_taps(&mut sums, taps, codes, mid.extent);
        }
        requantised(matrix, o, &sums)
    };
    (0..matrix.scale.len()).map(output).collect()
}

/// Adds one channel's 3×3; outside the map its codes are 0.
fn add_taps(sums: &mut [i64], taps: &[i8], codes: &[u8], Extent { height, width }: Extent) {
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for (tap, weight) in taps.iter().enumerate() {
            let (row, column) = (y + tap / 3, x + tap % 3);
            if (1..=height).contains(&row) && (1..=width).contains(&column) {
                sums[y * width + x] += i64::from(*weight) * i64::from(codes[(row - 1) * width + column - 1]);
            }
        }
    }
}

/// The first codes of the next block's slab.
pub(in crate::backend) fn transition(slab: &Codes, codes: &TransitionCodes) -> Codes {
    let Extent { height, width } = slab.extent;
    let extent = Extent { height: height / 2, width: width / 2 };
    let clamped = clamped(&slab.channels, &codes.readers);
    let channels = (0..codes.conv.scale.len()).map(|o| {
        let mut sums = vec![0i64; extent.area()];
        for (weight, codes) in row(&codes.conv, o).iter().zip(&clamped) {
            for (i, sum) in sums.iter_mut().enumerate() {
                let corner = 2 * (i / extent.width) * width + 2 * (i % extent.width);
                let four: i64 = [0, 1, width, width + 1].iter().map(|at| i64::from(codes[corner + at])).sum();
                *sum += i64::from(*weight) * four;
            }
        }
        requantised(&codes.conv, o, &sums)
    });
    Codes { extent, channels: channels.collect() }
}

fn clamped(channels: &[Vec<u8>], readers: &[Reader]) -> Vec<Vec<u8>> {
    channels.iter().zip(readers).map(|(codes, reader)| codes.iter().map(|q| reader.clamp(*q)).collect()).collect()
}

fn row(matrix: &Rounded, o: usize) -> &[i8] {
    let width = matrix.weights.len() / matrix.scale.len();
    &matrix.weights[o * width..][..width]
}

fn requantised(matrix: &Rounded, o: usize, sums: &[i64]) -> Vec<u8> {
    sums.iter().map(|sum| saturated((*sum as f32).mul_add(matrix.scale[o], matrix.shift[o]))).collect()
}
