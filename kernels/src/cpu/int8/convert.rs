//! Between floats and codes: what fp32 steps give is quantised into a slab, and rows of a slab are given back to fp32 steps.

use super::IntKernel;
use super::gemm::Requantise;
use super::lanes::IntLanes;
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Span;
use crate::integers::Integers;
use crate::parallel::{Crew, SharedMut};
use std::ops::Range;

/// Rows of pixels and how they lie; channels are padded to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertShape {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Channels converted.
    pub channels: usize,
    /// Floats from pixel to pixel.
    pub floats_stride: usize,
    /// Codes from pixel to pixel.
    pub codes_stride: usize,
}

impl ConvertShape {
    fn check(&self, floats: usize, codes: usize, factors: [&[f32]; 2]) {
        let pixels = self.height * self.width;
        assert!(self.channels.is_multiple_of(PANEL) && self.floats_stride >= self.channels && self.codes_stride >= self.channels);
        assert!(floats >= pixels * self.floats_stride && codes >= pixels * self.codes_stride);
        assert!(factors.iter().all(|f| f.len() >= self.channels));
    }
}

/// The nearest codes of `scale[c] · x + offset[c]`, saturated, rows shared among the crew. With `spans`, one a row, only those pixels are written.
///
/// # Panics
/// When a slice is too short.
pub fn quantise(
    level: Integers,
    shape: &ConvertShape,
    (scale, offset): (&[f32], &[f32]),
    (src, spans): (&[f32], Option<&[Span]>),
    dst: &mut [u8],
    crew: &Crew<'_>,
) {
    shape.check(src.len(), dst.len(), [scale, offset]);
    assert!(spans.is_none_or(|s| s.len() == shape.height && s.iter().all(|s| s.end <= shape.width)));
    let (dst, workers) = (SharedMut::new(dst), crew.workers());
    crew.run(workers, &|worker| {
        let requantise = Requantise { scale: scale.as_ptr(), offset: offset.as_ptr() };
        level.run(Quantise { shape, requantise, src, spans, rows: part(shape.height, workers, worker), dst });
    });
}

struct Quantise<'a> {
    shape: &'a ConvertShape,
    requantise: Requantise,
    src: &'a [f32],
    spans: Option<&'a [Span]>,
    rows: Range<usize>,
    dst: SharedMut<'a, u8>,
}

impl IntKernel for Quantise<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let shape = self.shape;
        for y in self.rows {
            let columns = self.spans.map_or(0..shape.width, |spans| spans[y].columns());
            for x in columns {
                let pixel = y * shape.width + x;
                for c in (0..shape.channels).step_by(V::LANES) {
                    // SAFETY: the pixel lies inside both maps, whose lengths `quantise` checked; the row is this worker's.
                    unsafe {
                        let x = V::Floats::load(self.src.as_ptr().add(pixel * shape.floats_stride + c));
                        V::store_codes(self.requantise.apply(x, c), self.dst.at(pixel * shape.codes_stride + c));
                    }
                }
            }
        }
    }
}

/// x = step\[c\] · q + low\[c\], rounded once; rows shared among the crew.
///
/// # Panics
/// When a slice is too short.
pub fn restore(level: Integers, shape: &ConvertShape, (step, low): (&[f32], &[f32]), src: &[u8], dst: &mut [f32], crew: &Crew<'_>) {
    shape.check(dst.len(), src.len(), [step, low]);
    let (dst, workers) = (SharedMut::new(dst), crew.workers());
    crew.run(workers, &|worker| level.run(Restore { shape, step, low, src, rows: part(shape.height, workers, worker), dst }));
}

struct Restore<'a> {
    shape: &'a ConvertShape,
    step: &'a [f32],
    low: &'a [f32],
    src: &'a [u8],
    rows: Range<usize>,
    dst: SharedMut<'a>,
}

impl IntKernel for Restore<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let shape = self.shape;
        for pixel in self.rows.start * shape.width..self.rows.end * shape.width {
            for c in (0..shape.channels).step_by(V::LANES) {
                // SAFETY: the pixel lies inside both maps, whose lengths `restore` checked; the row is this worker's.
                unsafe {
                    let (step, low) = (V::Floats::load(self.step.as_ptr().add(c)), V::Floats::load(self.low.as_ptr().add(c)));
                    let q = V::code_floats(self.src.as_ptr().add(pixel * shape.codes_stride + c));
                    q.mul_add(step, low).store(self.dst.at(pixel * shape.floats_stride + c));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_numbers::Numbers;
    use super::*;
    use crate::parallel::with_crew;

    /// Ties, both ends, infinities and constant channels on every level; what lies outside the spans stays. One, two and more workers than rows.
    #[test]
    fn rounding_and_saturation_are_those_of_the_definition() {
        let shape = ConvertShape { height: 3, width: 5, channels: 48, floats_stride: 48, codes_stride: 64 };
        let mut numbers = Numbers(3);
        let special = [0.5, 1.5, 2.5, 254.5, 255.5, -0.5, -3.0, 300.0, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY];
        let src: Vec<f32> =
            (0..15 * 48).map(|i| special.get(i % 17).copied().unwrap_or_else(|| numbers.below(100_000) as f32 / 300.0 - 20.0)).collect();
        let scale: Vec<f32> = (0..48).map(|c| [1.0, 0.75, 0.0][c % 3]).collect();
        let offset: Vec<f32> = (0..48).map(|c| [0.0, 0.1, 7.0][c % 3]).collect();
        let spans = [Span { start: 1, end: 4 }, Span::default(), Span { start: 0, end: 5 }];
        for (level, workers) in Integers::available().flat_map(|level| [(level, 1), (level, 2), (level, 5)]) {
            let mut codes = vec![77; 15 * 64];
            with_crew(workers, |crew| quantise(level, &shape, (&scale, &offset), (&src, Some(&spans)), &mut codes, crew));
            for (i, code) in codes.iter().enumerate() {
                let (pixel, c) = (i / 64, i % 64);
                let inside = c < 48 && spans[pixel / 5].columns().contains(&(pixel % 5));
                let y = if inside { src[pixel * 48 + c].mul_add(scale[c], offset[c]) } else { 77.0 };
                let expected = if y > 0.0 { y.min(255.0).round_ties_even() as u8 } else { 0 };
                assert_eq!(*code, expected, "{} {pixel} {c} {y}", level.name());
            }
            let mut back = vec![f32::NAN; 15 * 48];
            with_crew(workers, |crew| restore(level, &shape, (&scale, &offset), &codes, &mut back, crew));
            for (i, x) in back.iter().enumerate() {
                let (pixel, c) = (i / 48, i % 48);
                assert_eq!(*x, f32::from(codes[pixel * 64 + c]).mul_add(scale[c], offset[c]), "{}", level.name());
            }
        }
    }
}
