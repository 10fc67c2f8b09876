//! One dense layer over codes: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended as codes to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\] codes, channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth. norm1 and its ReLU are a clamp of codes while pixels are packed (`prologue`), as bytes where the level
//! multiplies those, else widened to 16 bits. norm2 is part of conv1 and its ReLU the saturation of the mid codes, which exist only as a ring
//! of rows with a zero border, widened to 16 bits.
//! The work is cut as for any numbers (`layer`). The 3×3 goes by an integer Winograd F(4×4) or directly, which the shape decides, and on levels that go directly
//! always ([`Integers::directly`]) nothing else. Tiles have a layer of their own (`tiles::dense`), whose mid codes stay bytes.

mod pack;

pub use pack::{conv1_len, conv2_len, pack_conv1, pack_direct, pack_winograd};

use super::IntKernel;
use super::gemm::{IntGemm, Out, Requantise, Rows};
use super::lanes::IntLanes;
use super::layout::{Group, Pairs, Quads, matrix_len, panel_len, panel_len_of};
use super::prologue::{Bounds, Clamp};
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
use crate::cpu::winograd::{PATCH, POINTS, TILE};
use crate::integers::Integers;
use crate::parallel::Crew;

/// Most mid channels with which the bound on Winograd's sums leaves its weights more bits than a direct 3×3 has.
const MOST_WINOGRAD: usize = 192;

/// The weights of a layer; `DenseShape` counts codes where it says floats.
#[derive(Clone, Copy)]
pub struct DenseWeights<'a> {
    /// norm1 and its ReLU: the code of its zero where its scale is positive, else 0.
    pub low: &'a [u8],
    /// norm1 and its ReLU: the code of its zero where its scale is negative, else 255.
    pub high: &'a [u8],
    /// conv1 with both norms' scales, by [`pack_conv1`] for the level that runs.
    pub conv1: &'a [u8],
    /// From sums to mid codes.
    pub scale1: &'a [f32],
    /// See `scale1`.
    pub offset1: &'a [f32],
    /// By [`pack_winograd`] or [`pack_direct`] for the level that runs.
    pub conv2: &'a [u8],
    /// From sums to codes of the new channels.
    pub scale2: &'a [f32],
    /// See `scale2`.
    pub offset2: &'a [f32],
}

/// Whether the 3×3 goes by Winograd on a level: where fp32 would, if the sums' 32 bits suffice.
pub fn winograd(level: Integers, shape: &DenseShape) -> bool {
    let tiles = shape.height.div_ceil(TILE) * shape.width.div_ceil(TILE);
    !level.directly() && (64..=MOST_WINOGRAD).contains(&shape.mid) && shape.height * shape.width * 9 >= 2 * tiles * POINTS * 3 / 4
}

/// Floats that one worker of `workers` needs.
pub fn scratch_len(level: Integers, shape: &DenseShape, workers: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(_) = level {
        return tiles::dense::scratch_len::<tiles::Code>(shape, workers);
    }
    layer::scratch_len::<DenseWeights<'_>>(shape, winograd(level, shape), workers)
}

/// Bytes of the map between a layer's convolutions of one image.
pub fn mid_len(level: Integers, shape: &DenseShape) -> usize {
    shape.height * shape.width * shape.mid * if matches!(level, Integers::Amx(_)) { 1 } else { 2 }
}

/// A layer as tiles take it.
#[cfg(target_arch = "x86_64")]
fn in_tiles<'a>(shape: &'a DenseShape, weights: &DenseWeights<'a>) -> tiles::dense::Layer<'a, tiles::Code> {
    tiles::dense::Layer {
        shape,
        norm: Bounds { low: weights.low.as_ptr(), high: weights.high.as_ptr() },
        conv1: weights.conv1.as_ptr(),
        mid: Requantise { scale: weights.scale1.as_ptr(), offset: weights.offset1.as_ptr() },
        conv2: weights.conv2.as_ptr(),
        new: Requantise { scale: weights.scale2.as_ptr(), offset: weights.offset2.as_ptr() },
    }
}

/// Runs a layer shared among the crew; `scratch` holds [`scratch_len`] floats for each of its workers.
/// With `marked`, for a single image, only those tiles are written; its mid map is [`mid_map`]'s.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn dense_layer(
    level: Integers,
    shape: &DenseShape,
    weights: &DenseWeights<'_>,
    marked: Option<Marked<'_, u8>>,
    slab: &mut [u8],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    if shape.images * shape.height * shape.width == 0 {
        return;
    }
    let layer = weights.of(level, shape, slab.len());
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(token) = level {
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::dense::dense_layer(token, &in_tiles(shape, weights), marked, slab, scratch, crew) };
    }
    let marked = marked.map(|Marked { tiles, pixels, mid }| Marked { tiles, pixels, mid: mid.map(|mid| mid.as_chunks().0) });
    layer.run(marked, slab, scratch, crew, |worker| level.run(worker));
}

/// The map between a layer's convolutions, \[height, width, mid\], of one image, for [`Marked`], as the level has it: in bytes or in 16 bits.
/// `scratch` holds [`scratch_len`] floats for one worker.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn mid_map(level: Integers, shape: &DenseShape, weights: &DenseWeights<'_>, slab: &mut [u8], mid: &mut [u8], scratch: &mut [f32]) {
    assert!(shape.images == 1 && mid.len() >= mid_len(level, shape));
    let layer = weights.of(level, shape, slab.len());
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(token) = level {
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::dense::mid_map(token, &in_tiles(shape, weights), slab, mid, scratch) };
    }
    layer.mid_map(slab, mid.as_mut_ptr().cast(), scratch, |map| level.run(map));
}

impl DenseWeights<'_> {
    /// The layer of these weights, whose lengths are checked.
    fn of<'a>(&'a self, level: Integers, shape: &'a DenseShape, slab: usize) -> Layer<'a, Self> {
        let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
        shape.check(slab);
        assert!(self.low.len() >= k && self.high.len() >= k);
        assert!(self.scale1.len() >= mid && self.offset1.len() >= mid);
        assert!(self.scale2.len() >= growth && self.offset2.len() >= growth);
        assert!(self.conv1.len() >= conv1_len(level, shape) && self.conv2.len() >= conv2_len(level, shape));
        Layer { shape, arithmetic: *self, winograd: winograd(level, shape) }
    }

    fn requantise1(&self) -> Requantise {
        Requantise { scale: self.scale1.as_ptr(), offset: self.offset1.as_ptr() }
    }

    fn requantise2(&self) -> Requantise {
        Requantise { scale: self.scale2.as_ptr(), offset: self.offset2.as_ptr() }
    }
}

impl Arithmetic for DenseWeights<'_> {
    type Slab = u8;
    type Number = i16;
}

impl LayerArithmetic for DenseWeights<'_> {
    type Known = [u8; 2];
}

impl IntKernel for Worker<'_, DenseWeights<'_>> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        self.run_on::<V>();
    }
}

impl IntKernel for WholeMid<'_, DenseWeights<'_>> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        self.run_on::<V>();
    }
}

#[inline(always)]
unsafe fn pack_as<V: IntLanes, G: Group>(w: &Worker<'_, DenseWeights<'_>>, pixel: usize, filled: usize, count: usize) {
    // SAFETY: the pixels exist, and the block has room for them.
    unsafe {
        V::call(Clamp::<G> {
            rows: count,
            channels: w.shape.in_channels,
            src: w.slab.at(pixel * w.shape.slab_stride),
            src_stride: w.shape.slab_stride,
            bounds: Bounds { low: w.arithmetic.low.as_ptr(), high: w.arithmetic.high.as_ptr() },
            dst: w.scratch.cast::<G::Activation>().add(filled * w.parts.packed_stride),
            dst_stride: w.parts.packed_stride,
        });
    }
}

#[inline(always)]
unsafe fn pointwise_as<V: IntLanes, G: Group>(w: &Worker<'_, DenseWeights<'_>>, mid: *mut i16, rows: &[usize], next: &[*const u8]) {
    // SAFETY: the block is packed, and `rows` name pixels of `mid`.
    unsafe {
        V::call(IntGemm::<G> {
            rows: rows.len(),
            a: w.scratch.cast(),
            a_rows: Rows::Stride(w.parts.packed_stride),
            runs: &[0],
            run_len: w.shape.in_channels,
            w: w.arithmetic.conv1.as_ptr().cast(),
            panel_len: panel_len_of::<G>(w.shape.in_channels),
            panels: w.shape.mid / PANEL,
            out: Out::Wide(w.arithmetic.requantise1(), mid),
            out_rows: Rows::Table(rows),
            batch: Batch::ONE,
            ahead: Ahead { starts: next, bytes: w.shape.in_channels },
        });
    }
}

// SAFETY (all blocks below): what is named lies in the worker's slab and scratch and in weights of checked lengths, by the contract of the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<V: IntLanes> Steps<V> for DenseWeights<'_> {
    #[inline(always)]
    unsafe fn pack(w: &Worker<'_, Self>, pixel: usize, filled: usize, count: usize) {
        unsafe { if V::QUADS { pack_as::<V, Quads>(w, pixel, filled, count) } else { pack_as::<V, Pairs>(w, pixel, filled, count) } }
    }

    #[inline(always)]
    unsafe fn pointwise(w: &Worker<'_, Self>, mid: *mut i16, rows: &[usize], next: &[*const u8]) {
        unsafe { if V::QUADS { pointwise_as::<V, Quads>(w, mid, rows, next) } else { pointwise_as::<V, Pairs>(w, mid, rows, next) } }
    }

    #[inline(always)]
    unsafe fn patch(w: &Worker<'_, Self>, rows: [*const i16; PATCH], dst: *mut i16) {
        let (pixel_stride, channels, plane) = (w.tiles.grid.mid_stride, w.shape.mid, w.parts.v_plane);
        unsafe { V::call(InputTransform { rows, pixel_stride, channels, dst, plane }) };
    }

    #[inline(always)]
    unsafe fn products(w: &Worker<'_, Self>, tiles: usize) {
        let (shape, parts) = (w.shape, &w.parts);
        let plane = matrix_len(shape.mid, shape.growth);
        let u = w.arithmetic.conv2.as_ptr().cast::<i16>();
        let next: [_; POINTS] = std::array::from_fn(|point| u.wrapping_add((point + 1) % POINTS * plane).cast());
        unsafe {
            V::call(IntGemm::<Pairs> {
                rows: tiles,
                a: w.scratch.add(parts.v).cast::<i16>(),
                a_rows: Rows::Stride(shape.mid),
                runs: &[0],
                run_len: shape.mid,
                w: u,
                panel_len: panel_len(shape.mid),
                panels: shape.growth / PANEL,
                out: Out::Sums(w.scratch.add(parts.m)),
                out_rows: Rows::Stride(shape.growth),
                batch: Batch { count: POINTS, a: parts.v_plane, w: plane, dst: parts.m_plane },
                ahead: Ahead { starts: &next, bytes: 2 * plane },
            });
        }
    }

    #[inline(always)]
    unsafe fn output(w: &Worker<'_, Self>, src: *const f32, dst: *mut u8, (height, width): (usize, usize)) {
        let (plane, channels, pixel_stride) = (w.parts.m_plane, w.shape.growth, w.shape.slab_stride);
        let (row_stride, requantise) = (w.shape.width * pixel_stride, w.arithmetic.requantise2());
        unsafe { V::call(OutputTransform { src, plane, channels, requantise, dst, row_stride, pixel_stride, height, width }) };
    }

    #[inline(always)]
    unsafe fn direct(w: &Worker<'_, Self>, runs: &[usize; 9], pixels: usize, dst: *mut u8) {
        unsafe {
            V::call(IntGemm::<Pairs> {
                rows: pixels,
                a: w.mid(),
                a_rows: Rows::Stride(w.tiles.grid.mid_stride),
                runs,
                run_len: w.shape.mid,
                w: w.arithmetic.conv2.as_ptr().cast(),
                panel_len: panel_len(9 * w.shape.mid),
                panels: w.shape.growth / PANEL,
                out: Out::Codes(w.arithmetic.requantise2(), dst),
                out_rows: Rows::Stride(w.shape.slab_stride),
                batch: Batch::ONE,
                ahead: Ahead::NONE,
            });
        }
    }
}

#[cfg(test)]
mod tests;
