//! Integers and constants of a quantised network → packed weights: physical channels, panels, Winograd's U. Padded channels have weights 0
//! and are always code 0.

use super::{DensePlaces, Factors, TransitionPlaces};
use crate::backend::channels::Channels;
use crate::backend::cpu::pack::Into;
use crate::backend::quantised::{Decoder, DenseCodes, Encoder, Reader, Rounded, TransitionCodes};
use crate::model::quantisation::Range as Codes;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::Integers;
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::int8::dense::{pack_conv1, pack_direct, pack_winograd, winograd};
use radnet_kernels::cpu::int8::layout::codes_mut;
use radnet_kernels::cpu::int8::transition::pack_conv;
use radnet_kernels::cpu::transition::TransitionShape;
use std::ops::Range;

/// A dense layer.
///
/// # Errors
/// `device` when a sum of products could leave 32 bits.
pub(in crate::backend::cpu) fn pack_dense(
    into: &mut Into<'_>,
    level: Integers,
    (shape, channels): (&DenseShape, Channels),
    to: &DensePlaces,
    layer: &DenseCodes,
) -> Result<()> {
    bounds(into, (&to.low, &to.high), channels, &layer.readers);
    let weight = physical(channels, (&layer.conv1, layer.readers.len()));
    fits(pack_conv1(level, shape, codes_mut(into.at(&to.conv1)), weight), "the 1×1 of a dense layer")?;
    factors(into, &to.mid, &layer.conv1);
    let (mid, growth) = (layer.conv1.scale.len(), layer.ranges.len());
    let at = |o: usize, i: usize| (o < growth && i < mid).then_some((o * mid + i) * 9);
    if !winograd(level, shape) {
        let direct = layer.direct();
        let taps = |o, i| at(o, i).map_or([0; 9], |at| std::array::from_fn(|t| direct.weights[at + t]));
        factors(into, &to.out, &direct);
        return fits(pack_direct(level, shape, codes_mut(into.at(&to.conv2)), taps), "the 3×3 of a dense layer");
    }
    let mut steps = vec![0.0; shape.growth];
    let taps = |o, i| at(o, i).map_or([0.0; 9], |at| std::array::from_fn(|t| layer.conv2[at + t]));
    pack_winograd(shape, codes_mut(into.at(&to.conv2)), &mut steps, taps);
    for (o, step) in steps[..growth].iter().enumerate() {
        (into.at(&to.out.scale)[o], into.at(&to.out.shift)[o]) = layer.encoder2(o, *step);
    }
    Ok(())
}

/// A transition.
///
/// # Errors
/// `device` when a sum of products could leave 32 bits.
pub(in crate::backend::cpu) fn pack_transition(
    into: &mut Into<'_>,
    level: Integers,
    (shape, channels): (&TransitionShape, Channels),
    to: &TransitionPlaces,
    transition: &TransitionCodes,
) -> Result<()> {
    bounds(into, (&to.low, &to.high), channels, &transition.readers);
    factors(into, &to.out, &transition.conv);
    let weight = physical(channels, (&transition.conv, transition.readers.len()));
    fits(pack_conv(level, shape, codes_mut(into.at(&to.conv)), weight), "a transition")
}

/// From floats to codes.
pub(in crate::backend::cpu) fn pack_encoder(into: &mut Into<'_>, to: &Factors, channels: Channels, ranges: &[Codes]) {
    for (c, range) in ranges.iter().enumerate() {
        let encoder = Encoder::new(*range);
        into.at(&to.scale)[channels.physical(c)] = encoder.inverse;
        into.at(&to.shift)[channels.physical(c)] = encoder.offset;
    }
}

/// From codes to floats.
pub(in crate::backend::cpu) fn pack_decoder(into: &mut Into<'_>, to: &Factors, channels: Channels, ranges: &[Codes]) {
    for (c, range) in ranges.iter().enumerate() {
        let decoder = Decoder::new(*range);
        into.at(&to.scale)[channels.physical(c)] = decoder.step;
        into.at(&to.shift)[channels.physical(c)] = decoder.low;
    }
}

fn bounds(into: &mut Into<'_>, (low, high): (&Range<usize>, &Range<usize>), channels: Channels, readers: &[Reader]) {
    for (c, reader) in readers.iter().enumerate() {
        let p = channels.physical(c);
        codes_mut(into.at(low))[p] = if reader.below { 0 } else { reader.threshold };
        codes_mut(into.at(high))[p] = if reader.below { reader.threshold } else { u8::MAX };
    }
}

fn factors(into: &mut Into<'_>, to: &Factors, from: &Rounded) {
    into.at(&to.scale)[..from.scale.len()].copy_from_slice(&from.scale);
    into.at(&to.shift)[..from.shift.len()].copy_from_slice(&from.shift);
}

/// The weight of (output, physical input) in a matrix \[outputs, inputs\].
fn physical(channels: Channels, (from, inputs): (&Rounded, usize)) -> impl Fn(usize, usize) -> i8 {
    move |o, p| match channels.logical(p) {
        Some(c) if o < from.scale.len() => from.weights[o * inputs + c],
        _ => 0,
    }
}

fn fits(proved: bool, what: &str) -> Result<()> {
    match proved {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Device, format!("precision int8: the sums of {what} of this model need more than 32 bits"))),
    }
}
