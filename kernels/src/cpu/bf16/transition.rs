//! A transition over bf16: norm·ReLU, average pool 2×2/2, 1×1, from one block's slab to the first channels of the next.
//!
//! The pool goes first, in float32, and its factor 1/4 sits in the packed weights. An odd last row or column is dropped.

use super::HalfKernel;
use super::gemm::{HalfGemm, Out, Rows};
use super::lanes::HalfLanes;
use super::layout::{channel, inputs, matrix_len, pack_matrix, panel_len};
use super::prologue::{Norm, NormReluPool};
use crate::cpu::ahead::Ahead;
use crate::cpu::gemm::Batch;
use crate::cpu::int8::layout::unaliased;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Span;
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::cpu::transition::TransitionShape;
use crate::isa::Isa;
use crate::parallel::{self, Crew, SharedMut};

/// Bytes of packed pixels in one block, and the most pixels it holds.
const BLOCK_BYTES: usize = 48 * 1024;
const BLOCK_PIXELS: usize = 96;

/// The weights of a transition; `TransitionShape` counts bf16 where it says floats.
#[derive(Clone, Copy)]
pub struct TransitionWeights<'a> {
    /// norm: y = scale · x + shift, [`inputs`] of them, by [`super::layout::order_channels`].
    pub scale: &'a [f32],
    /// See `scale`.
    pub shift: &'a [f32],
    /// By [`pack_conv`].
    pub conv: &'a [u16],
}

fn block_pixels(shape: &TransitionShape) -> usize {
    (BLOCK_BYTES / 2 / unaliased(shape.in_channels) / 12 * 12).clamp(12, BLOCK_PIXELS)
}

/// Numbers of the packed convolution.
pub fn conv_len(isa: Isa, shape: &TransitionShape) -> usize {
    matrix_len(inputs(isa, shape.in_channels), shape.out_channels)
}

/// Packs a quarter of the convolution, given by `weight(output, input)`.
///
/// # Panics
/// When `dst` is not [`conv_len`] long.
pub fn pack_conv(isa: Isa, shape: &TransitionShape, dst: &mut [u16], weight: impl Fn(usize, usize) -> f64) {
    let k = shape.in_channels;
    pack_matrix(dst, inputs(isa, k), shape.out_channels, |o, p| if channel(isa, p) < k { weight(o, channel(isa, p)) } else { 0.0 });
}

/// Floats that one worker needs.
pub fn scratch_len(isa: Isa, shape: &TransitionShape) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(_) = isa {
        return tiles::transition::scratch_len::<tiles::Half>(shape);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    block_pixels(shape) * unaliased(shape.in_channels) / 2
}

/// Runs a transition on one image; `scratch` holds [`scratch_len`] floats for each worker of the crew. With `spans`, one an output row, only those
/// pixels are written.
///
/// # Panics
/// When a slice is too short.
pub fn transition(
    isa: Isa,
    shape: &TransitionShape,
    weights: &TransitionWeights<'_>,
    (src, spans): (&[u16], Option<&[Span]>),
    dst: &mut [u16],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (rows, columns) = (shape.height / 2, shape.width / 2);
    let pixels = rows * columns;
    let (k, n) = (shape.in_channels, shape.out_channels);
    assert!(k.is_multiple_of(PANEL) && n.is_multiple_of(PANEL) && shape.src_stride >= k && shape.dst_stride >= n);
    assert!(src.len() >= shape.height * shape.width * shape.src_stride && dst.len() >= pixels * shape.dst_stride);
    assert!(weights.scale.len() >= inputs(isa, k) && weights.shift.len() >= inputs(isa, k) && weights.conv.len() >= conv_len(isa, shape));
    assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        let norm = tiles::Norm { scale: weights.scale.as_ptr(), shift: weights.shift.as_ptr() };
        let tiled = tiles::transition::Transition { shape, norm, conv: weights.conv.as_ptr().cast(), new: tiles::Plain };
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::transition::transition::<tiles::Half>(token, &tiled, (src, spans), dst, scratch, crew) };
    }
    let len = scratch_len(isa, shape);
    let workers = crew.workers();
    assert!(scratch.len() >= len * workers);
    let dst = SharedMut::new(dst);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let scratch = scratch.as_mut_ptr().cast();
        let run = |pixels| isa.run_halves(Worker { shape, weights, src, pixels, dst, scratch });
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
    src: &'a [u16],
    pixels: std::ops::Range<usize>,
    dst: SharedMut<'a, u16>,
    scratch: *mut u16,
}

impl HalfKernel for Worker<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        let shape = self.shape;
        let stride = unaliased(shape.in_channels);
        let blocks = self.pixels.len().div_ceil(block_pixels(shape));
        for b in 0..blocks {
            let block = part(self.pixels.len(), blocks, b);
            let first = self.pixels.start + block.start;
            let next = if b + 1 < blocks { part(self.pixels.len(), blocks, b + 1) } else { 0..0 };
            let mut starts = [std::ptr::null(); 4 * BLOCK_PIXELS];
            let ahead = self.reads(self.pixels.start + next.start, next.len(), &mut starts);
            // SAFETY: the pixels lie inside both maps, whose lengths `transition` checked, and a block inside the scratch.
            unsafe {
                self.pack::<V>(first, block.len(), stride);
                V::call(HalfGemm {
                    rows: block.len(),
                    a: self.scratch,
                    a_rows: Rows::Stride(stride),
                    runs: &[0],
                    run_len: shape.in_channels,
                    w: self.weights.conv.as_ptr(),
                    panel_len: panel_len(shape.in_channels),
                    panels: shape.out_channels / PANEL,
                    bias: None,
                    out: Out::Rounded(self.dst.at(first * shape.dst_stride)),
                    out_rows: Rows::Stride(shape.dst_stride),
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
        Ahead { starts: &starts[..4 * count], bytes: 2 * shape.in_channels }
    }

    /// Packs `count` pooled pixels from `first` on, a run within one output row at a time.
    #[inline(always)]
    unsafe fn pack<V: HalfLanes>(&self, first: usize, count: usize, stride: usize) {
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
                    norm: Norm { scale: self.weights.scale.as_ptr(), shift: self.weights.shift.as_ptr() },
                    dst: self.scratch.add(done * stride),
                    dst_stride: stride,
                });
            }
            done += pixels;
        }
    }
}
