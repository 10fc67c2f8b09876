//! The packed weights of a layer as a level takes them, conv2 by the way that its 3×3 goes.

use super::super::winograd as integer;
use super::winograd;
use crate::cpu::dense::DenseShape;
use crate::cpu::int8::layout::{self, CODES, Pairs, Quads, as_bytes, inputs, matrix_len, matrix_len_of, pack_matrix_of, weights_mut};
use crate::integers::Integers;

/// Bytes of the packed conv1.
pub fn conv1_len(level: Integers, shape: &DenseShape) -> usize {
    let starts = if level.signed() { 4 * shape.mid } else { 0 };
    len_of(level, inputs(level, shape.in_channels), shape.mid) + starts
}

/// Bytes of a packed matrix.
fn len_of(level: Integers, k: usize, n: usize) -> usize {
    if level.quads() { matrix_len_of::<Quads>(k, n) } else { 2 * matrix_len_of::<Pairs>(k, n) }
}

/// Packs conv1 as a level takes it, followed by what sums of signed bytes start with; false as [`layout::pack_matrix`].
///
/// # Panics
/// When `dst` is not [`conv1_len`] long.
#[must_use]
pub fn pack_conv1(level: Integers, shape: &DenseShape, dst: &mut [u8], weight: impl Fn(usize, usize) -> i8) -> bool {
    let (k, mid) = (shape.in_channels, shape.mid);
    if level.quads() {
        assert_eq!(dst.len(), conv1_len(level, shape));
        let (matrix, starts) = dst.split_at_mut(len_of(level, inputs(level, k), mid));
        for (o, start) in starts.as_chunks_mut().0.iter_mut().enumerate() {
            let sum: i32 = (0..k).map(|i| i32::from(weight(o, i))).sum();
            *start = sum.wrapping_mul(128).to_ne_bytes();
        }
        return pack_matrix_of::<Quads>(weights_mut(matrix), inputs(level, k), mid, CODES, |o, i| if i < k { weight(o, i) } else { 0 });
    }
    let mut pairs = vec![0; matrix_len(k, mid)];
    let fits = layout::pack_matrix(&mut pairs, k, mid, CODES, weight);
    as_bytes(&pairs, dst);
    fits
}

/// Bytes of the packed conv2.
pub fn conv2_len(level: Integers, shape: &DenseShape) -> usize {
    match level {
        Integers::Amx(_) => len_of(level, 9 * inputs(level, shape.mid), shape.growth),
        _ if winograd(level, shape) => 2 * integer::weights_len(shape.mid, shape.growth),
        _ => 2 * matrix_len(9 * shape.mid, shape.growth),
    }
}

/// Packs conv2 where [`winograd`] says so, from the nine taps of each (output, input), zero for padded ones; `steps` receives what a unit of
/// each output's sums stands for.
///
/// # Panics
/// When `dst` is not [`conv2_len`] long, `steps` is shorter than the growth, or a weight is not finite.
pub fn pack_winograd(shape: &DenseShape, dst: &mut [u8], steps: &mut [f64], weight: impl Fn(usize, usize) -> [f64; 9]) {
    let mut words = vec![0; integer::weights_len(shape.mid, shape.growth)];
    integer::pack_weights(&mut words, steps, shape.mid, shape.growth, weight);
    as_bytes(&words, dst);
}

/// Packs conv2 where [`winograd`] does not say so, from the nine integers of each (output, input), zero for padded ones; false as
/// [`layout::pack_matrix`].
///
/// # Panics
/// When `dst` is not [`conv2_len`] long.
#[must_use]
pub fn pack_direct(level: Integers, shape: &DenseShape, dst: &mut [u8], weight: impl Fn(usize, usize) -> [i8; 9]) -> bool {
    if let Integers::Amx(_) = level {
        let k = inputs(level, shape.mid);
        let tap = |o, i: usize| if i % k < shape.mid { weight(o, i % k)[i / k] } else { 0 };
        return pack_matrix_of::<Quads>(weights_mut(dst), 9 * k, shape.growth, CODES, tap);
    }
    let mut pairs = vec![0; matrix_len(9 * shape.mid, shape.growth)];
    let fits = layout::pack_matrix(&mut pairs, 9 * shape.mid, shape.growth, CODES, |o, k| weight(o, k % shape.mid)[k / shape.mid]);
    as_bytes(&pairs, dst);
    fits
}
