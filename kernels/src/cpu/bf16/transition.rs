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
use crate::cpu::layer::Arithmetic;
use crate::cpu::layer::transition::{self as layer, Steps, Worker};
use crate::cpu::layout::PANEL;
use crate::cpu::spans::Span;
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::cpu::transition::TransitionShape;
use crate::isa::Isa;
use crate::parallel::Crew;

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
    layer::scratch_len::<TransitionWeights<'_>>(shape)
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
    let k = inputs(isa, shape.in_channels);
    shape.check((src.len(), spans), dst.len());
    assert!(weights.scale.len() >= k && weights.shift.len() >= k && weights.conv.len() >= conv_len(isa, shape));
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        let norm = tiles::Norm { scale: weights.scale.as_ptr(), shift: weights.shift.as_ptr() };
        let tiled = tiles::transition::Transition { shape, norm, conv: weights.conv.as_ptr().cast(), new: tiles::Plain };
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::transition::transition::<tiles::Half>(token, &tiled, (src, spans), dst, scratch, crew) };
    }
    layer::run((shape, *weights), (src, spans), dst, scratch, crew, |worker| isa.run_halves(worker));
}

impl Arithmetic for TransitionWeights<'_> {
    type Slab = u16;
    type Number = u16;
}

impl HalfKernel for Worker<'_, TransitionWeights<'_>> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        self.run_on::<V>();
    }
}

// SAFETY (all blocks below): what is named lies in the worker's slabs and scratch and in weights of checked lengths, by the contract of the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<V: HalfLanes> Steps<V> for TransitionWeights<'_> {
    #[inline(always)]
    unsafe fn pool(w: &Worker<'_, Self>, pixels: usize, src: *const u16, dst: *mut u16, stride: usize) {
        unsafe {
            V::call(NormReluPool {
                pixels,
                channels: w.shape.in_channels,
                src,
                pixel_stride: w.shape.src_stride,
                row_stride: w.shape.width * w.shape.src_stride,
                norm: Norm { scale: w.arithmetic.scale.as_ptr(), shift: w.arithmetic.shift.as_ptr() },
                dst,
                dst_stride: stride,
            });
        }
    }

    #[inline(always)]
    unsafe fn product(w: &Worker<'_, Self>, pixels: usize, stride: usize, dst: *mut u16, ahead: Ahead<'_>) {
        unsafe {
            V::call(HalfGemm {
                rows: pixels,
                a: w.scratch,
                a_rows: Rows::Stride(stride),
                runs: &[0],
                run_len: w.shape.in_channels,
                w: w.arithmetic.conv.as_ptr(),
                panel_len: panel_len(w.shape.in_channels),
                panels: w.shape.out_channels / PANEL,
                bias: None,
                out: Out::Rounded(dst),
                out_rows: Rows::Stride(w.shape.dst_stride),
                batch: Batch::ONE,
                ahead,
            });
        }
    }
}
