//! One dense layer: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended in place to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\], channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth, so there is no concatenation. norm2 is folded into conv1's weights and bias. The mid map between the
//! two convolutions exists only as a ring of rows with a zero border (`strips`), never as a whole.
//! The work is cut as for any numbers (`layer`); whether the 3×3 is by Winograd is a question to [`DenseShape::winograd`], which sees the shape alone.

use super::Kernel;
use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layer::Arithmetic;
use super::layer::dense::{self as layer, Layer, LayerArithmetic, Steps, WholeMid, Worker};
use super::layout::{PANEL, matrix_len, panel_len};
use super::prologue::NormRelu;
use super::spans::Marked;
use super::winograd::{self, InputTransform, OutputTransform, PATCH, POINTS, TILE};
use crate::isa::Isa;
use crate::parallel::Crew;

/// Shapes of a layer; all channel counts are padded to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseShape {
    /// Images in the slab.
    pub images: usize,
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Floats from pixel to pixel of the slab.
    pub slab_stride: usize,
    /// Channels read.
    pub in_channels: usize,
    /// Channels between the convolutions.
    pub mid: usize,
    /// Channels appended.
    pub growth: usize,
}

/// The weights of a layer.
#[derive(Clone, Copy)]
pub struct DenseWeights<'a> {
    /// norm1: y = scale · x + shift.
    pub scale: &'a [f32],
    /// See `scale`; zero in padded channels, as the scale is.
    pub shift: &'a [f32],
    /// conv1 with norm2 folded in, packed \[mid, in_channels\].
    pub conv1: &'a [f32],
    /// The rest of norm2.
    pub bias1: &'a [f32],
    /// Packed by [`DenseShape::pack_conv2`].
    pub conv2: &'a [f32],
}

impl DenseShape {
    /// Whether the 3×3 goes by Winograd: where its 36 products a tile are clearly fewer than 9 a pixel and the chains are long enough for
    /// the transforms to be small beside them, in time and in rounding.
    pub fn winograd(&self) -> bool {
        let tiles = self.height.div_ceil(TILE) * self.width.div_ceil(TILE);
        self.mid >= 64 && self.height * self.width * 9 >= 2 * tiles * POINTS * 3 / 4
    }

    /// Floats of the packed conv2.
    pub fn conv2_len(&self) -> usize {
        if self.winograd() { winograd::weights_len(self.mid, self.growth) } else { matrix_len(9 * self.mid, self.growth) }
    }

    /// Packs conv2 from the nine taps of each (output, input), zero for padded ones.
    ///
    /// # Panics
    /// When `dst` is not [`Self::conv2_len`] long.
    pub fn pack_conv2(&self, dst: &mut [f32], weight: impl Fn(usize, usize) -> [f64; 9]) {
        if self.winograd() {
            winograd::pack_weights(dst, self.mid, self.growth, weight);
        } else {
            winograd::pack_direct(dst, self.mid, self.growth, weight);
        }
    }

    /// Floats that one worker of `workers` needs.
    pub fn scratch_len(&self, workers: usize) -> usize {
        layer::scratch_len::<DenseWeights<'_>>(self, self.winograd(), workers)
    }

    /// # Panics
    /// When channels are not padded, or the slab is too short.
    pub(crate) fn check(&self, slab: usize) {
        let (k, growth, pixels) = (self.in_channels, self.growth, self.images * self.height * self.width);
        assert!([k, self.mid, growth, self.slab_stride].iter().all(|c| c.is_multiple_of(PANEL) && *c > 0));
        assert!(self.slab_stride >= k + growth && slab >= pixels * self.slab_stride);
    }

    /// Multiply-adds times two, as a direct convolution counts them.
    pub fn flop(&self) -> u64 {
        2 * (self.images * self.height * self.width) as u64 * (self.mid * (self.in_channels + 9 * self.growth)) as u64
    }
}

/// Runs a layer shared among the crew; `scratch` holds [`DenseShape::scratch_len`] floats for each of its workers.
/// With `marked`, for a single image, only those tiles are written.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn dense_layer(
    isa: Isa,
    shape: &DenseShape,
    weights: &DenseWeights<'_>,
    marked: Option<Marked<'_, f32>>,
    slab: &mut [f32],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    if shape.images * shape.height * shape.width == 0 {
        return;
    }
    weights.of(shape, slab.len()).run(marked, slab, scratch, crew, |worker| isa.run(worker));
}

/// The map between a layer's convolutions, \[height, width, mid\], of one image, for [`Marked`]; `scratch` holds [`DenseShape::scratch_len`] floats for one worker.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn mid_map(isa: Isa, shape: &DenseShape, weights: &DenseWeights<'_>, slab: &mut [f32], mid: &mut [f32], scratch: &mut [f32]) {
    assert!(shape.images == 1 && mid.len() >= shape.height * shape.width * shape.mid);
    weights.of(shape, slab.len()).mid_map(slab, mid.as_mut_ptr(), scratch, |map| isa.run(map));
}

impl DenseWeights<'_> {
    /// The layer of these weights, whose lengths are checked.
    fn of<'a>(&'a self, shape: &'a DenseShape, slab: usize) -> Layer<'a, Self> {
        let (k, mid) = (shape.in_channels, shape.mid);
        shape.check(slab);
        assert!(self.scale.len() >= k && self.shift.len() >= k && self.bias1.len() >= mid);
        assert!(self.conv1.len() >= matrix_len(k, mid) && self.conv2.len() >= shape.conv2_len());
        Layer { shape, arithmetic: *self, winograd: shape.winograd() }
    }
}

impl Arithmetic for DenseWeights<'_> {
    type Slab = f32;
    type Number = f32;
}

impl LayerArithmetic for DenseWeights<'_> {
    type Known = f32;
}

impl Kernel for Worker<'_, DenseWeights<'_>> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        self.run_on::<V>();
    }
}

impl Kernel for WholeMid<'_, DenseWeights<'_>> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        self.run_on::<V>();
    }
}

// SAFETY (all blocks below): what is named lies in the worker's slab and scratch and in weights of checked lengths, by the contract of the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<V: F32Lanes> Steps<V> for DenseWeights<'_> {
    #[inline(always)]
    unsafe fn pack(w: &Worker<'_, Self>, pixel: usize, filled: usize, count: usize) {
        unsafe {
            V::call(NormRelu {
                rows: count,
                channels: w.shape.in_channels,
                src: w.slab.at(pixel * w.shape.slab_stride),
                src_stride: w.shape.slab_stride,
                scale: w.arithmetic.scale.as_ptr(),
                shift: w.arithmetic.shift.as_ptr(),
                dst: w.scratch.add(filled * w.parts.packed_stride),
                dst_stride: w.parts.packed_stride,
            });
        }
    }

    #[inline(always)]
    unsafe fn pointwise(w: &Worker<'_, Self>, mid: *mut f32, rows: &[usize], next: &[*const u8]) {
        unsafe {
            V::call(Gemm {
                rows: rows.len(),
                a: w.scratch,
                a_rows: Rows::Stride(w.parts.packed_stride),
                runs: &[0],
                run_len: w.shape.in_channels,
                w: w.arithmetic.conv1.as_ptr(),
                panel_len: panel_len(w.shape.in_channels),
                panels: w.shape.mid / PANEL,
                init: Init::Bias(w.arithmetic.bias1.as_ptr()),
                dst: mid,
                dst_rows: Rows::Table(rows),
                relu: true,
                batch: Batch::ONE,
                ahead: Ahead { starts: next, bytes: 4 * w.shape.in_channels },
            });
        }
    }

    #[inline(always)]
    unsafe fn patch(w: &Worker<'_, Self>, rows: [*const f32; PATCH], dst: *mut f32) {
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
            V::call(Gemm {
                rows: tiles,
                a: w.scratch.add(parts.v),
                a_rows: Rows::Stride(shape.mid),
                runs: &[0],
                run_len: shape.mid,
                w: u,
                panel_len: panel_len(shape.mid),
                panels: shape.growth / PANEL,
                init: Init::Zero,
                dst: w.scratch.add(parts.m),
                dst_rows: Rows::Stride(shape.growth),
                relu: false,
                batch: Batch { count: POINTS, a: parts.v_plane, w: plane, dst: parts.m_plane },
                ahead: Ahead { starts: &next, bytes: 4 * plane },
            });
        }
    }

    #[inline(always)]
    unsafe fn output(w: &Worker<'_, Self>, src: *const f32, dst: *mut f32, (height, width): (usize, usize)) {
        let (plane, channels, pixel_stride) = (w.parts.m_plane, w.shape.growth, w.shape.slab_stride);
        let row_stride = w.shape.width * pixel_stride;
        unsafe { V::call(OutputTransform { src, plane, channels, dst, row_stride, pixel_stride, height, width }) };
    }

    #[inline(always)]
    unsafe fn direct(w: &Worker<'_, Self>, runs: &[usize; 9], pixels: usize, dst: *mut f32) {
        unsafe {
            V::call(Gemm {
                rows: pixels,
                a: w.mid(),
                a_rows: Rows::Stride(w.tiles.grid.mid_stride),
                runs,
                run_len: w.shape.mid,
                w: w.arithmetic.conv2.as_ptr(),
                panel_len: panel_len(9 * w.shape.mid),
                panels: w.shape.growth / PANEL,
                init: Init::Zero,
                dst,
                dst_rows: Rows::Stride(w.shape.slab_stride),
                relu: false,
                batch: Batch::ONE,
                ahead: Ahead::NONE,
            });
        }
    }
}
