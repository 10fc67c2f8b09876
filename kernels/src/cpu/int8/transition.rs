//! A transition over codes: norm·ReLU, average pool 2×2/2, 1×1, from one block's slab to the first channels of the next.
//!
//! The pool goes first, as an exact sum of four whose factor 1/4 the weights carry. An odd last row or column is dropped.

use super::IntKernel;
use super::gemm::{IntGemm, Out, Requantise, Rows};
use super::lanes::IntLanes;
use super::layout::{
    CODES, Pairs, Quads, as_bytes, inputs, matrix_len, matrix_len_of, pack_matrix, pack_matrix_of, panel_len, weights_mut,
};
use super::prologue::{Bounds, ClampPool};
use crate::cpu::ahead::Ahead;
use crate::cpu::gemm::Batch;
use crate::cpu::layer::Arithmetic;
use crate::cpu::layer::transition::{self as layer, Steps, Worker};
use crate::cpu::layout::PANEL;
use crate::cpu::spans::Span;
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::cpu::transition::TransitionShape;
use crate::integers::Integers;
use crate::parallel::Crew;

/// The largest sum of four pixels, for [`super::layout::pack_matrix`].
pub const POOLED: i64 = 4 * CODES;

/// The weights of a transition; `TransitionShape` counts codes where it says floats.
#[derive(Clone, Copy)]
pub struct TransitionWeights<'a> {
    /// The norm and its ReLU: the code of its zero where its scale is positive, else 0.
    pub low: &'a [u8],
    /// The norm and its ReLU: the code of its zero where its scale is negative, else 255.
    pub high: &'a [u8],
    /// The convolution with the norm's scale, by [`pack_conv`] for the level that runs.
    pub conv: &'a [u8],
    /// From sums to codes.
    pub scale: &'a [f32],
    /// See `scale`.
    pub offset: &'a [f32],
}

/// Bytes of the packed convolution.
pub fn conv_len(level: Integers, shape: &TransitionShape) -> usize {
    match level {
        Integers::Amx(_) => matrix_len_of::<Quads>(inputs(level, shape.in_channels), shape.out_channels),
        _ => 2 * matrix_len(shape.in_channels, shape.out_channels),
    }
}

/// Packs the convolution given by `weight(output, input)`; false as [`pack_matrix`].
///
/// # Panics
/// When `dst` is not [`conv_len`] long.
#[must_use]
pub fn pack_conv(level: Integers, shape: &TransitionShape, dst: &mut [u8], weight: impl Fn(usize, usize) -> i8) -> bool {
    let (k, n) = (shape.in_channels, shape.out_channels);
    if let Integers::Amx(_) = level {
        let padded = |o, i| if i < k { weight(o, i) } else { 0 };
        return pack_matrix_of::<Quads>(weights_mut(dst), inputs(level, k), n, POOLED, padded);
    }
    let mut pairs = vec![0; matrix_len(k, n)];
    let fits = pack_matrix(&mut pairs, k, n, POOLED, weight);
    as_bytes(&pairs, dst);
    fits
}

/// Floats that one worker needs.
pub fn scratch_len(level: Integers, shape: &TransitionShape) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(_) = level {
        return tiles::transition::scratch_len::<tiles::Code>(shape);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    layer::scratch_len::<TransitionWeights<'_>>(shape)
}

/// Runs a transition on one image; `scratch` holds [`scratch_len`] floats for each worker of the crew. With `spans`, one an output row, only those
/// pixels are written.
///
/// # Panics
/// When a slice is too short.
pub fn transition(
    level: Integers,
    shape: &TransitionShape,
    weights: &TransitionWeights<'_>,
    (src, spans): (&[u8], Option<&[Span]>),
    dst: &mut [u8],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (k, n) = (shape.in_channels, shape.out_channels);
    shape.check((src.len(), spans), dst.len());
    assert!(weights.low.len() >= k && weights.high.len() >= k && weights.conv.len() >= conv_len(level, shape));
    assert!(weights.scale.len() >= n && weights.offset.len() >= n);
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(token) = level {
        let norm = Bounds { low: weights.low.as_ptr(), high: weights.high.as_ptr() };
        let new = Requantise { scale: weights.scale.as_ptr(), offset: weights.offset.as_ptr() };
        let tiled = tiles::transition::Transition { shape, norm, conv: weights.conv.as_ptr(), new };
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::transition::transition::<tiles::Code>(token, &tiled, (src, spans), dst, scratch, crew) };
    }
    layer::run((shape, *weights), (src, spans), dst, scratch, crew, |worker| level.run(worker));
}

impl Arithmetic for TransitionWeights<'_> {
    type Slab = u8;
    type Number = i16;
}

impl IntKernel for Worker<'_, TransitionWeights<'_>> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        self.run_on::<V>();
    }
}

// SAFETY (all blocks below): what is named lies in the worker's slabs and scratch and in weights of checked lengths, by the contract of the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<V: IntLanes> Steps<V> for TransitionWeights<'_> {
    #[inline(always)]
    unsafe fn pool(w: &Worker<'_, Self>, pixels: usize, src: *const u8, dst: *mut i16, stride: usize) {
        unsafe {
            V::call(ClampPool {
                pixels,
                channels: w.shape.in_channels,
                src,
                pixel_stride: w.shape.src_stride,
                row_stride: w.shape.width * w.shape.src_stride,
                bounds: Bounds { low: w.arithmetic.low.as_ptr(), high: w.arithmetic.high.as_ptr() },
                dst,
                dst_stride: stride,
            });
        }
    }

    #[inline(always)]
    unsafe fn product(w: &Worker<'_, Self>, pixels: usize, stride: usize, dst: *mut u8, ahead: Ahead<'_>) {
        let requantise = Requantise { scale: w.arithmetic.scale.as_ptr(), offset: w.arithmetic.offset.as_ptr() };
        unsafe {
            V::call(IntGemm::<Pairs> {
                rows: pixels,
                a: w.scratch,
                a_rows: Rows::Stride(stride),
                runs: &[0],
                run_len: w.shape.in_channels,
                w: w.arithmetic.conv.as_ptr().cast(),
                panel_len: panel_len(w.shape.in_channels),
                panels: w.shape.out_channels / PANEL,
                out: Out::Codes(requantise, dst),
                out_rows: Rows::Stride(w.shape.dst_stride),
                batch: Batch::ONE,
                ahead,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_numbers::Numbers;
    use super::*;
    use crate::parallel::with_crew;

    /// Equal to the definition over i64, code for code: odd maps, flips, spans, one and three workers, every level.
    #[test]
    fn codes_are_those_of_the_definition() {
        for (height, width, k, n) in [(2, 2, 16, 16), (5, 7, 48, 32), (12, 9, 256, 128), (24, 3, 32, 48), (5, 4, 848, 336)] {
            let mut numbers = Numbers((height * width + k) as u64);
            let shape = TransitionShape { height, width, in_channels: k, src_stride: k + 16, out_channels: n, dst_stride: n + 32 };
            let src: Vec<u8> = (0..height * width * shape.src_stride).map(|_| numbers.below(256) as u8).collect();
            let low: Vec<u8> = (0..k).map(|c| if c % 2 == 0 { numbers.below(256) as u8 } else { 0 }).collect();
            let high: Vec<u8> = (0..k).map(|c| if c % 2 == 0 { 255 } else { numbers.below(256) as u8 }).collect();
            let conv: Vec<i8> = (0..n * k).map(|_| (numbers.below(255) as i64 - 127) as i8).collect();
            let scale: Vec<f32> = (0..n).map(|o| (1.0 + o as f32 * 0.01) / (k as f32).sqrt() / 300.0).collect();
            let offset: Vec<f32> = (0..n).map(|o| (o % 16) as f32 * 13.3 - 20.0).collect();
            let (rows, columns) = (height / 2, width / 2);
            let clamped = |p: usize, c: usize| i64::from(src[p * shape.src_stride + c].max(low[c]).min(high[c]));
            let code = |y: usize, x: usize, o: usize| {
                let pool = |c: usize| (0..4).map(|i| clamped((2 * y + i / 2) * width + 2 * x + i % 2, c)).sum::<i64>();
                let sum: i64 = (0..k).map(|c| pool(c) * i64::from(conv[o * k + c])).sum();
                let y = (sum as f32).mul_add(scale[o], offset[o]);
                if y > 0.0 { y.min(255.0).round_ties_even() as u8 } else { 0 }
            };
            let spans: Vec<Span> = (0..rows).map(|y| Span { start: y % 2 % columns, end: columns - y % 3 % columns }).collect();
            for level in Integers::available() {
                let mut packed = vec![9; conv_len(level, &shape)];
                assert!(pack_conv(level, &shape, &mut packed, |o, i| conv[o * k + i]));
                let weights = TransitionWeights { low: &low, high: &high, conv: &packed, scale: &scale, offset: &offset };
                for (workers, spans) in [(1, None), (3, None), (2, Some(&spans[..]))] {
                    let mut dst = vec![9; rows * columns * shape.dst_stride];
                    let mut scratch = vec![f32::NAN; scratch_len(level, &shape) * workers];
                    with_crew(workers, |crew| transition(level, &shape, &weights, (&src, spans), &mut dst, &mut scratch, crew));
                    for (i, found) in dst.iter().enumerate() {
                        let (pixel, o) = (i / shape.dst_stride, i % shape.dst_stride);
                        let (y, x) = (pixel / columns, pixel % columns);
                        let inside = o < n && spans.is_none_or(|s| s[y].columns().contains(&x));
                        let expected = if inside { code(y, x, o) } else { 9 };
                        assert_eq!(*found, expected, "{} {workers} {height}×{width} {k} {n}: {y} {x} {o}", level.name());
                    }
                }
            }
        }
    }
}
