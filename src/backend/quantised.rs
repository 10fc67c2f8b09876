//! A network in 8-bit integers: weights and ranges folded into the integers and the float32 constants that every implementation computes
//! with, over logical channels and row-major. What is packed from these numbers and what is computed from them plainly are the same network.
//!
//! A code q of a slab's channel stands for low + step · q. A norm with its ReLU is a clamp of codes: relu(scale · x + shift) is
//! gain · (a − threshold) + constant with a = max(q, threshold) for a positive scale, min for a negative one, and gain = scale · step. Gains
//! are folded into the columns of the matrix that follows, whose rows are then rounded to −127…127 each with a scale of its own; thresholds
//! and constants go into its bias, with the integers as they were rounded, so that a channel that is off adds exactly nothing.
//! Everything is folded in float64 and rounded to float32 once. The stem has integers of its own ([`stem`]),
//! and the 3×3 two ways: by an integer Winograd where the shape pays for it, or, on levels that say so ([`radnet_kernels::Integers::directly`]), always
//! directly with weights of 8 bits.
//!
//! Two roundings shift every position of a map alike and would not average out in the pooled vector: that of thresholds and that of
//! weights. Their mean over the channel's distribution, which the norm knows, is taken out of the bias again.

pub(in crate::backend) mod stem;

use crate::model::quantisation::{BlockRanges, CODES, Range};
use crate::weights::{DenseLayerWeights, Norm, TransitionWeights};

/// Largest magnitude of a weight.
const LARGEST_WEIGHT: f64 = 127.0;

/// A real to a code: `saturated(fma(x, inverse, offset))`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::backend) struct Encoder {
    pub(in crate::backend) inverse: f32,
    pub(in crate::backend) offset: f32,
}

impl Encoder {
    /// Of a channel; one whose codes cannot be told apart in float32 is a constant, always code 0.
    pub(in crate::backend) fn new(range: Range) -> Self {
        if is_constant(range) {
            return Self::default();
        }
        Self { inverse: (1.0 / range.step()) as f32, offset: (-f64::from(range.low) / range.step()) as f32 }
    }
}

/// Whether all values of a channel count as `low`.
fn is_constant(range: Range) -> bool {
    let (inverse, offset) = ((1.0 / range.step()) as f32, (-f64::from(range.low) / range.step()) as f32);
    !(inverse.is_finite() && offset.is_finite())
}

/// A code to a real: `fma(q, step, low)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::backend) struct Decoder {
    pub(in crate::backend) step: f32,
    pub(in crate::backend) low: f32,
}

impl Decoder {
    /// Of a channel.
    pub(in crate::backend) fn new(range: Range) -> Self {
        Self { step: if is_constant(range) { 0.0 } else { range.step() as f32 }, low: range.low }
    }
}

/// Round half to even of a value clamped to 0…255; NaN is 0.
pub(in crate::backend) fn saturated(value: f32) -> u8 {
    value.clamp(0.0, 255.0).round_ties_even() as u8
}

/// A norm with its ReLU, as codes: `max(q, threshold)`, or `min` where `below`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct Reader {
    pub(in crate::backend) threshold: u8,
    pub(in crate::backend) below: bool,
}

impl Reader {
    /// What the consumer sees of a code.
    pub(in crate::backend) fn clamp(self, code: u8) -> u8 {
        if self.below { code.min(self.threshold) } else { code.max(self.threshold) }
    }
}

/// A matrix of integers; an output's code is `saturated(fma(acc, scale, shift))` with acc = Σ weight · input, exact in 32 bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::backend) struct Rounded {
    /// [outputs, inputs], −127 to 127.
    pub(in crate::backend) weights: Vec<i8>,
    /// Per output.
    pub(in crate::backend) scale: Vec<f32>,
    /// Per output.
    pub(in crate::backend) shift: Vec<f32>,
}

/// A dense layer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::backend) struct DenseCodes {
    /// Per input channel.
    pub(in crate::backend) readers: Vec<Reader>,
    /// [mid, in]: clamped codes of the slab to codes of [0, high] of the mid channels.
    pub(in crate::backend) conv1: Rounded,
    /// [growth, mid, 3, 3]: the 3×3 weights in units of the mid channels' codes.
    pub(in crate::backend) conv2: Vec<f64>,
    /// Mean of each mid channel, in codes.
    pub(in crate::backend) mid_means: Vec<f64>,
    /// Of the channels that the layer appends.
    pub(in crate::backend) ranges: Vec<Range>,
}

impl DenseCodes {
    /// Layer `layer` (from 0) of a block of such ranges.
    pub(in crate::backend) fn new(w: &DenseLayerWeights, eps: f64, ranges: &BlockRanges, layer: usize) -> Self {
        let inputs = w.norm1.weight.len();
        let growth = w.conv2.len() / (9 * w.norm2.weight.len());
        let slab = Slab::new(&w.norm1, eps, &ranges.channels[..inputs]);
        let (scale2, shift2) = w.norm2.scale_shift(eps);
        let steps: Vec<f64> = ranges.mid[layer].iter().map(|high| f64::from(*high) / CODES).collect();
        let weight = |o: usize, c: usize| f64::from(w.conv1[o * inputs + c]) * scale2[o];
        let conv1 = slab.matrix(scale2.len(), weight, &|o, acc| match usable(1.0 / steps[o]) {
            Some(inverse) => (acc.scale * inverse, (acc.bias + shift2[o]) * inverse),
            None => (0.0, 0.0),
        });
        let mid = steps.len();
        let conv2 = w.conv2.iter().enumerate().map(|(i, v)| f64::from(*v) * steps[i / 9 % mid]).collect();
        let mid_means = mean_of_relu(&w.norm2).zip(&steps).map(|(mean, step)| usable(mean / step).unwrap_or(0.0)).collect();
        Self { readers: slab.readers, conv1, conv2, mid_means, ranges: ranges.channels[inputs..inputs + growth].to_vec() }
    }

    /// The fused multiply-add that makes a code of the appended channel `o` from a sum in units of `scale`.
    pub(in crate::backend) fn encoder2(&self, o: usize, scale: f64) -> (f32, f32) {
        let (scale, offset) = self.encoded(o, scale, 0.0);
        (finite(scale), finite(offset))
    }

    fn encoded(&self, o: usize, scale: f64, bias: f64) -> (f64, f64) {
        match self.ranges[o] {
            range if is_constant(range) => (0.0, 0.0),
            range => range.encoded(scale, bias),
        }
    }

    /// The 3×3 convolution with weights of 8 bits, [growth, mid, 3, 3].
    pub(in crate::backend) fn direct(&self) -> Rounded {
        let means: Vec<f64> = self.mid_means.iter().flat_map(|mean| [*mean; 9]).collect();
        let width = means.len();
        let mut rounded = Rounded::default();
        for (o, row) in self.conv2.chunks_exact(width).enumerate() {
            let line = Line::round(row);
            let correction: f64 = line.errors(row).zip(&means).map(|(error, mean)| error * mean).sum();
            rounded.push(&line, self.encoded(o, line.scale, correction));
        }
        rounded
    }
}

impl Range {
    /// The fused multiply-add that makes a code of scale · acc + bias.
    fn encoded(self, scale: f64, bias: f64) -> (f64, f64) {
        (scale / self.step(), (bias - f64::from(self.low)) / self.step())
    }
}

/// A transition: clamped codes, their exact sums over 2×2, a matrix, codes of the next block.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::backend) struct TransitionCodes {
    /// Per input channel.
    pub(in crate::backend) readers: Vec<Reader>,
    /// [out, in], over sums of four codes.
    pub(in crate::backend) conv: Rounded,
}

impl TransitionCodes {
    /// From a block of ranges `from` to the first channels of a block of ranges `to`.
    pub(in crate::backend) fn new(w: &TransitionWeights, eps: f64, from: &BlockRanges, to: &BlockRanges) -> Self {
        let slab = Slab::new(&w.norm, eps, &from.channels);
        let inputs = slab.readers.len();
        let weight = |o: usize, c: usize| f64::from(w.conv[o * inputs + c]);
        let conv = slab.matrix(w.conv.len() / inputs, weight, &|o, acc| match to.channels[o] {
            range if is_constant(range) => (0.0, 0.0),
            range => range.encoded(acc.scale / 4.0, acc.bias),
        });
        Self { readers: slab.readers, conv }
    }
}

/// A slab as one norm reads it: gain · (a − threshold) + constant per channel.
struct Slab {
    readers: Vec<Reader>,
    gains: Vec<f64>,
    constants: Vec<f64>,
    /// Mean of a − threshold.
    means: Vec<f64>,
}

/// What a row of integers means: scale · acc + bias.
struct Meaning {
    scale: f64,
    bias: f64,
}

impl Slab {
    fn new(norm: &Norm, eps: f64, ranges: &[Range]) -> Self {
        let (scale, shift) = norm.scale_shift(eps);
        let n = scale.len();
        let mut slab = Self {
            readers: Vec::with_capacity(n),
            gains: Vec::with_capacity(n),
            constants: Vec::with_capacity(n),
            means: Vec::with_capacity(n),
        };
        let statistics = mean_of_relu(norm).zip(share_on(norm));
        for (c, (mean, on)) in statistics.enumerate() {
            let (reader, gain, constant) = read(ranges[c], scale[c], shift[c], on);
            slab.readers.push(reader);
            slab.gains.push(gain);
            slab.constants.push(constant);
            slab.means.push(if gain == 0.0 { 0.0 } else { usable((mean - constant) / gain).unwrap_or(0.0) });
        }
        slab
    }

    /// The matrix of `weight(output, input)` over what the norm makes of the slab; `encode` turns a row's meaning into scale and shift.
    fn matrix(&self, outputs: usize, weight: impl Fn(usize, usize) -> f64, encode: &dyn Fn(usize, Meaning) -> (f64, f64)) -> Rounded {
        let mut rounded = Rounded::default();
        let mut row = vec![0.0; self.gains.len()];
        for o in 0..outputs {
            row.iter_mut().zip(&self.gains).enumerate().for_each(|(c, (w, gain))| *w = weight(o, c) * gain);
            let line = Line::round(&row);
            let constant: f64 = self.constants.iter().enumerate().map(|(c, constant)| weight(o, c) * constant).sum();
            let thresholds: f64 = line.weights.iter().zip(&self.readers).map(|(w, r)| f64::from(*w) * f64::from(r.threshold)).sum();
            let correction: f64 = line.errors(&row).zip(&self.means).map(|(error, mean)| error * mean).sum();
            rounded.push(&line, encode(o, Meaning { scale: line.scale, bias: constant + correction - line.scale * thresholds }));
        }
        rounded
    }
}

/// A channel's reader, gain and constant; `on` is the share of positions that its ReLU lets through.
fn read(range: Range, scale: f64, shift: f64, on: f64) -> (Reader, f64, f64) {
    let (low, step) = (f64::from(range.low), range.step());
    if is_constant(range) || scale == 0.0 {
        return (Reader::default(), 0.0, (scale * low + shift).max(0.0));
    }
    let below = scale < 0.0;
    let exact = ((-shift / scale - low) / step).round_ties_even();
    let threshold = exact.clamp(0.0, CODES);
    let reader = Reader { threshold: threshold as u8, below };
    if (below && exact <= 0.0) || (!below && exact >= CODES) {
        return (reader, 0.0, 0.0);
    }
    // Where the threshold lies among the codes this is what rounding it left, and only positions that are on see it.
    let rest = scale * (low + step * threshold) + shift;
    (reader, scale * step, if exact == threshold { rest * on } else { rest })
}

/// A row of weights in 8 bits.
struct Line {
    weights: Vec<i8>,
    scale: f64,
}

impl Line {
    fn round(row: &[f64]) -> Self {
        let scale = row.iter().fold(0.0, |largest: f64, w| largest.max(w.abs())) / LARGEST_WEIGHT;
        let weights =
            row.iter().map(|w| if scale > 0.0 { (w / scale).round_ties_even().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) as i8 } else { 0 });
        Self { weights: weights.collect(), scale }
    }

    /// What rounding took from each weight.
    fn errors<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        row.iter().zip(&self.weights).map(|(w, rounded)| w - self.scale * f64::from(*rounded))
    }
}

impl Rounded {
    fn push(&mut self, line: &Line, (scale, shift): (f64, f64)) {
        self.weights.extend(&line.weights);
        self.scale.push(finite(scale));
        self.shift.push(finite(shift));
    }
}

/// A number that can be multiplied with.
fn usable(x: f64) -> Option<f64> {
    Some(x).filter(|x| x.is_finite())
}

/// The nearest finite float32; NaN, which only products of zero and infinity make, is 0.
fn finite(x: f64) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 }
}

/// The share of positions where a norm of normal inputs is positive.
fn share_on(norm: &Norm) -> impl Iterator<Item = f64> + '_ {
    normals(norm).map(|(beta, gamma)| if gamma > 0.0 { below(beta / gamma) } else { f64::from(u8::from(beta > 0.0)) })
}

/// The mean of a norm of normal inputs after ReLU.
fn mean_of_relu(norm: &Norm) -> impl Iterator<Item = f64> + '_ {
    normals(norm).map(|(beta, gamma)| if gamma > 0.0 { beta * below(beta / gamma) + gamma * density(beta / gamma) } else { beta.max(0.0) })
}

/// Mean and deviation of a norm's outputs.
fn normals(norm: &Norm) -> impl Iterator<Item = (f64, f64)> + '_ {
    norm.bias.iter().zip(&norm.weight).map(|(beta, gamma)| (f64::from(*beta), f64::from(gamma.abs())))
}

/// The normal distribution function within 2.5e-4, in operations that are the same on every machine (Abramowitz and Stegun 26.2.18).
fn below(x: f64) -> f64 {
    let a = x.abs();
    let root = 1.0 + a * (0.196_854 + a * (0.115_194 + a * (0.000_344 + a * 0.019_527)));
    let square = root * root;
    let tail = 0.5 / (square * square);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The normal density within 2.7e-3 (Abramowitz and Stegun 26.2.20).
fn density(x: f64) -> f64 {
    let square = x * x;
    1.0 / (2.490_895 + square * (1.466_003 + square * (-0.024_393 + square * 0.178_257)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against values of scipy.stats.norm.
    #[test]
    fn the_normal_distribution_is_known_well_enough() {
        for (x, cdf, pdf) in [(0.0, 0.5, 0.398_942), (0.5, 0.691_462, 0.352_065), (-1.0, 0.158_655, 0.241_971), (2.0, 0.977_250, 0.053_991)]
        {
            assert!((below(x) - cdf).abs() < 3e-4 && (density(x) - pdf).abs() < 3e-3, "{x}");
        }
        assert_eq!((below(1e200), below(-1e200), density(1e200)), (1.0, 0.0, 0.0));
    }

    /// For every code, what the clamp makes of it is relu(scale · x + shift) to half a step, with the constant of a threshold among the
    /// codes left out, since that is a mean.
    #[test]
    fn a_reader_is_the_norm_and_its_relu() {
        let range = Range { low: -1.5, high: 3.5 };
        for scale in [2.0, 0.3, -0.7, 0.0] {
            for shift in [-9.0, -1.0, -0.25, 0.0, 0.6, 2.8, 7.5] {
                let (reader, gain, constant) = read(range, scale, shift, 0.0);
                for q in 0..=255u8 {
                    let x = f64::from(range.low) + range.step() * f64::from(q);
                    let value = gain * (f64::from(reader.clamp(q)) - f64::from(reader.threshold)) + constant;
                    let (exact, half) = ((scale * x + shift).max(0.0), 0.5 * (scale * range.step()).abs());
                    assert!((value - exact).abs() <= half + 1e-12, "{scale} {shift} {q}: {value}, not {exact}");
                }
            }
        }
    }

    #[test]
    fn a_constant_channel_is_its_value() {
        for range in [Range { low: 2.0, high: 2.0 }, Range { low: 2.0, high: 2.0f32.next_up() }, Range { low: 1.0, high: 1.0 + 1e-45 }] {
            let constant = is_constant(range);
            assert_eq!(constant, range.low == range.high, "{range:?}");
            if constant {
                assert_eq!(Encoder::new(range), Encoder::default());
                assert_eq!(Decoder::new(range), Decoder { step: 0.0, low: range.low });
                assert_eq!(read(range, 3.0, -1.0, 0.5), (Reader::default(), 0.0, 3.0 * f64::from(range.low) - 1.0));
            }
        }
    }

    /// A matrix over the codes of a slab against the same in reals: rounding of weights and of thresholds is all that differs.
    #[test]
    fn a_matrix_of_integers_is_the_matrix() {
        let norm = Norm {
            weight: vec![1.0, -0.5, 0.8, 0.0],
            bias: vec![0.1, 0.7, -3.0, 0.4],
            running_mean: vec![0.2, -0.1, 0.0, 0.0],
            running_var: vec![1.0, 0.5, 0.01, 1.0],
        };
        let ranges =
            [Range { low: -3.0, high: 4.0 }, Range { low: -2.0, high: 2.0 }, Range { low: -0.2, high: 0.2 }, Range { low: 0.0, high: 1.0 }];
        let slab = Slab::new(&norm, 1e-5, &ranges);
        let weights = [[0.5, -1.0, 2.0, 0.25], [1.0, 0.75, -0.5, -0.125]];
        let matrix = slab.matrix(2, |o, c| weights[o][c], &|_, meaning| (meaning.scale, meaning.bias));
        let (scale, shift) = norm.scale_shift(1e-5);
        for q in (0..=255u8).step_by(5) {
            let codes = [q, 255 - q, q / 2, q];
            for (o, row) in weights.iter().enumerate() {
                let acc: i32 = (0..4).map(|c| i32::from(matrix.weights[o * 4 + c]) * i32::from(slab.readers[c].clamp(codes[c]))).sum();
                let value = f64::from(acc) * f64::from(matrix.scale[o]) + f64::from(matrix.shift[o]);
                let term = |c: usize| {
                    let x = f64::from(ranges[c].low) + ranges[c].step() * f64::from(codes[c]);
                    row[c] * (scale[c] * x + shift[c]).max(0.0)
                };
                let exact: f64 = (0..4).map(term).sum();
                // Half a step of every channel, and half a unit of every weight at the largest code.
                let bound: f64 = (0..4).map(|c| 0.5 * (row[c] * slab.gains[c]).abs() + 0.5 * f64::from(matrix.scale[o]) * 255.0).sum();
                assert!((value - exact).abs() <= bound, "{q} {o}: {value}, not {exact} within {bound}");
            }
        }
    }

    #[test]
    fn codes_round_half_to_even_and_saturate() {
        for (value, code) in
            [(0.5, 0), (1.5, 2), (2.5, 2), (-7.0, 0), (254.5, 254), (254.6, 255), (1e30, 255), (f32::NEG_INFINITY, 0), (f32::NAN, 0)]
        {
            assert_eq!(saturated(value), code, "{value}");
        }
    }
}
