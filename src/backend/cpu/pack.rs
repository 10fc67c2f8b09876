//! Weights → packed weights: norms folded in float64, matrices in panels, 3×3 filters transformed, subnormals flushed. Done once per model.

use super::program::{Cell, Element, Op, Program, Stage};
use super::{bf16, int8};
use crate::Result;
use crate::backend::channels::Channels;
use crate::backend::quantised::stem::{StemCodes, reaches};
use crate::backend::quantised::{DenseCodes, TransitionCodes};
use crate::model::{Network, Quantisation, Step};
use crate::weights::{DenseLayerWeights, Linear, Norm, RnnCell, Weights};
use radnet_kernels::cpu::bf16::layout::order_channels;
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::layout::{flush, pack_matrix, pack_rows};
use radnet_kernels::cpu::recurrent::CellShape;
use rayon::prelude::*;
use std::ops::Range;

/// Packs every stage, in parallel on the current pool; `packed` has `program.packed_len` zeros.
///
/// # Errors
/// `device` when the sums of a network of codes could leave 32 bits.
pub(super) fn pack(
    program: &Program,
    network: &Network,
    weights: &Weights,
    quantisation: Option<&Quantisation>,
    packed: &mut [f32],
) -> Result<()> {
    let mut jobs = Vec::with_capacity(program.stages.len());
    let mut rest = packed;
    for (stage, step) in program.stages.iter().zip(&network.steps) {
        let (mine, others) = rest.split_at_mut(stage.packed.len());
        jobs.push((stage, step, mine));
        rest = others;
    }
    let element = program.element;
    let from = (weights, quantisation);
    if rayon::current_num_threads() > 1 && rayon::current_thread_index().is_some() {
        jobs.into_par_iter().try_for_each(|(stage, step, into)| pack_stage((stage, element), step, from, network, into))
    } else {
        jobs.into_iter().try_for_each(|(stage, step, into)| pack_stage((stage, element), step, from, network, into))
    }
}

/// The packed weights of one stage, addressed by ranges of the whole.
pub(super) struct Into<'a> {
    start: usize,
    floats: &'a mut [f32],
}

impl Into<'_> {
    pub(super) fn at(&mut self, range: &Range<usize>) -> &mut [f32] {
        &mut self.floats[range.start - self.start..range.end - self.start]
    }

    /// y = scale · x + shift of a norm at the physical positions of `channels`; the shift belongs to the rounded scale.
    fn norm(&mut self, norm: &Norm, eps: f64, channels: Channels, scale: &Range<usize>, shift: &Range<usize>) {
        let (exact, _) = norm.scale_shift(eps);
        for p in 0..scale.len() {
            // A tier may pack more places than the norm has channels, where later layers have theirs.
            let Some(c) = channels.logical(p).filter(|c| *c < exact.len()) else { continue };
            let rounded = flush(finite(exact[c]));
            self.at(scale)[p] = rounded;
            self.at(shift)[p] = flush(finite(f64::from(norm.bias[c]) - f64::from(norm.running_mean[c]) * f64::from(rounded)));
        }
    }

    /// What a norm's channels have, as a tier over bf16 reads it.
    fn order(&mut self, element: Element, ranges: [&Range<usize>; 2]) {
        if let Element::Bf16(isa) = element {
            ranges.into_iter().for_each(|range| order_channels(isa, self.at(range)));
        }
    }

    /// A matrix \[n, logical inputs\] whose inputs go to physical positions.
    fn matrix(&mut self, to: &Range<usize>, channels: Channels, k: usize, n: usize, weight: impl Fn(usize, usize) -> f32) {
        pack_rows(self.at(to), k, n, |outputs, p, slots| {
            if let Some(c) = channels.logical(p) {
                slots.iter_mut().zip(outputs).for_each(|(slot, o)| *slot = weight(o, c));
            }
        });
    }

    pub(super) fn bias(&mut self, to: &Range<usize>, values: impl Iterator<Item = f32>) {
        self.at(to).iter_mut().zip(values).for_each(|(slot, v)| *slot = flush(v));
    }
}

/// The nearest finite float32.
pub(super) fn finite(x: f64) -> f32 {
    x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

fn pack_stage(
    (stage, element): (&Stage, Element),
    step: &Step,
    (weights, quantisation): (&Weights, Option<&Quantisation>),
    network: &Network,
    floats: &mut [f32],
) -> Result<()> {
    let eps = network.bn_eps;
    let ranges = quantisation.map(|q| &q.blocks[stage.block]);
    let mut into = Into { start: stage.packed.start, floats };
    match (&stage.op, step) {
        (Op::Stem { shape, weights: to, bias, codes, integers }, Step::Stem { out_channels, .. }) => {
            let (scale, shift) = weights.norm0.scale_shift(eps);
            let k = shape.k();
            let weight = |o: usize, i: usize| f64::from(weights.conv0[o * k + i]) * scale[o];
            shape.pack(into.at(to), |o, i| if o < *out_channels { weight(o, i) } else { 0.0 });
            into.bias(bias, shift.into_iter().map(finite));
            if let (Some(to), Some(ranges)) = (codes, ranges) {
                let channels = Channels { base: *out_channels, growth: 1 };
                int8::pack_encoder(&mut into, to, channels, &ranges.channels[..*out_channels]);
            }
            for (to, reach) in integers.iter().zip(reaches(network.largest_input)) {
                int8::pack_stem(&mut into, shape, to, &StemCodes::new(&weights.conv0, &weights.norm0, eps, reach))?;
            }
        }
        (Op::DenseCodes { shape, channels, places }, Step::DenseLayer { layer, .. }) => {
            let (w, Some(ranges)) = (&weights.blocks[stage.block].layers[layer - 1], ranges) else { return Ok(()) };
            int8::pack_dense(&mut into, places.level, (shape, *channels), places, &DenseCodes::new(w, eps, ranges, layer - 1))?;
        }
        (Op::TransitionCodes { shape, channels, places }, _) => {
            let (Some(w), Some(from)) = (&weights.blocks[stage.block].transition, ranges) else { return Ok(()) };
            let Some(to) = quantisation.and_then(|q| q.blocks.get(stage.block + 1)) else { return Ok(()) };
            int8::pack_transition(&mut into, places.level, (shape, *channels), places, &TransitionCodes::new(w, eps, from, to))?;
        }
        (Op::Dense { shape, channels, scale, shift, conv1, bias1, conv2 }, Step::DenseLayer { layer, .. }) => {
            let w = &weights.blocks[stage.block].layers[layer - 1];
            into.norm(&w.norm1, eps, *channels, scale, shift);
            into.order(element, [scale, shift]);
            let (shape, to) = ((shape, *channels), [conv1, bias1, conv2]);
            match element {
                Element::Bf16(isa) => bf16::pack_dense(&mut into, isa, (w, eps), shape, to),
                _ => pack_dense(&mut into, w, eps, shape, to),
            }
        }
        (Op::Segmentation { shape, channels, codes, scale, shift, conv, bias, .. }, _) => {
            let Some(w) = &weights.blocks[stage.block].segmentation else { return Ok(()) };
            if let (Some(to), Some(ranges)) = (codes, ranges) {
                int8::pack_decoder(&mut into, to, *channels, &ranges.channels);
            }
            into.norm(&w.norm, eps, *channels, scale, shift);
            into.matrix(conv, *channels, shape.channels, 1, |_, c| w.conv[c]);
            into.bias(bias, std::iter::once(w.bias));
        }
        (Op::Transition { shape, channels, scale, shift, conv }, Step::Transition { in_channels, out_channels, .. }) => {
            let Some(w) = &weights.blocks[stage.block].transition else { return Ok(()) };
            into.norm(&w.norm, eps, *channels, scale, shift);
            into.order(element, [scale, shift]);
            if let Element::Bf16(isa) = element {
                bf16::pack_transition(&mut into, isa, w, (shape, *channels), conv);
                return Ok(());
            }
            into.matrix(conv, *channels, shape.in_channels, *out_channels, |o, c| w.conv[o * in_channels + c] * 0.25);
        }
        (Op::Attention { shape, channels, codes, scale, shift, heads, bias }, Step::AttentionPool { channels: logical, .. }) => {
            if let (Some(to), Some(ranges)) = (codes, ranges) {
                int8::pack_decoder(&mut into, to, *channels, &ranges.channels);
            }
            into.norm(&weights.norm5, eps, *channels, scale, shift);
            if let Some(Linear { weight, bias: b }) = &weights.attention {
                into.matrix(heads, *channels, shape.channels, b.len(), |o, c| weight[o * logical + c]);
                into.bias(bias, b.iter().copied());
            }
        }
        (Op::Recurrent { shape, cells }, Step::Recurrent { layer, .. }) => {
            let w = &weights.rnn[*layer];
            for (cell, w) in cells.iter().zip(std::iter::once(&w.forward).chain(&w.backward)) {
                pack_cell(&mut into, shape, cell, w);
            }
        }
        (Op::Classifier { input, classes, weights: to, bias }, _) => {
            let Linear { weight, bias: b } = &weights.classifier;
            pack_matrix(into.at(to), *input, *classes, |o, i| weight[o * input + i]);
            into.bias(bias, b.iter().copied());
        }
        _ => unreachable!("a stage is made from its step"),
    }
    Ok(())
}

/// conv1 with norm2 folded in, the rest of norm2, and conv2.
fn pack_dense(into: &mut Into<'_>, w: &DenseLayerWeights, eps: f64, (shape, channels): (&DenseShape, Channels), to: [&Range<usize>; 3]) {
    let (scale, shift) = w.norm2.scale_shift(eps);
    let (mid, inputs) = (scale.len(), w.conv1.len() / scale.len());
    into.matrix(to[0], channels, shape.in_channels, mid, |o, c| finite(f64::from(w.conv1[o * inputs + c]) * scale[o]));
    into.bias(to[1], shift.into_iter().map(finite));
    let growth = w.conv2.len() / (9 * mid);
    shape.pack_conv2(into.at(to[2]), |o, i| match o < growth && i < mid {
        true => std::array::from_fn(|t| f64::from(w.conv2[(o * mid + i) * 9 + t])),
        false => [0.0; 9],
    });
}

/// Rows reordered so that the gates of 16 units lie side by side; both biases in one, but for GRU's n.
fn pack_cell(into: &mut Into<'_>, shape: &CellShape, cell: &Cell, w: &RnnCell) {
    let hidden = shape.hidden;
    let outputs = shape.outputs();
    // Gate, and row of PyTorch's matrices, of each output.
    let rows: Vec<Option<(usize, usize)>> = (0..outputs)
        .map(|output| {
            let (gate, unit) = shape.gate_and_unit(output);
            (unit < hidden).then_some((gate, gate * hidden + unit))
        })
        .collect();
    for (to, matrix, k) in [(&cell.input, &w.weight_ih, shape.input), (&cell.hidden, &w.weight_hh, hidden)] {
        pack_matrix(into.at(to), k, outputs, |o, i| rows[o].map_or(0.0, |(_, r)| matrix[r * k + i]));
    }
    let separate = |gate: usize| shape.gates == 3 && gate == 2;
    let both = |r: usize| (f64::from(w.bias_ih[r]) + f64::from(w.bias_hh[r])) as f32;
    let bias = |row: &Option<(usize, usize)>| row.map_or(0.0, |(gate, r)| if separate(gate) { w.bias_ih[r] } else { both(r) });
    into.bias(&cell.bias, rows.iter().map(bias));
    let hidden_bias = |row: &Option<(usize, usize)>| row.map_or(0.0, |(gate, r)| if separate(gate) { w.bias_hh[r] } else { 0.0 });
    into.bias(&cell.hidden_bias, rows.iter().map(hidden_bias));
}
