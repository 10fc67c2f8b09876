//! One dense layer over bf16: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\] bf16, channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth. Rounded to bf16 are, in this order: norm1·ReLU of what is read, the mid map, with Winograd its transformed patches, and
//! what is written; weights are rounded when they are packed.
//! The work is cut as for any numbers (`layer`), and the 3×3 goes by Winograd where it does in fp32; but where there are tiles those have a layer of their own
//! (`tiles::dense`), whose 3×3 goes directly, and inputs are packed in whole steps of theirs.

use super::HalfKernel;
use super::gemm::{HalfGemm, Out, Rows};
use super::lanes::HalfLanes;
use super::layout::{channel, inputs, matrix_len, pack_matrix, panel_len};
use super::prologue::{Norm, NormRelu};
use super::winograd::{self, InputTransform, OutputTransform};
use crate::cpu::ahead::Ahead;
use crate::cpu::dense::DenseShape;
use crate::cpu::gemm::Batch;
use crate::cpu::layer::Arithmetic;
use crate::cpu::layer::dense::{self as layer, Layer, LayerArithmetic, Steps, WholeMid, Worker};
use crate::cpu::layout::PANEL;
use crate::cpu::spans::Marked;
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::cpu::winograd::{PATCH, POINTS};
use crate::isa::Isa;
use crate::parallel::Crew;

/// The weights of a layer; `DenseShape` counts bf16 where it says floats.
#[derive(Clone, Copy)]
pub struct DenseWeights<'a> {
    /// norm1: y = scale · x + shift, [`inputs`] of them, by [`super::layout::order_channels`].
    pub scale: &'a [f32],
    /// See `scale`; zero in padded channels, as the scale is.
    pub shift: &'a [f32],
    /// conv1 with norm2 folded in, packed \[mid, in_channels\].
    pub conv1: &'a [u16],
    /// The rest of norm2.
    pub bias1: &'a [f32],
    /// By [`pack_conv2`].
    pub conv2: &'a [u16],
}

/// Whether the 3×3 goes by Winograd on a tier.
pub fn winograd(isa: Isa, shape: &DenseShape) -> bool {
    !matches!(isa, Isa::Amx(_)) && shape.winograd()
}

/// Numbers of the packed conv1.
pub fn conv1_len(isa: Isa, shape: &DenseShape) -> usize {
    matrix_len(inputs(isa, shape.in_channels), shape.mid)
}

/// Packs conv1 given by `weight(output, input)`.
///
/// # Panics
/// When `dst` is not [`conv1_len`] long.
pub fn pack_conv1(isa: Isa, shape: &DenseShape, dst: &mut [u16], weight: impl Fn(usize, usize) -> f64) {
    let k = shape.in_channels;
    pack_matrix(dst, inputs(isa, k), shape.mid, |o, p| if channel(isa, p) < k { weight(o, channel(isa, p)) } else { 0.0 });
}

/// Numbers of the packed conv2.
pub fn conv2_len(isa: Isa, shape: &DenseShape) -> usize {
    match winograd(isa, shape) {
        true => winograd::weights_len(shape.mid, shape.growth),
        false => matrix_len(9 * inputs(isa, shape.mid), shape.growth),
    }
}

/// Packs conv2 from the nine taps of each (output, input), zero for padded ones.
///
/// # Panics
/// When `dst` is not [`conv2_len`] long.
pub fn pack_conv2(isa: Isa, shape: &DenseShape, dst: &mut [u16], weight: impl Fn(usize, usize) -> [f64; 9]) {
    let mid = inputs(isa, shape.mid);
    if winograd(isa, shape) {
        winograd::pack_weights(dst, shape.mid, shape.growth, weight);
    } else {
        pack_matrix(dst, 9 * mid, shape.growth, |o, k| if k % mid < shape.mid { weight(o, k % mid)[k / mid] } else { 0.0 });
    }
}

/// Floats that one worker of `workers` needs.
pub fn scratch_len(isa: Isa, shape: &DenseShape, workers: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(_) = isa {
        return tiles::dense::scratch_len::<tiles::Half>(shape, workers);
    }
    layer::scratch_len::<DenseWeights<'_>>(shape, winograd(isa, shape), workers)
}

/// A layer as tiles take it.
#[cfg(target_arch = "x86_64")]
fn in_tiles<'a>(shape: &'a DenseShape, weights: &DenseWeights<'a>) -> tiles::dense::Layer<'a, tiles::Half> {
    tiles::dense::Layer {
        shape,
        norm: tiles::Norm { scale: weights.scale.as_ptr(), shift: weights.shift.as_ptr() },
        conv1: weights.conv1.as_ptr().cast(),
        mid: tiles::BiasRelu(weights.bias1.as_ptr()),
        conv2: weights.conv2.as_ptr().cast(),
        new: tiles::Plain,
    }
}

/// Runs a layer shared among the crew; `scratch` holds [`scratch_len`] floats for each of its workers.
/// With `marked`, for a single image, only those tiles are written.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn dense_layer(
    isa: Isa,
    shape: &DenseShape,
    weights: &DenseWeights<'_>,
    marked: Option<Marked<'_, u16>>,
    slab: &mut [u16],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    if shape.images * shape.height * shape.width == 0 {
        return;
    }
    let layer = weights.of(isa, shape, slab.len());
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::dense::dense_layer(token, &in_tiles(shape, weights), marked, slab, scratch, crew) };
    }
    layer.run(marked, slab, scratch, crew, |worker| isa.run_halves(worker));
}

/// The map between a layer's convolutions, \[height, width, mid\], of one image, for [`Marked`]; `scratch` holds [`scratch_len`] floats for one worker.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn mid_map(isa: Isa, shape: &DenseShape, weights: &DenseWeights<'_>, slab: &mut [u16], mid: &mut [u16], scratch: &mut [f32]) {
    assert!(shape.images == 1 && mid.len() >= shape.height * shape.width * shape.mid);
    let layer = weights.of(isa, shape, slab.len());
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        // SAFETY: as above.
        return unsafe { tiles::dense::mid_map(token, &in_tiles(shape, weights), slab, mid, scratch) };
    }
    layer.mid_map(slab, mid.as_mut_ptr(), scratch, |map| isa.run_halves(map));
}

impl DenseWeights<'_> {
    /// The layer of these weights, whose lengths are checked.
    fn of<'a>(&'a self, isa: Isa, shape: &'a DenseShape, slab: usize) -> Layer<'a, Self> {
        let k = inputs(isa, shape.in_channels);
        shape.check(slab);
        assert!(self.scale.len() >= k && self.shift.len() >= k && self.bias1.len() >= shape.mid);
        assert!(self.conv1.len() >= conv1_len(isa, shape) && self.conv2.len() >= conv2_len(isa, shape));
        Layer { shape, arithmetic: *self, winograd: winograd(isa, shape) }
    }
}

impl Arithmetic for DenseWeights<'_> {
    type Slab = u16;
    type Number = u16;
}

impl LayerArithmetic for DenseWeights<'_> {
    type Known = u16;
}

impl HalfKernel for Worker<'_, DenseWeights<'_>> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        self.run_on::<V>();
    }
}

impl HalfKernel for WholeMid<'_, DenseWeights<'_>> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        self.run_on::<V>();
    }
}

// SAFETY (all blocks below): what is named lies in the worker's slab and scratch and in weights of checked lengths, by the contract of the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<V: HalfLanes> Steps<V> for DenseWeights<'_> {
    #[inline(always)]
    unsafe fn pack(w: &Worker<'_, Self>, pixel: usize, filled: usize, count: usize) {
        unsafe {
            V::call(NormRelu {
                rows: count,
                channels: w.shape.in_channels,
                src: w.slab.at(pixel * w.shape.slab_stride),
                src_stride: w.shape.slab_stride,
                norm: Norm { scale: w.arithmetic.scale.as_ptr(), shift: w.arithmetic.shift.as_ptr() },
                dst: w.scratch.cast::<u16>().add(filled * w.parts.packed_stride),
                dst_stride: w.parts.packed_stride,
            });
        }
    }

    #[inline(always)]
    unsafe fn pointwise(w: &Worker<'_, Self>, mid: *mut u16, rows: &[usize], next: &[*const u8]) {
        unsafe {
            V::call(HalfGemm {
                rows: rows.len(),
                a: w.scratch.cast(),
                a_rows: Rows::Stride(w.parts.packed_stride),
                runs: &[0],
                run_len: w.shape.in_channels,
                w: w.arithmetic.conv1.as_ptr(),
                panel_len: panel_len(w.shape.in_channels),
                panels: w.shape.mid / PANEL,
                bias: Some(w.arithmetic.bias1.as_ptr()),
                out: Out::Relu(mid),
                out_rows: Rows::Table(rows),
                batch: Batch::ONE,
                ahead: Ahead { starts: next, bytes: 2 * w.shape.in_channels },
            });
        }
    }

    #[inline(always)]
    unsafe fn patch(w: &Worker<'_, Self>, rows: [*const u16; PATCH], dst: *mut u16) {
        let (pixel_stride, channels, plane) = (w.tiles.grid.mid_stride, w.shape.mid, w.parts.v_plane);
        unsafe { V::call(InputTransform { rows, pixel_stride, channels, dst, plane }) };
    }

    #[inline(always)]
    unsafe fn products(w: &Worker<'_, Self>, tiles: usize) {
        let (shape, parts) = (w.shape, &w.parts);
        let plane = matrix_len(shape.mid, shape.growth);
        let u = w.arithmetic.conv2.as_ptr();
        let next: [_; POINTS] = std::array::from_fn(|point| u.wrapping_add((point + 1) % POINTS * plane).cast());
        unsafe {
            V::call(HalfGemm {
                rows: tiles,
                a: w.scratch.add(parts.v).cast::<u16>(),
                a_rows: Rows::Stride(shape.mid),
                runs: &[0],
                run_len: shape.mid,
                w: u,
                panel_len: panel_len(shape.mid),
                panels: shape.growth / PANEL,
                bias: None,
                out: Out::Sums(w.scratch.add(parts.m)),
                out_rows: Rows::Stride(shape.growth),
                batch: Batch { count: POINTS, a: parts.v_plane, w: plane, dst: parts.m_plane },
                ahead: Ahead { starts: &next, bytes: 2 * plane },
            });
        }
    }

    #[inline(always)]
    unsafe fn output(w: &Worker<'_, Self>, src: *const f32, dst: *mut u16, (height, width): (usize, usize)) {
        let (plane, channels, pixel_stride) = (w.parts.m_plane, w.shape.growth, w.shape.slab_stride);
        let row_stride = w.shape.width * pixel_stride;
        unsafe { V::call(OutputTransform { src, plane, channels, dst, row_stride, pixel_stride, height, width }) };
    }

    #[inline(always)]
    unsafe fn direct(w: &Worker<'_, Self>, runs: &[usize; 9], pixels: usize, dst: *mut u16) {
        unsafe {
            V::call(HalfGemm {
                rows: pixels,
                a: w.mid(),
                a_rows: Rows::Stride(w.tiles.grid.mid_stride),
                runs,
                run_len: w.shape.mid,
                w: w.arithmetic.conv2.as_ptr(),
                panel_len: panel_len(9 * w.shape.mid),
                panels: w.shape.growth / PANEL,
                bias: None,
                out: Out::Rounded(dst),
                out_rows: Rows::Stride(w.shape.slab_stride),
                batch: Batch::ONE,
                ahead: Ahead::NONE,
            });
        }
    }
}
