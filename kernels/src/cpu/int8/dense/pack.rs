//! The packed weights of a layer: conv1 as a level takes it, conv2 as the shape's way of the 3×3 does.

use super::winograd;
use crate::cpu::dense::DenseShape;
use crate::cpu::int8::layout::{self, CODES, Pairs, Quads, matrix_len, matrix_len_of, pack_matrix_of, weights_mut};
use crate::integers::Integers;

/// Bytes of the packed conv1.
pub fn conv1_len(level: Integers, shape: &DenseShape) -> usize {
    match level.quads() {
        true => matrix_len_of::<Quads>(shape.in_channels, shape.mid),
        false => 2 * matrix_len_of::<Pairs>(shape.in_channels, shape.mid),
    }
}

/// Packs conv1 as a level takes it; false as [`layout::pack_matrix`].
///
/// # Panics
/// When `dst` is not [`conv1_len`] long.
#[must_use]
pub fn pack_conv1(level: Integers, shape: &DenseShape, dst: &mut [u8], weight: impl Fn(usize, usize) -> i8) -> bool {
    let (k, mid) = (shape.in_channels, shape.mid);
    if level.quads() {
        return pack_matrix_of::<Quads>(weights_mut(dst), k, mid, CODES, weight);
    }
    let mut pairs = vec![0; matrix_len(k, mid)];
    let fits = layout::pack_matrix(&mut pairs, k, mid, CODES, weight);
    assert_eq!(dst.len(), 2 * pairs.len());
    dst.as_chunks_mut().0.iter_mut().zip(pairs).for_each(|(bytes, w)| *bytes = w.to_ne_bytes());
    fits
}

/// Numbers of the packed conv2.
pub fn conv2_len(shape: &DenseShape) -> usize {
    if winograd(shape) { winograd::weights_len(shape.mid, shape.growth) } else { matrix_len(9 * shape.mid, shape.growth) }
}

/// Packs conv2 where [`winograd`] says so, from the nine taps of each (output, input), zero for padded ones; `steps` receives what a unit of
/// each output's sums stands for.
///
/// # Panics
/// When `dst` is not [`conv2_len`] long, `steps` is shorter than the growth, or a weight is not finite.
pub fn pack_winograd(shape: &DenseShape, dst: &mut [i16], steps: &mut [f64], weight: impl Fn(usize, usize) -> [f64; 9]) {
    winograd::pack_weights(dst, steps, shape.mid, shape.growth, weight);
}

/// Packs conv2 where [`winograd`] does not say so, from the nine integers of each (output, input), zero for padded ones; false as
/// [`layout::pack_matrix`].
///
/// # Panics
/// When `dst` is not [`conv2_len`] long.
#[must_use]
pub fn pack_direct(shape: &DenseShape, dst: &mut [i16], weight: impl Fn(usize, usize) -> [i8; 9]) -> bool {
    layout::pack_matrix(dst, 9 * shape.mid, shape.growth, CODES, |o, k| weight(o, k % shape.mid)[k / shape.mid])
}
