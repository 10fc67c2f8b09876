//! Between floats and bf16: what fp32 steps give is rounded into a slab, and rows of a slab are widened for fp32 steps.

use super::HalfKernel;
use super::lanes::HalfLanes;
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Span;
use crate::isa::Isa;
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
    /// bf16 from pixel to pixel.
    pub halves_stride: usize,
}

impl ConvertShape {
    fn check(&self, floats: usize, halves: usize) {
        let pixels = self.height * self.width;
        assert!(self.channels.is_multiple_of(PANEL) && self.floats_stride >= self.channels && self.halves_stride >= self.channels);
        assert!(floats >= pixels * self.floats_stride && halves >= pixels * self.halves_stride);
    }
}

/// Rounds a map, its rows shared among the crew. With `spans`, one a row, only those pixels are written.
///
/// # Panics
/// When a slice is too short.
pub fn narrow(isa: Isa, shape: &ConvertShape, (src, spans): (&[f32], Option<&[Span]>), dst: &mut [u16], crew: &Crew<'_>) {
    shape.check(src.len(), dst.len());
    assert!(spans.is_none_or(|s| s.len() == shape.height && s.iter().all(|s| s.end <= shape.width)));
    let (dst, workers) = (SharedMut::new(dst), crew.workers());
    crew.run(workers, &|worker| isa.run_halves(Narrow { shape, src, spans, rows: part(shape.height, workers, worker), dst }));
}

struct Narrow<'a> {
    shape: &'a ConvertShape,
    src: &'a [f32],
    spans: Option<&'a [Span]>,
    rows: Range<usize>,
    dst: SharedMut<'a, u16>,
}

impl HalfKernel for Narrow<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        let shape = self.shape;
        for y in self.rows {
            for x in self.spans.map_or(0..shape.width, |spans| spans[y].columns()) {
                let pixel = y * shape.width + x;
                for c in (0..shape.channels).step_by(V::Floats::LANES) {
                    // SAFETY: the pixel lies inside both maps, whose lengths `narrow` checked; the row is this worker's.
                    unsafe {
                        let x = V::Floats::load(self.src.as_ptr().add(pixel * shape.floats_stride + c));
                        V::narrow(x, self.dst.at(pixel * shape.halves_stride + c));
                    }
                }
            }
        }
    }
}

/// Widens a map, its rows shared among the crew.
///
/// # Panics
/// When a slice is too short.
pub fn widen(isa: Isa, shape: &ConvertShape, src: &[u16], dst: &mut [f32], crew: &Crew<'_>) {
    shape.check(dst.len(), src.len());
    let (dst, workers) = (SharedMut::new(dst), crew.workers());
    crew.run(workers, &|worker| isa.run_halves(Widen { shape, src, rows: part(shape.height, workers, worker), dst }));
}

struct Widen<'a> {
    shape: &'a ConvertShape,
    src: &'a [u16],
    rows: Range<usize>,
    dst: SharedMut<'a>,
}

impl HalfKernel for Widen<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        let shape = self.shape;
        for pixel in self.rows.start * shape.width..self.rows.end * shape.width {
            for c in (0..shape.channels).step_by(V::Floats::LANES) {
                // SAFETY: the pixel lies inside both maps, whose lengths `widen` checked; the row is this worker's.
                unsafe {
                    let x = V::widen(self.src.as_ptr().add(pixel * shape.halves_stride + c));
                    x.store(self.dst.at(pixel * shape.floats_stride + c));
                }
            }
        }
    }
}
