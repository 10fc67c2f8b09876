//! A transition: norm·ReLU, average pool 2×2/2, 1×1, from one block's slab to the first channels of the next.
//!
//! The pool commutes with the convolution and goes first, on a quarter of the pixels; its factor 1/4 sits in the packed weights.
//! An odd last row or column is dropped, as the pool's floor says. The work is cut as for any numbers (`layer`).

use super::Kernel;
use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layer::Arithmetic;
use super::layer::transition::{self as layer, Steps, Worker};
use super::layout::{PANEL, matrix_len, panel_len};
use super::prologue::NormReluPool;
use super::spans::Span;
use crate::isa::Isa;
use crate::parallel::Crew;

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
        layer::scratch_len::<TransitionWeights<'_>>(self)
    }

    /// # Panics
    /// When channels are not padded, a slab is too short, or spans are not its rows'.
    pub(crate) fn check(&self, (src, spans): (usize, Option<&[Span]>), dst: usize) {
        let (rows, columns, k, n) = (self.height / 2, self.width / 2, self.in_channels, self.out_channels);
        assert!(k.is_multiple_of(PANEL) && n.is_multiple_of(PANEL) && self.src_stride >= k && self.dst_stride >= n);
        assert!(src >= self.height * self.width * self.src_stride && dst >= rows * columns * self.dst_stride);
        assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
    }

    /// Multiply-adds times two.
    pub fn flop(&self) -> u64 {
        2 * (self.height / 2 * (self.width / 2) * self.in_channels * self.out_channels) as u64
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
    let k = shape.in_channels;
    shape.check((src.len(), spans), dst.len());
    assert!(weights.scale.len() >= k && weights.shift.len() >= k && weights.conv.len() >= matrix_len(k, shape.out_channels));
    layer::run((shape, *weights), (src, spans), dst, scratch, crew, |worker| isa.run(worker));
}

impl Arithmetic for TransitionWeights<'_> {
    type Slab = f32;
    type Number = f32;
}

impl Kernel for Worker<'_, TransitionWeights<'_>> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        self.run_on::<V>();
    }
}

// SAFETY (all blocks below): what is named lies in the worker's slabs and scratch and in weights of checked lengths, by the contract of the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<V: F32Lanes> Steps<V> for TransitionWeights<'_> {
    #[inline(always)]
    unsafe fn pool(w: &Worker<'_, Self>, pixels: usize, src: *const f32, dst: *mut f32, stride: usize) {
        unsafe {
            V::call(NormReluPool {
                pixels,
                channels: w.shape.in_channels,
                src,
                pixel_stride: w.shape.src_stride,
                row_stride: w.shape.width * w.shape.src_stride,
                scale: w.arithmetic.scale.as_ptr(),
                shift: w.arithmetic.shift.as_ptr(),
                dst,
                dst_stride: stride,
            });
        }
    }

    #[inline(always)]
    unsafe fn product(w: &Worker<'_, Self>, pixels: usize, stride: usize, dst: *mut f32, ahead: Ahead<'_>) {
        unsafe {
            V::call(Gemm {
                rows: pixels,
                a: w.scratch,
                a_rows: Rows::Stride(stride),
                runs: &[0],
                run_len: w.shape.in_channels,
                w: w.arithmetic.conv.as_ptr(),
                panel_len: panel_len(w.shape.in_channels),
                panels: w.shape.out_channels / PANEL,
                init: Init::Zero,
                dst,
                dst_rows: Rows::Stride(w.shape.dst_stride),
                relu: false,
                batch: Batch::ONE,
                ahead,
            });
        }
    }
}
