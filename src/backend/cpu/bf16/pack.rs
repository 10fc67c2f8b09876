//! Weights → packed bf16: folded in float64 as for fp32 and rounded once.

use crate::backend::channels::Channels;
use crate::backend::cpu::pack::Into;
use crate::weights::{DenseLayerWeights, TransitionWeights};
use radnet_kernels::Isa;
use radnet_kernels::cpu::bf16::dense::{pack_conv1, pack_conv2};
use radnet_kernels::cpu::bf16::layout::halves_mut;
use radnet_kernels::cpu::bf16::transition::pack_conv;
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::transition::TransitionShape;
use std::ops::Range;

/// conv1 with norm2 folded in, the rest of norm2, and conv2.
pub(in crate::backend::cpu) fn pack_dense(
    into: &mut Into<'_>,
    isa: Isa,
    (w, eps): (&DenseLayerWeights, f64),
    (shape, channels): (&DenseShape, Channels),
    [conv1, bias1, conv2]: [&Range<usize>; 3],
) {
    let (scale, shift) = w.norm2.scale_shift(eps);
    let (mid, inputs) = (scale.len(), w.conv1.len() / scale.len());
    let weight = |o: usize, p: usize| channels.logical(p).map_or(0.0, |c| f64::from(w.conv1[o * inputs + c]) * scale[o]);
    pack_conv1(isa, shape, halves_mut(into.at(conv1)), |o, p| if o < mid { weight(o, p) } else { 0.0 });
    into.bias(bias1, shift.into_iter().map(crate::backend::cpu::pack::finite));
    let growth = w.conv2.len() / (9 * mid);
    pack_conv2(isa, shape, halves_mut(into.at(conv2)), |o, i| match o < growth && i < mid {
        true => std::array::from_fn(|t| f64::from(w.conv2[(o * mid + i) * 9 + t])),
        false => [0.0; 9],
    });
}

/// A quarter of the convolution.
pub(in crate::backend::cpu) fn pack_transition(
    into: &mut Into<'_>,
    isa: Isa,
    w: &TransitionWeights,
    (shape, channels): (&TransitionShape, Channels),
    conv: &Range<usize>,
) {
    let inputs = w.norm.weight.len();
    let weight = |o: usize, p: usize| channels.logical(p).map_or(0.0, |c| f64::from(w.conv[o * inputs + c]) * 0.25);
    let outputs = w.conv.len() / inputs;
    pack_conv(isa, shape, halves_mut(into.at(conv)), |o, p| if o < outputs { weight(o, p) } else { 0.0 });
}
