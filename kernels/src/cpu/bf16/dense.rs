//! One dense layer over bf16: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\] bf16, channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth. Rounded to bf16 are, in this order: norm1·ReLU of what is read, the mid map, with Winograd its transformed patches, and
//! what is written; weights are rounded when they are packed.
//! The work is cut as in fp32 (`strips`), and the 3×3 goes by Winograd where it does in fp32; but where there are tiles those have a layer of their own
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
use crate::cpu::int8::layout::unaliased;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Marked;
use crate::cpu::strips::{BLOCK_PIXELS, Grid, Strip, Tiles};
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::cpu::winograd::{PATCH, POINTS, TILE};
use crate::isa::Isa;
use crate::parallel::{self, Crew, SharedMut};

/// Bytes of packed pixels in one block of the 1×1.
const BLOCK_BYTES: usize = 48 * 1024;

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
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    Parts::of(shape, &Grid::new(shape, unaliased(shape.mid), workers)).total
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
    let pixels = shape.images * shape.height * shape.width;
    if pixels == 0 {
        return;
    }
    let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
    assert!([k, mid, growth, shape.slab_stride].iter().all(|c| c.is_multiple_of(PANEL) && *c > 0));
    assert!(shape.slab_stride >= k + growth && slab.len() >= pixels * shape.slab_stride);
    assert!(weights.scale.len() >= inputs(isa, k) && weights.shift.len() >= inputs(isa, k) && weights.bias1.len() >= mid);
    assert!(weights.conv1.len() >= conv1_len(isa, shape) && weights.conv2.len() >= conv2_len(isa, shape));
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::dense::dense_layer(token, &in_tiles(shape, weights), marked, slab, scratch, crew) };
    }
    let workers = crew.workers();
    let grid = Grid::new(shape, unaliased(shape.mid), workers);
    let tiles = Tiles::new(shape, grid, marked.as_ref());
    let known = marked.and_then(|marked| marked.mid);
    let parts = Parts::of(shape, &grid);
    assert!(scratch.len() >= parts.total * workers);
    let slab = SharedMut::new(slab);
    parallel::over_chunks(crew, &mut scratch[..parts.total * workers], parts.total, &|worker, scratch| {
        let strips = part(grid.strips(), workers, worker);
        if strips.is_empty() {
            return;
        }
        isa.run_halves(Worker { shape, weights, tiles, known, parts, strips, slab, scratch: scratch.as_mut_ptr() });
    });
}

/// The map between a layer's convolutions, \[height, width, mid\], of one image, for [`Marked`]; `scratch` holds [`scratch_len`] floats for one worker.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn mid_map(isa: Isa, shape: &DenseShape, weights: &DenseWeights<'_>, slab: &mut [u16], mid: &mut [u16], scratch: &mut [f32]) {
    let pixels = shape.height * shape.width;
    let (k, width) = (shape.in_channels, shape.mid);
    assert!(shape.images == 1 && k.is_multiple_of(PANEL) && width.is_multiple_of(PANEL) && slab.len() >= pixels * shape.slab_stride);
    assert!(weights.scale.len() >= inputs(isa, k) && weights.shift.len() >= inputs(isa, k) && weights.bias1.len() >= width);
    assert!(shape.slab_stride >= k && weights.conv1.len() >= conv1_len(isa, shape) && mid.len() >= pixels * width);
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        // SAFETY: as above.
        return unsafe { tiles::dense::mid_map(token, &in_tiles(shape, weights), slab, mid, scratch) };
    }
    let grid = Grid::new(shape, unaliased(shape.mid), 1);
    let parts = Parts::of(shape, &grid);
    assert!(scratch.len() >= parts.total);
    let tiles = Tiles { grid, spans: None, unknown: None };
    let (slab, scratch) = (SharedMut::new(slab), scratch.as_mut_ptr());
    let layer = Worker { shape, weights, tiles, known: None, parts, strips: 0..0, slab, scratch };
    isa.run_halves(MidMap { layer, mid: mid.as_mut_ptr() });
}

/// Where the pieces of a worker's scratch lie, in floats.
#[derive(Clone, Copy)]
struct Parts {
    block_pixels: usize,
    /// In bf16.
    packed_stride: usize,
    mid: usize,
    v: usize,
    /// In bf16.
    v_plane: usize,
    m: usize,
    m_plane: usize,
    total: usize,
}

impl Parts {
    fn of(shape: &DenseShape, grid: &Grid) -> Self {
        let packed_stride = unaliased(shape.in_channels);
        let block_pixels = (BLOCK_BYTES / 2 / packed_stride / 12 * 12).clamp(12, BLOCK_PIXELS);
        let line = |floats: usize| floats.next_multiple_of(PANEL);
        let mid = line(block_pixels * packed_stride / 2);
        let v = mid + line(grid.strip_images * grid.ring * grid.mid_row / 2);
        let (v_plane, m_plane) =
            if shape.winograd() { (grid.chunk() * shape.mid + 2 * PANEL, grid.chunk() * shape.growth + PANEL) } else { (0, 0) };
        let m = v + line(POINTS * v_plane / 2);
        Self { block_pixels, packed_stride, mid, v, v_plane, m, m_plane, total: m + POINTS * m_plane }
    }
}

/// The strips of one thread.
struct Worker<'a> {
    shape: &'a DenseShape,
    weights: &'a DenseWeights<'a>,
    tiles: Tiles<'a>,
    known: Option<&'a [u16]>,
    parts: Parts,
    strips: std::ops::Range<usize>,
    slab: SharedMut<'a, u16>,
    scratch: *mut f32,
}

impl HalfKernel for Worker<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        // SAFETY: `Parts` laid the mid ring out inside the scratch.
        unsafe { self.scratch.add(self.parts.mid).write_bytes(0, self.parts.v - self.parts.mid) };
        let mut fresh = true;
        for index in self.strips.clone() {
            let (strip, begins) = self.tiles.grid.strip(index);
            fresh |= begins;
            if self.tiles.count(strip) == 0 {
                fresh = true;
                continue;
            }
            let following = (index + 1 < self.strips.end).then(|| self.tiles.grid.strip(index + 1));
            // SAFETY: `dense_layer` checked every length against the shape; strips write rows of their own.
            unsafe {
                self.mid_rows::<V>((strip, fresh), following);
                if self.shape.winograd() { self.winograd::<V>(strip) } else { self.direct::<V>(strip) }
            }
            fresh = false;
        }
    }
}

/// The first convolution of a whole map.
struct MidMap<'a> {
    layer: Worker<'a>,
    mid: *mut u16,
}

impl HalfKernel for MidMap<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        let pixels = self.layer.shape.height * self.layer.shape.width;
        let block = self.layer.parts.block_pixels;
        for first in (0..pixels).step_by(block) {
            let mut places = [0; BLOCK_PIXELS];
            let count = block.min(pixels - first);
            places.iter_mut().enumerate().for_each(|(i, place)| *place = (first + i) * self.layer.shape.mid);
            // SAFETY: `mid_map` checked the lengths; a block fits the scratch.
            unsafe {
                self.layer.pack::<V>(first, 0, count);
                self.layer.pointwise::<V>(self.mid, &places[..count], &[]);
            }
        }
    }
}

impl Worker<'_> {
    /// The ring.
    #[inline(always)]
    unsafe fn mid(&self) -> *mut u16 {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(self.parts.mid).cast() }
    }

    /// Makes the mid rows of a strip that the ring does not hold yet.
    #[inline(always)]
    unsafe fn mid_rows<V: HalfLanes>(&self, (strip, fresh): (Strip, bool), following: Option<(Strip, bool)>) {
        // SAFETY: rows inside the ring and pixels inside the slab, by the checks of `dense_layer`; no block is larger than the scratch has
        // room for.
        unsafe {
            for row in self.tiles.borders(strip, fresh) {
                self.mid().add(row).write_bytes(0, self.tiles.grid.mid_row);
            }
            if let Some(known) = self.known {
                self.tiles.copy_known(strip, fresh, known, self.shape.mid, self.mid());
            }
            let pack = |pixel, filled, count| self.pack::<V>(pixel, filled, count);
            let multiply = |places: &[usize], next: &[usize]| self.pointwise::<V>(self.mid(), places, next);
            self.tiles.in_blocks((strip, fresh), following, self.parts.block_pixels, pack, multiply);
        }
    }

    /// Prologue of `count` of the slab's pixels from `pixel` on, to place `filled` of the block.
    #[inline(always)]
    unsafe fn pack<V: HalfLanes>(&self, pixel: usize, filled: usize, count: usize) {
        let shape = self.shape;
        // SAFETY: the pixels exist, and the block has room for them.
        unsafe {
            V::call(NormRelu {
                rows: count,
                channels: shape.in_channels,
                src: self.slab.at(pixel * shape.slab_stride),
                src_stride: shape.slab_stride,
                norm: Norm { scale: self.weights.scale.as_ptr(), shift: self.weights.shift.as_ptr() },
                dst: self.scratch.cast::<u16>().add(filled * self.parts.packed_stride),
                dst_stride: self.parts.packed_stride,
            });
        }
    }

    /// The 1×1 of a packed block, to `rows` of `mid`, before pixels `next` are packed.
    #[inline(always)]
    unsafe fn pointwise<V: HalfLanes>(&self, mid: *mut u16, rows: &[usize], next: &[usize]) {
        let shape = self.shape;
        // SAFETY: the block is packed, and `rows` name pixels of `mid`.
        unsafe {
            let mut starts = [std::ptr::null(); BLOCK_PIXELS];
            starts.iter_mut().zip(next).for_each(|(start, pixel)| *start = self.slab.at(pixel * shape.slab_stride).cast_const().cast());
            V::call(HalfGemm {
                rows: rows.len(),
                a: self.scratch.cast(),
                a_rows: Rows::Stride(self.parts.packed_stride),
                runs: &[0],
                run_len: shape.in_channels,
                w: self.weights.conv1.as_ptr(),
                panel_len: panel_len(shape.in_channels),
                panels: shape.mid / PANEL,
                bias: Some(self.weights.bias1.as_ptr()),
                out: Out::Relu(mid),
                out_rows: Rows::Table(rows),
                batch: Batch::ONE,
                ahead: Ahead { starts: &starts[..next.len()], bytes: 2 * shape.in_channels },
            });
        }
    }

    /// The 3×3 of a strip by Winograd, a chunk of tiles at a time.
    #[inline(always)]
    unsafe fn winograd<V: HalfLanes>(&self, strip: Strip) {
        let tiles = self.tiles.count(strip);
        let chunks = tiles.div_ceil(self.tiles.grid.chunk());
        for c in 0..chunks {
            let chunk = part(tiles, chunks, c);
            // SAFETY: a chunk has at most `grid.chunk()` tiles, for which `Parts` made room.
            unsafe {
                self.patches::<V>(strip, chunk.clone());
                self.products::<V>(chunk.len());
                self.outputs::<V>(strip, chunk);
            }
        }
    }

    /// V of a chunk of tiles.
    #[inline(always)]
    unsafe fn patches<V: HalfLanes>(&self, strip: Strip, chunk: std::ops::Range<usize>) {
        let (shape, grid) = (self.shape, &self.tiles.grid);
        for (t, tile) in chunk.enumerate() {
            let (image, y, x) = self.tiles.at(strip, tile);
            // SAFETY: patches lie inside the ring's rows and borders, and V has room for the chunk.
            unsafe {
                let mut rows = [self.mid().cast_const(); PATCH];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = self.mid().add(grid.mid_at(image, y + i) + x * grid.mid_stride);
                }
                let dst = self.scratch.add(self.parts.v).cast::<u16>().add(t * shape.mid);
                let (pixel_stride, channels, plane) = (grid.mid_stride, shape.mid, self.parts.v_plane);
                V::call(InputTransform { rows, pixel_stride, channels, dst, plane });
            }
        }
    }

    /// M of a chunk of `tiles` tiles.
    #[inline(always)]
    unsafe fn products<V: HalfLanes>(&self, tiles: usize) {
        let (shape, parts) = (self.shape, &self.parts);
        let plane = matrix_len(shape.mid, shape.growth);
        let u = self.weights.conv2.as_ptr();
        let next: [_; POINTS] = std::array::from_fn(|point| u.wrapping_add((point + 1) % POINTS * plane).cast());
        // SAFETY: V and M have room for the chunk, and conv2 holds a matrix for each point.
        unsafe {
            V::call(HalfGemm {
                rows: tiles,
                a: self.scratch.add(parts.v).cast::<u16>(),
                a_rows: Rows::Stride(shape.mid),
                runs: &[0],
                run_len: shape.mid,
                w: u,
                panel_len: panel_len(shape.mid),
                panels: shape.growth / PANEL,
                bias: None,
                out: Out::Sums(self.scratch.add(parts.m)),
                out_rows: Rows::Stride(shape.growth),
                batch: Batch { count: POINTS, a: parts.v_plane, w: plane, dst: parts.m_plane },
                ahead: Ahead { starts: &next, bytes: 2 * plane },
            });
        }
    }

    /// The new channels of a chunk of tiles.
    #[inline(always)]
    unsafe fn outputs<V: HalfLanes>(&self, strip: Strip, chunk: std::ops::Range<usize>) {
        let (shape, parts) = (self.shape, &self.parts);
        for (t, tile) in chunk.enumerate() {
            let (image, y, x) = self.tiles.at(strip, tile);
            let pixel = ((strip.image + image) * shape.height + y) * shape.width + x;
            // SAFETY: only pixels inside the map are written.
            unsafe {
                V::call(OutputTransform {
                    src: self.scratch.add(parts.m + t * shape.growth),
                    plane: parts.m_plane,
                    channels: shape.growth,
                    dst: self.slab.at(pixel * shape.slab_stride + shape.in_channels),
                    row_stride: shape.width * shape.slab_stride,
                    pixel_stride: shape.slab_stride,
                    height: (shape.height - y).min(TILE),
                    width: (shape.width - x).min(TILE),
                });
            }
        }
    }

    /// The 3×3 of a strip as nine runs over the ring.
    #[inline(always)]
    unsafe fn direct<V: HalfLanes>(&self, strip: Strip) {
        let (shape, grid) = (self.shape, &self.tiles.grid);
        let end = strip.end_row.min(shape.height);
        for image in 0..strip.images {
            for y in strip.first_row..end {
                let tiles = self.tiles.of_row(y / TILE);
                let (first, last) = (tiles.start * TILE, (tiles.end * TILE).min(shape.width));
                if first >= last {
                    continue;
                }
                let mut runs = [0; 9];
                for (i, run) in runs.iter_mut().enumerate() {
                    *run = grid.mid_at(image, y + i / 3) + (first + i % 3) * grid.mid_stride;
                }
                let pixel = ((strip.image + image) * shape.height + y) * shape.width + first;
                // SAFETY: the three mid rows are in the ring with their borders, and the row of outputs lies inside the map.
                unsafe {
                    let dst = self.slab.at(pixel * shape.slab_stride + shape.in_channels);
                    V::call(HalfGemm {
                        rows: last - first,
                        a: self.mid(),
                        a_rows: Rows::Stride(grid.mid_stride),
                        runs: &runs,
                        run_len: shape.mid,
                        w: self.weights.conv2.as_ptr(),
                        panel_len: panel_len(9 * shape.mid),
                        panels: shape.growth / PANEL,
                        bias: None,
                        out: Out::Rounded(dst),
                        out_rows: Rows::Stride(shape.slab_stride),
                        batch: Batch::ONE,
                        ahead: Ahead::NONE,
                    });
                }
            }
        }
    }
}
