//! A transition: norm·ReLU, average pool 2×2/2, 1×1, from one block's slab to the first channels of the next.
//!
//! The pool commutes with the convolution and goes first, on a quarter of the pixels; its factor 1/4 sits in the packed weights.
//! An odd last row or column is dropped, as the pool's floor says. Pixels are packed in blocks as in the dense layer.

use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, panel_len, unaliased};
use super::prologue::NormReluPool;
use super::spans::Span;
use super::{Kernel, part};
use crate::isa::Isa;
use crate::parallel::{self, Crew, SharedMut};

/// Bytes of packed pixels in one block, and the most pixels it holds.
const BLOCK_BYTES: usize = 96 * 1024;
const BLOCK_PIXELS: usize = 96;

/// Shapes of a transition; channel counts are padded to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionShape {
    /// Rows before the pool.
    pub height: usize,
    /// Columns before the pool.
    pub width: usize,
    /// Channels read.
    pub in_channels: usize,
    /// Floats from pixel to pixel of the slab read.
    pub src_stride: usize,
    /// Channels written.
    pub out_channels: usize,
    /// Floats from pixel to pixel of the slab written.
    pub dst_stride: usize,
}

/// The weights of a transition.
#[derive(Clone, Copy)]
pub struct TransitionWeights<'a> {
    /// norm: y = scale · x + shift.
    pub scale: &'a [f32],
    /// See `scale`.
    pub shift: &'a [f32],
    /// A quarter of the convolution, packed \[out_channels, in_channels\].
    pub conv: &'a [f32],
}

impl TransitionShape {
    /// Floats that one worker needs.
    pub fn scratch_len(&self) -> usize {
        self.block_pixels() * unaliased(self.in_channels)
    }

    /// Multiply-adds times two.
    pub fn flop(&self) -> u64 {
        2 * (self.height / 2 * (self.width / 2) * self.in_channels * self.out_channels) as u64
    }

    fn block_pixels(&self) -> usize {
        (BLOCK_BYTES / 4 / unaliased(self.in_channels) / 12 * 12).clamp(12, BLOCK_PIXELS)
    }
}

/// Runs a transition on one image; `scratch` holds [`TransitionShape::scratch_len`] floats for each worker of the crew. With `spans`, one an output
/// row, only those pixels are written.
///
/// # Panics
/// When a slice is too short.
pub fn transition(
    isa: Isa,
    shape: &TransitionShape,
    weights: &TransitionWeights<'_>,
    (src, spans): (&[f32], Option<&[Span]>),
    dst: &mut [f32],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (rows, columns) = (shape.height / 2, shape.width / 2);
    let pixels = rows * columns;
    let (k, n) = (shape.in_channels, shape.out_channels);
    assert!(k.is_multiple_of(PANEL) && n.is_multiple_of(PANEL) && shape.src_stride >= k && shape.dst_stride >= n);
    assert!(src.len() >= shape.height * shape.width * shape.src_stride && dst.len() >= pixels * shape.dst_stride);
    assert!(weights.scale.len() >= k && weights.shift.len() >= k && weights.conv.len() >= matrix_len(k, n));
    assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
    let len = shape.scratch_len();
    let workers = crew.workers();
    assert!(scratch.len() >= len * workers);
    let dst = SharedMut::new(dst);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let scratch = scratch.as_mut_ptr();
        let run = |pixels| isa.run(Worker { shape, weights, src, pixels, dst, scratch });
        match spans {
            None => run(part(pixels, workers, worker)),
            Some(spans) => {
                part(rows, workers, worker).for_each(|row| run(row * columns + spans[row].start..row * columns + spans[row].end));
            }
        }
    });
}

/// The output pixels of one thread.
struct Worker<'a> {
    shape: &'a TransitionShape,
    weights: &'a TransitionWeights<'a>,
    src: &'a [f32],
    pixels: std::ops::Range<usize>,
    dst: SharedMut<'a>,
    scratch: *mut f32,
}

impl Kernel for Worker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let shape = self.shape;
        let stride = unaliased(shape.in_channels);
        let blocks = self.pixels.len().div_ceil(shape.block_pixels());
        for b in 0..blocks {
            let block = part(self.pixels.len(), blocks, b);
            let first = self.pixels.start + block.start;
            let next = if b + 1 < blocks { part(self.pixels.len(), blocks, b + 1) } else { 0..0 };
            let mut starts = [std::ptr::null(); 4 * BLOCK_PIXELS];
            let ahead = self.reads(self.pixels.start + next.start, next.len(), &mut starts);
            // SAFETY: the pixels lie inside both maps, whose lengths `transition` checked, and a block inside the scratch.
            unsafe {
                self.pack::<V>(first, block.len(), stride);
                V::call(Gemm {
                    rows: block.len(),
                    a: self.scratch,
                    a_rows: Rows::Stride(stride),
                    runs: &[0],
                    run_len: shape.in_channels,
                    w: self.weights.conv.as_ptr(),
                    panel_len: panel_len(shape.in_channels),
                    panels: shape.out_channels / PANEL,
                    init: Init::Zero,
                    dst: self.dst.at(first * shape.dst_stride),
                    dst_rows: Rows::Stride(shape.dst_stride),
                    relu: false,
                    batch: Batch::ONE,
                    ahead,
                });
            }
        }
    }
}

impl Worker<'_> {
    /// What packing `count` pooled pixels from `first` on reads, four runs a pixel.
    #[inline(always)]
    fn reads<'b>(&self, first: usize, count: usize, starts: &'b mut [*const u8; 4 * BLOCK_PIXELS]) -> Ahead<'b> {
        let shape = self.shape;
        let columns = shape.width / 2;
        for (i, start) in starts[..4 * count].iter_mut().enumerate() {
            let (y, x) = ((first + i / 4) / columns, (first + i / 4) % columns);
            let pixel = (2 * y + i % 4 / 2) * shape.width + 2 * x + i % 2;
            *start = self.src.as_ptr().wrapping_add(pixel * shape.src_stride).cast();
        }
        Ahead { starts: &starts[..4 * count], bytes: 4 * shape.in_channels }
    }

    /// Packs `count` pooled pixels from `first` on, a run within one output row at a time.
    #[inline(always)]
    unsafe fn pack<V: F32Lanes>(&self, first: usize, count: usize, stride: usize) {
        let shape = self.shape;
        let columns = shape.width / 2;
        let mut done = 0;
        while done < count {
            let (y, x) = ((first + done) / columns, (first + done) % columns);
            let pixels = (columns - x).min(count - done);
            // SAFETY: output pixel (y, x) reads input pixels (2y, 2x) to (2y + 1, 2x + 1), which exist.
            unsafe {
                V::call(NormReluPool {
                    pixels,
                    channels: shape.in_channels,
                    src: self.src.as_ptr().add((2 * y * shape.width + 2 * x) * shape.src_stride),
                    pixel_stride: shape.src_stride,
                    row_stride: shape.width * shape.src_stride,
                    scale: self.weights.scale.as_ptr(),
                    shift: self.weights.shift.as_ptr(),
                    dst: self.scratch.add(done * stride),
                    dst_stride: stride,
                });
            }
            done += pixels;
        }
    }
}
