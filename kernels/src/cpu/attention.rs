//! norm5·ReLU and attention pooling: F = max(s·x + t, 0) per position, e = w·F + b per head, a = σ(e) or softmax(e), pooled = Σ a·F.
//!
//! F is never stored whole: it is made a row of the map at a time, once for the logits e and once for the sums. A sum over positions is one
//! chain per row and then one chain over the rows, so that its error grows with height + width and not with their product.
//! sigmoid divides by Σ a + 1e-6, mean by the number of positions; softmax subtracts the largest e and divides by the sum.

use super::Kernel;
use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, pad, panel_len, unaliased};
use super::math::{self, Function};
use super::prologue::NormRelu;
use crate::isa::Isa;

/// How positions are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// All alike; one head without weights.
    Mean,
    /// σ(e).
    Sigmoid,
    /// softmax of e over the positions.
    Softmax,
}

/// Shapes of attention pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Channels, padded to 16.
    pub channels: usize,
    /// Floats from pixel to pixel of the slab.
    pub slab_stride: usize,
    /// Heads, at least 1.
    pub heads: usize,
    /// How positions are weighted.
    pub weighting: Weighting,
}

/// The weights of norm5 and of the heads.
#[derive(Clone, Copy)]
pub struct AttentionWeights<'a> {
    /// norm5: y = scale · x + shift.
    pub scale: &'a [f32],
    /// See `scale`.
    pub shift: &'a [f32],
    /// Packed \[heads, channels\]; empty for `Mean`.
    pub heads: &'a [f32],
    /// Padded to 16 heads; empty for `Mean`.
    pub bias: &'a [f32],
}

impl AttentionShape {
    /// Floats of scratch.
    pub fn scratch_len(&self) -> usize {
        self.width * (unaliased(self.channels) + pad(self.heads))
    }
}

/// Pools one image: the weights of every position go to `attention` \[heads, height · width\], the sums to `pooled` \[heads, channels\].
///
/// # Panics
/// When a slice is too short.
pub fn attention_pool(
    isa: Isa,
    shape: &AttentionShape,
    weights: &AttentionWeights<'_>,
    slab: &[f32],
    attention: &mut [f32],
    pooled: &mut [f32],
    scratch: &mut [f32],
) {
    let area = shape.height * shape.width;
    assert!(area > 0 && shape.heads > 0 && shape.channels.is_multiple_of(PANEL) && shape.slab_stride >= shape.channels);
    assert!(slab.len() >= area * shape.slab_stride && scratch.len() >= shape.scratch_len());
    assert!(weights.scale.len() >= shape.channels && weights.shift.len() >= shape.channels);
    let attention = &mut attention[..shape.heads * area];
    let pooled = &mut pooled[..shape.heads * shape.channels];
    if shape.weighting == Weighting::Mean {
        attention.fill(1.0);
    } else {
        assert!(weights.heads.len() >= matrix_len(shape.channels, shape.heads) && weights.bias.len() >= pad(shape.heads));
        isa.run(Logits { shape, weights, slab, attention, scratch });
        for head in attention.chunks_exact_mut(area) {
            match shape.weighting {
                Weighting::Softmax => softmax(isa, head, shape.width),
                _ => math::apply(isa, Function::Sigmoid, head),
            }
        }
    }
    pooled.fill(0.0);
    isa.run(Sums { shape, weights, slab, attention, pooled, scratch });
    for (head, sums) in attention.chunks_exact(area).zip(pooled.chunks_exact_mut(shape.channels)) {
        let divisor = match shape.weighting {
            Weighting::Mean => area as f32,
            Weighting::Sigmoid => by_rows(head, shape.width) + 1e-6,
            Weighting::Softmax => continue,
        };
        sums.iter_mut().for_each(|s| *s /= divisor);
    }
}

/// Sum of a map: a chain per row, then a chain over the rows.
fn by_rows(map: &[f32], width: usize) -> f32 {
    map.chunks(width).map(|row| row.iter().sum::<f32>()).sum()
}

fn softmax(isa: Isa, map: &mut [f32], width: usize) {
    let largest = map.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    map.iter_mut().for_each(|e| *e -= largest);
    math::apply(isa, Function::Exp, map);
    let sum = by_rows(map, width);
    map.iter_mut().for_each(|e| *e /= sum);
}

/// Row `y` of F into `dst`.
#[inline(always)]
unsafe fn features<V: F32Lanes>(shape: &AttentionShape, weights: &AttentionWeights<'_>, slab: &[f32], y: usize, dst: *mut f32) {
    // SAFETY: the row exists in the slab and `dst` has room for one; `attention_pool` checked both.
    unsafe {
        V::call(NormRelu {
            rows: shape.width,
            channels: shape.channels,
            src: slab.as_ptr().add(y * shape.width * shape.slab_stride),
            src_stride: shape.slab_stride,
            scale: weights.scale.as_ptr(),
            shift: weights.shift.as_ptr(),
            dst,
            dst_stride: unaliased(shape.channels),
        });
    }
}

/// e of every position into `attention`.
struct Logits<'a> {
    shape: &'a AttentionShape,
    weights: &'a AttentionWeights<'a>,
    slab: &'a [f32],
    attention: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let (shape, area, stride) = (self.shape, self.shape.height * self.shape.width, unaliased(self.shape.channels));
        let (rows, logits) = self.scratch.split_at_mut(shape.width * stride);
        for y in 0..shape.height {
            // SAFETY: lengths were checked by `attention_pool`.
            unsafe {
                features::<V>(shape, self.weights, self.slab, y, rows.as_mut_ptr());
                V::call(Gemm {
                    rows: shape.width,
                    a: rows.as_ptr(),
                    a_rows: Rows::Stride(stride),
                    runs: &[0],
                    run_len: shape.channels,
                    w: self.weights.heads.as_ptr(),
                    panel_len: panel_len(shape.channels),
                    panels: pad(shape.heads) / PANEL,
                    init: Init::Bias(self.weights.bias.as_ptr()),
                    dst: logits.as_mut_ptr(),
                    dst_rows: Rows::Stride(pad(shape.heads)),
                    relu: false,
                    batch: Batch::ONE,
                    ahead: Ahead::NONE,
                });
            }
            for x in 0..shape.width {
                for head in 0..shape.heads {
                    self.attention[head * area + y * shape.width + x] = logits[x * pad(shape.heads) + head];
                }
            }
        }
    }
}

/// Σ a·F of every head into `pooled`.
struct Sums<'a> {
    shape: &'a AttentionShape,
    weights: &'a AttentionWeights<'a>,
    slab: &'a [f32],
    attention: &'a [f32],
    pooled: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let (shape, area, stride) = (self.shape, self.shape.height * self.shape.width, unaliased(self.shape.channels));
        for y in 0..shape.height {
            // SAFETY: lengths were checked by `attention_pool`.
            unsafe { features::<V>(shape, self.weights, self.slab, y, self.scratch.as_mut_ptr()) };
            for head in 0..shape.heads {
                let a = &self.attention[head * area + y * shape.width..][..shape.width];
                for c in (0..shape.channels).step_by(V::LANES) {
                    let mut sum = V::zero();
                    for (x, a) in a.iter().enumerate() {
                        // SAFETY: pixel x of the row that `features` wrote.
                        sum = V::splat(*a).mul_add(unsafe { V::load(self.scratch.as_ptr().add(x * stride + c)) }, sum);
                    }
                    // SAFETY: `pooled` holds `channels` floats per head.
                    unsafe {
                        let total = self.pooled.as_mut_ptr().add(head * shape.channels + c);
                        V::load(total).add(sum).store(total);
                    }
                }
            }
        }
    }
}
