//! A segmentation head: norm·ReLU·1×1 to one logit per position, bilinear upsampling to the input size, sigmoid.
//!
//! Upsampling has half-pixel centres (align_corners = false) and clamps at the border; its two weights per axis are worked out in f64 and
//! rounded once, and its sums are plain multiplies and adds in one order, the same on every machine.

use super::Kernel;
use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, panel_len, unaliased};
use super::math::{self, Function};
use super::part;
use super::prologue::NormRelu;
use crate::isa::Isa;
use crate::parallel::{self, Crew, SharedMut};
use std::ops::Range;

/// Shapes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentationShape {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Channels, padded to 16.
    pub channels: usize,
    /// Floats from pixel to pixel of the slab.
    pub slab_stride: usize,
}

/// The weights of a head.
#[derive(Clone, Copy)]
pub struct SegmentationWeights<'a> {
    /// norm: y = scale · x + shift.
    pub scale: &'a [f32],
    /// See `scale`.
    pub shift: &'a [f32],
    /// Packed \[1, channels\].
    pub conv: &'a [f32],
    /// Padded to 16.
    pub bias: &'a [f32],
}

impl SegmentationShape {
    /// Floats of scratch for each worker.
    pub fn scratch_len(&self) -> usize {
        self.row_len() + self.height * self.width
    }

    /// Floats of a packed row and its logits.
    fn row_len(&self) -> usize {
        self.width * (unaliased(self.channels) + PANEL)
    }
}

/// The probability map of one image: `dst` is \[rows, columns\] at the network's input size; `scratch` holds
/// [`SegmentationShape::scratch_len`] floats for each worker of the crew.
///
/// # Panics
/// When a slice is too short.
pub fn segmentation_map(
    isa: Isa,
    shape: &SegmentationShape,
    weights: &SegmentationWeights<'_>,
    slab: &[f32],
    (dst, rows, columns): (&mut [f32], usize, usize),
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (area, workers, len) = (shape.height * shape.width, crew.workers(), shape.row_len());
    assert!(area > 0 && shape.channels.is_multiple_of(PANEL) && shape.slab_stride >= shape.channels);
    assert!(slab.len() >= area * shape.slab_stride && scratch.len() >= shape.scratch_len() * workers);
    assert!(weights.scale.len() >= shape.channels && weights.shift.len() >= shape.channels);
    assert!(weights.conv.len() >= matrix_len(shape.channels, 1) && weights.bias.len() >= PANEL);
    let (map, scratch) = scratch.split_at_mut(area);
    let shared = SharedMut::new(map);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let rows = part(shape.height, workers, worker);
        // SAFETY: rows of the map, which no other worker has.
        let map = unsafe { std::slice::from_raw_parts_mut(shared.at(rows.start * shape.width), rows.len() * shape.width) };
        isa.run(Logits { shape, weights, slab, first: rows.start, map, scratch });
    });
    let (map, dst) = (&*map, SharedMut::new(&mut dst[..rows * columns]));
    crew.run(workers, &|worker| {
        let mine = part(rows, workers, worker);
        // SAFETY: rows of the result, which no other worker has.
        let dst = unsafe { std::slice::from_raw_parts_mut(dst.at(mine.start * columns), mine.len() * columns) };
        upsample(map, (shape.height, shape.width), (dst, mine), (rows, columns));
        math::apply(isa, Function::Sigmoid, dst);
    });
}

/// The two source positions and weights of one output position.
fn taps(index: usize, from: usize, to: usize) -> [(usize, f32); 2] {
    let at = ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
    let low = (at as usize).min(from - 1);
    let fraction = at - low as f64;
    [(low, (1.0 - fraction) as f32), ((low + 1).min(from - 1), fraction as f32)]
}

/// Rows `mine` of the upsampled map.
fn upsample(src: &[f32], (height, width): (usize, usize), (dst, mine): (&mut [f32], Range<usize>), (rows, columns): (usize, usize)) {
    for (out, y) in dst.chunks_exact_mut(columns).zip(mine) {
        let [(y0, top), (y1, bottom)] = taps(y, height, rows);
        let (upper, lower) = (&src[y0 * width..][..width], &src[y1 * width..][..width]);
        for (x, out) in out.iter_mut().enumerate() {
            let [(x0, left), (x1, right)] = taps(x, width, columns);
            *out = top * (left * upper[x0] + right * upper[x1]) + bottom * (left * lower[x0] + right * lower[x1]);
        }
    }
}

/// One logit per position of the rows from `first` on.
struct Logits<'a> {
    shape: &'a SegmentationShape,
    weights: &'a SegmentationWeights<'a>,
    slab: &'a [f32],
    first: usize,
    map: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let (shape, w, stride) = (self.shape, self.weights, unaliased(self.shape.channels));
        let (packed, logits) = self.scratch.split_at_mut(shape.width * stride);
        for (y, map) in self.map.chunks_exact_mut(shape.width).enumerate() {
            // SAFETY: lengths were checked by `segmentation_map`.
            unsafe {
                V::call(NormRelu {
                    rows: shape.width,
                    channels: shape.channels,
                    src: self.slab.as_ptr().add((self.first + y) * shape.width * shape.slab_stride),
                    src_stride: shape.slab_stride,
                    scale: w.scale.as_ptr(),
                    shift: w.shift.as_ptr(),
                    dst: packed.as_mut_ptr(),
                    dst_stride: stride,
                });
                V::call(Gemm {
                    rows: shape.width,
                    a: packed.as_ptr(),
                    a_rows: Rows::Stride(stride),
                    runs: &[0],
                    run_len: shape.channels,
                    w: w.conv.as_ptr(),
                    panel_len: panel_len(shape.channels),
                    panels: 1,
                    init: Init::Bias(w.bias.as_ptr()),
                    dst: logits.as_mut_ptr(),
                    dst_rows: Rows::Stride(PANEL),
                    relu: false,
                    batch: Batch::ONE,
                    ahead: Ahead::NONE,
                });
            }
            for (logit, row) in map.iter_mut().zip(logits.chunks_exact(PANEL)) {
                *logit = row[0];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values worked out by hand: 2 → 4 gives weights 3/4 and 1/4 and clamps at the borders; sizes 1 and equal sizes are copies.
    #[test]
    fn upsampling_has_half_pixel_centres() {
        let mut dst = [0.0; 4];
        upsample(&[0.0, 4.0], (1, 2), (&mut dst, 0..1), (1, 4));
        assert_eq!(dst, [0.0, 1.0, 3.0, 4.0]);
        upsample(&[5.0], (1, 1), (&mut dst, 0..2), (2, 2));
        assert_eq!(dst, [5.0; 4]);
        upsample(&[1.0, 2.0, 3.0, 4.0], (2, 2), (&mut dst, 0..2), (2, 2));
        assert_eq!(dst, [1.0, 2.0, 3.0, 4.0]);
    }
}
