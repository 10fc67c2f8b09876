//! One dense layer over codes: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended as codes to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\] codes, channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth. norm1 and its ReLU are a clamp of codes while pixels are packed (`prologue`), as bytes where the level
//! multiplies those, else widened to 16 bits. norm2 is part of conv1 and its ReLU the saturation of the mid codes, which exist only as a ring
//! of rows with a zero border, widened to 16 bits.
//! The work is cut as in fp32 (`strips`). The 3×3 goes by an integer Winograd F(4×4) or directly, which the shape decides, and on levels that go directly
//! always ([`Integers::directly`]) nothing else. Tiles have a layer of their own (`tiles::dense`), whose mid codes stay bytes.

mod pack;

pub use pack::{conv1_len, conv2_len, pack_conv1, pack_direct, pack_winograd};

use super::IntKernel;
use super::gemm::{IntGemm, Out, Requantise, Rows};
use super::lanes::IntLanes;
use super::layout::{Group, Pairs, Quads, matrix_len, panel_len, panel_len_of, unaliased};
use super::prologue::{Bounds, Clamp};
use super::winograd::{self, InputTransform, OutputTransform, PATCH, POINTS, TILE};
use crate::cpu::ahead::Ahead;
use crate::cpu::dense::DenseShape;
use crate::cpu::gemm::Batch;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Marked;
use crate::cpu::strips::{BLOCK_PIXELS, Grid, Strip, Tiles};
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::integers::Integers;
use crate::parallel::{self, Crew, SharedMut};

/// Bytes of packed pixels in one block of the 1×1.
const BLOCK_BYTES: usize = 48 * 1024;
const _: () = assert!(TILE == crate::cpu::winograd::TILE, "strips and spans count the tiles of fp32");
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
    Parts::of(level, shape, &Grid::new(shape, unaliased(shape.mid), workers)).total
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
    let pixels = shape.images * shape.height * shape.width;
    if pixels == 0 {
        return;
    }
    check(level, shape, weights, slab.len());
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(token) = level {
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::dense::dense_layer(token, &in_tiles(shape, weights), marked, slab, scratch, crew) };
    }
    let workers = crew.workers();
    let grid = Grid::new(shape, unaliased(shape.mid), workers);
    let marked = marked.map(|Marked { tiles, pixels, mid }| Marked { tiles, pixels, mid: mid.map(|mid| mid.as_chunks().0) });
    let tiles = Tiles::new(shape, grid, marked.as_ref());
    let known = marked.and_then(|marked| marked.mid);
    let parts = Parts::of(level, shape, &grid);
    assert!(scratch.len() >= parts.total * workers);
    let slab = SharedMut::new(slab);
    parallel::over_chunks(crew, &mut scratch[..parts.total * workers], parts.total, &|worker, scratch| {
        let strips = part(grid.strips(), workers, worker);
        if strips.is_empty() {
            return;
        }
        level.run(Worker { shape, weights, tiles, known, parts, strips, slab, scratch: scratch.as_mut_ptr() });
    });
}

/// The map between a layer's convolutions, \[height, width, mid\], of one image, for [`Marked`], as the level has it: in bytes or in 16 bits.
/// `scratch` holds [`scratch_len`] floats for one worker.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn mid_map(level: Integers, shape: &DenseShape, weights: &DenseWeights<'_>, slab: &mut [u8], mid: &mut [u8], scratch: &mut [f32]) {
    check(level, shape, weights, slab.len());
    assert!(shape.images == 1 && mid.len() >= mid_len(level, shape));
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(token) = level {
        // SAFETY: every length was checked against the shape.
        return unsafe { tiles::dense::mid_map(token, &in_tiles(shape, weights), slab, mid, scratch) };
    }
    let grid = Grid::new(shape, unaliased(shape.mid), 1);
    let parts = Parts::of(level, shape, &grid);
    assert!(scratch.len() >= parts.total);
    let tiles = Tiles { grid, spans: None, unknown: None };
    let (slab, scratch) = (SharedMut::new(slab), scratch.as_mut_ptr());
    let layer = Worker { shape, weights, tiles, known: None, parts, strips: 0..0, slab, scratch };
    level.run(MidMap { layer, mid: mid.as_mut_ptr().cast() });
}

fn check(level: Integers, shape: &DenseShape, weights: &DenseWeights<'_>, slab: usize) {
    let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
    assert!([k, mid, growth, shape.slab_stride].iter().all(|c| c.is_multiple_of(PANEL) && *c > 0));
    assert!(shape.slab_stride >= k + growth && slab >= shape.images * shape.height * shape.width * shape.slab_stride);
    assert!(weights.low.len() >= k && weights.high.len() >= k);
    assert!(weights.scale1.len() >= mid && weights.offset1.len() >= mid);
    assert!(weights.scale2.len() >= growth && weights.offset2.len() >= growth);
    assert!(weights.conv1.len() >= conv1_len(level, shape) && weights.conv2.len() >= conv2_len(level, shape));
}

/// Where the pieces of a worker's scratch lie, in floats.
#[derive(Clone, Copy)]
struct Parts {
    winograd: bool,
    block_pixels: usize,
    packed_stride: usize,
    mid: usize,
    v: usize,
    /// Numbers of 16 bits.
    v_plane: usize,
    m: usize,
    m_plane: usize,
    total: usize,
}

impl Parts {
    fn of(level: Integers, shape: &DenseShape, grid: &Grid) -> Self {
        let winograd = winograd(level, shape);
        let packed_stride = unaliased(shape.in_channels);
        let block_pixels = (BLOCK_BYTES / 2 / packed_stride / 12 * 12).clamp(12, BLOCK_PIXELS);
        // All counts of numbers are multiples of 16, so that the pieces begin on cache lines where the scratch does.
        let mid = block_pixels * packed_stride / 2;
        let v = mid + grid.strip_images * grid.ring * grid.mid_row / 2;
        let (v_plane, m_plane) =
            if winograd { (grid.chunk() * shape.mid + 2 * PANEL, grid.chunk() * shape.growth + PANEL) } else { (0, 0) };
        let m = v + POINTS * v_plane / 2;
        Self { winograd, block_pixels, packed_stride, mid, v, v_plane, m, m_plane, total: m + POINTS * m_plane }
    }
}

/// The strips of one thread.
struct Worker<'a> {
    shape: &'a DenseShape,
    weights: &'a DenseWeights<'a>,
    tiles: Tiles<'a>,
    known: Option<&'a [[u8; 2]]>,
    parts: Parts,
    strips: std::ops::Range<usize>,
    slab: SharedMut<'a, u8>,
    scratch: *mut f32,
}

impl IntKernel for Worker<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
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
                if V::QUADS {
                    self.mid_rows::<V, Quads>((strip, fresh), following)
                } else {
                    self.mid_rows::<V, Pairs>((strip, fresh), following)
                }
                if self.parts.winograd { self.winograd::<V>(strip) } else { self.direct::<V>(strip) }
            }
            fresh = false;
        }
    }
}

/// The first convolution of a whole map.
struct MidMap<'a> {
    layer: Worker<'a>,
    mid: *mut i16,
}

impl IntKernel for MidMap<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let pixels = self.layer.shape.height * self.layer.shape.width;
        let block = self.layer.parts.block_pixels;
        for first in (0..pixels).step_by(block) {
            let mut places = [0; BLOCK_PIXELS];
            let count = block.min(pixels - first);
            places.iter_mut().enumerate().for_each(|(i, place)| *place = (first + i) * self.layer.shape.mid);
            // SAFETY: `mid_map` checked the lengths; a block fits the scratch.
            unsafe {
                if V::QUADS {
                    self.layer.pack::<V, Quads>(first, 0, count);
                    self.layer.pointwise::<V, Quads>(self.mid, &places[..count], &[]);
                } else {
                    self.layer.pack::<V, Pairs>(first, 0, count);
                    self.layer.pointwise::<V, Pairs>(self.mid, &places[..count], &[]);
                }
            }
        }
    }
}

impl Worker<'_> {
    /// The ring.
    #[inline(always)]
    unsafe fn mid(&self) -> *mut i16 {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(self.parts.mid).cast() }
    }

    /// Makes the mid rows of a strip that the ring does not hold yet.
    #[inline(always)]
    unsafe fn mid_rows<V: IntLanes, G: Group>(&self, (strip, fresh): (Strip, bool), following: Option<(Strip, bool)>) {
        // SAFETY: rows inside the ring and pixels inside the slab, by the checks of `dense_layer`; no block is larger than the scratch has
        // room for.
        unsafe {
            for row in self.tiles.borders(strip, fresh) {
                self.mid().add(row).write_bytes(0, self.tiles.grid.mid_row);
            }
            if let Some(known) = self.known {
                self.tiles.copy_known(strip, fresh, known, self.shape.mid, self.mid().cast());
            }
            let pack = |pixel, filled, count| self.pack::<V, G>(pixel, filled, count);
            let multiply = |places: &[usize], next: &[usize]| self.pointwise::<V, G>(self.mid(), places, next);
            self.tiles.in_blocks((strip, fresh), following, self.parts.block_pixels, pack, multiply);
        }
    }

    /// Prologue of `count` of the slab's pixels from `pixel` on, to place `filled` of the block.
    #[inline(always)]
    unsafe fn pack<V: IntLanes, G: Group>(&self, pixel: usize, filled: usize, count: usize) {
        let shape = self.shape;
        // SAFETY: the pixels exist, and the block has room for them.
        unsafe {
            V::call(Clamp::<G> {
                rows: count,
                channels: shape.in_channels,
                src: self.slab.at(pixel * shape.slab_stride),
                src_stride: shape.slab_stride,
                bounds: Bounds { low: self.weights.low.as_ptr(), high: self.weights.high.as_ptr() },
                dst: self.scratch.cast::<G::Activation>().add(filled * self.parts.packed_stride),
                dst_stride: self.parts.packed_stride,
            });
        }
    }

    /// The 1×1 of a packed block, to `rows` of `mid`, before pixels `next` are packed.
    #[inline(always)]
    unsafe fn pointwise<V: IntLanes, G: Group>(&self, mid: *mut i16, rows: &[usize], next: &[usize]) {
        let (shape, weights) = (self.shape, self.weights);
        let requantise = Requantise { scale: weights.scale1.as_ptr(), offset: weights.offset1.as_ptr() };
        // SAFETY: the block is packed, and `rows` name pixels of `mid`.
        unsafe {
            let mut starts = [std::ptr::null(); BLOCK_PIXELS];
            starts.iter_mut().zip(next).for_each(|(start, pixel)| *start = self.slab.at(pixel * shape.slab_stride).cast_const());
            V::call(IntGemm::<G> {
                rows: rows.len(),
                a: self.scratch.cast(),
                a_rows: Rows::Stride(self.parts.packed_stride),
                runs: &[0],
                run_len: shape.in_channels,
                w: weights.conv1.as_ptr().cast(),
                panel_len: panel_len_of::<G>(shape.in_channels),
                panels: shape.mid / PANEL,
                out: Out::Wide(requantise, mid),
                out_rows: Rows::Table(rows),
                batch: Batch::ONE,
                ahead: Ahead { starts: &starts[..next.len()], bytes: shape.in_channels },
            });
        }
    }

    fn requantise2(&self) -> Requantise {
        Requantise { scale: self.weights.scale2.as_ptr(), offset: self.weights.offset2.as_ptr() }
    }

    /// The 3×3 of a strip by Winograd, a chunk of tiles at a time.
    #[inline(always)]
    unsafe fn winograd<V: IntLanes>(&self, strip: Strip) {
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
    unsafe fn patches<V: IntLanes>(&self, strip: Strip, chunk: std::ops::Range<usize>) {
        let (shape, grid) = (self.shape, &self.tiles.grid);
        for (t, tile) in chunk.enumerate() {
            let (image, y, x) = self.tiles.at(strip, tile);
            // SAFETY: patches lie inside the ring's rows and borders, and V has room for the chunk.
            unsafe {
                let mut rows = [self.mid().cast_const(); PATCH];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = self.mid().add(grid.mid_at(image, y + i) + x * grid.mid_stride);
                }
                let dst = self.scratch.add(self.parts.v).cast::<i16>().add(t * shape.mid);
                let (pixel_stride, channels, plane) = (grid.mid_stride, shape.mid, self.parts.v_plane);
                V::call(InputTransform { rows, pixel_stride, channels, dst, plane });
            }
        }
    }

    /// M of a chunk of `tiles` tiles.
    #[inline(always)]
    unsafe fn products<V: IntLanes>(&self, tiles: usize) {
        let (shape, parts) = (self.shape, &self.parts);
        let plane = matrix_len(shape.mid, shape.growth);
        let u = self.weights.conv2.as_ptr().cast::<i16>();
        let next: [_; POINTS] = std::array::from_fn(|point| u.wrapping_add((point + 1) % POINTS * plane).cast());
        // SAFETY: V and M have room for the chunk, and conv2 holds a matrix for each point.
        unsafe {
            V::call(IntGemm::<Pairs> {
                rows: tiles,
                a: self.scratch.add(parts.v).cast::<i16>(),
                a_rows: Rows::Stride(shape.mid),
                runs: &[0],
                run_len: shape.mid,
                w: u,
                panel_len: panel_len(shape.mid),
                panels: shape.growth / PANEL,
                out: Out::Sums(self.scratch.add(parts.m)),
                out_rows: Rows::Stride(shape.growth),
                batch: Batch { count: POINTS, a: parts.v_plane, w: plane, dst: parts.m_plane },
                ahead: Ahead { starts: &next, bytes: 2 * plane },
            });
        }
    }

    /// The codes of a chunk of tiles.
    #[inline(always)]
    unsafe fn outputs<V: IntLanes>(&self, strip: Strip, chunk: std::ops::Range<usize>) {
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
                    requantise: self.requantise2(),
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
    unsafe fn direct<V: IntLanes>(&self, strip: Strip) {
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
                    V::call(IntGemm::<Pairs> {
                        rows: last - first,
                        a: self.mid(),
                        a_rows: Rows::Stride(grid.mid_stride),
                        runs: &runs,
                        run_len: shape.mid,
                        w: self.weights.conv2.as_ptr().cast(),
                        panel_len: panel_len(9 * shape.mid),
                        panels: shape.growth / PANEL,
                        out: Out::Codes(self.requantise2(), dst),
                        out_rows: Rows::Stride(shape.slab_stride),
                        batch: Batch::ONE,
                        ahead: Ahead::NONE,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
