//! One dense layer: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended in place to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\], channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth, so there is no concatenation. norm2 is folded into conv1's weights and bias. The mid map between the
//! two convolutions exists only as a ring of rows with a zero border (`strips`), never as a whole.
//! Work: a strip of output rows at a time. Its missing mid rows are made in blocks of pixels (prologue into a packed block, then the 1×1),
//! and the 3×3 runs over the strip by Winograd F(4×4) or directly. Strips are independent but for two mid rows, which neighbours on
//! other threads compute again. Whether the 3×3 is by Winograd is a question to [`DenseShape::winograd`], which sees the shape alone.

use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, panel_len, unaliased};
use super::prologue::NormRelu;
use super::spans::Marked;
use super::strips::{BLOCK_PIXELS, Grid, Strip, Tiles};
use super::winograd::{self, InputTransform, OutputTransform, PATCH, POINTS, TILE};
use super::{Kernel, part};
use crate::isa::Isa;
use crate::parallel::{self, Crew, SharedMut};

/// Bytes of packed pixels in one block of the 1×1.
const BLOCK_BYTES: usize = 96 * 1024;

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
        Parts::of(self, &Grid::new(self, unaliased(self.mid), workers)).total
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
    let pixels = shape.images * shape.height * shape.width;
    if pixels == 0 {
        return;
    }
    let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
    assert!([k, mid, growth, shape.slab_stride].iter().all(|c| c.is_multiple_of(PANEL) && *c > 0));
    assert!(shape.slab_stride >= k + growth && slab.len() >= pixels * shape.slab_stride);
    assert!(weights.scale.len() >= k && weights.shift.len() >= k && weights.bias1.len() >= mid);
    assert!(weights.conv1.len() >= matrix_len(k, mid) && weights.conv2.len() >= shape.conv2_len());
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
        isa.run(Worker { shape, weights, tiles, known, parts, strips, slab, scratch: scratch.as_mut_ptr() });
    });
}

/// The map between a layer's convolutions, \[height, width, mid\], of one image, for [`Marked`]; `scratch` holds [`DenseShape::scratch_len`] floats for one worker.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn mid_map(isa: Isa, shape: &DenseShape, weights: &DenseWeights<'_>, slab: &mut [f32], mid: &mut [f32], scratch: &mut [f32]) {
    let pixels = shape.height * shape.width;
    let (k, width) = (shape.in_channels, shape.mid);
    assert!(shape.images == 1 && k.is_multiple_of(PANEL) && width.is_multiple_of(PANEL) && slab.len() >= pixels * shape.slab_stride);
    assert!(weights.scale.len() >= k && weights.shift.len() >= k && weights.bias1.len() >= width);
    assert!(shape.slab_stride >= k && weights.conv1.len() >= matrix_len(k, width) && mid.len() >= pixels * width);
    let grid = Grid::new(shape, unaliased(shape.mid), 1);
    let parts = Parts::of(shape, &grid);
    assert!(scratch.len() >= parts.total);
    let tiles = Tiles { grid, spans: None, unknown: None };
    let (slab, scratch) = (SharedMut::new(slab), scratch.as_mut_ptr());
    let layer = Worker { shape, weights, tiles, known: None, parts, strips: 0..0, slab, scratch };
    isa.run(MidMap { layer, mid: mid.as_mut_ptr() });
}

/// Where the pieces of a worker's scratch lie.
#[derive(Clone, Copy)]
struct Parts {
    block_pixels: usize,
    packed_stride: usize,
    mid: usize,
    v: usize,
    v_plane: usize,
    m: usize,
    m_plane: usize,
    total: usize,
}

impl Parts {
    fn of(shape: &DenseShape, grid: &Grid) -> Self {
        let packed_stride = unaliased(shape.in_channels);
        let block_pixels = (BLOCK_BYTES / 4 / packed_stride / 12 * 12).clamp(12, BLOCK_PIXELS);
        let mid = block_pixels * packed_stride;
        let v = mid + grid.strip_images * grid.ring * grid.mid_row;
        let (v_plane, m_plane) =
            if shape.winograd() { (grid.chunk() * shape.mid + PANEL, grid.chunk() * shape.growth + PANEL) } else { (0, 0) };
        let m = v + POINTS * v_plane;
        Self { block_pixels, packed_stride, mid, v, v_plane, m, m_plane, total: m + POINTS * m_plane }
    }
}

/// The strips of one thread.
struct Worker<'a> {
    shape: &'a DenseShape,
    weights: &'a DenseWeights<'a>,
    tiles: Tiles<'a>,
    known: Option<&'a [f32]>,
    parts: Parts,
    strips: std::ops::Range<usize>,
    slab: SharedMut<'a>,
    scratch: *mut f32,
}

impl Kernel for Worker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
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
    mid: *mut f32,
}

impl Kernel for MidMap<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
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
    /// Makes the mid rows of a strip that the ring does not hold yet.
    #[inline(always)]
    unsafe fn mid_rows<V: F32Lanes>(&self, (strip, fresh): (Strip, bool), following: Option<(Strip, bool)>) {
        // SAFETY: rows inside the ring and pixels inside the slab, by the checks of `dense_layer`; no block is larger than the scratch has
        // room for.
        unsafe {
            for row in self.tiles.borders(strip, fresh) {
                self.scratch.add(self.parts.mid + row).write_bytes(0, self.tiles.grid.mid_row);
            }
            if let Some(known) = self.known {
                self.tiles.copy_known(strip, fresh, known, self.shape.mid, self.scratch.add(self.parts.mid));
            }
            let pack = |pixel, filled, count| self.pack::<V>(pixel, filled, count);
            let multiply = |places: &[usize], next: &[usize]| self.pointwise::<V>(self.scratch.add(self.parts.mid), places, next);
            self.tiles.in_blocks((strip, fresh), following, self.parts.block_pixels, pack, multiply);
        }
    }

    /// Prologue of `count` of the slab's pixels from `pixel` on, to place `filled` of the block.
    #[inline(always)]
    unsafe fn pack<V: F32Lanes>(&self, pixel: usize, filled: usize, count: usize) {
        let shape = self.shape;
        // SAFETY: the pixels exist, and the block has room for them.
        unsafe {
            V::call(NormRelu {
                rows: count,
                channels: shape.in_channels,
                src: self.slab.at(pixel * shape.slab_stride),
                src_stride: shape.slab_stride,
                scale: self.weights.scale.as_ptr(),
                shift: self.weights.shift.as_ptr(),
                dst: self.scratch.add(filled * self.parts.packed_stride),
                dst_stride: self.parts.packed_stride,
            });
        }
    }

    /// The 1×1 of a packed block, to `rows` of `mid`, before pixels `next` are packed.
    #[inline(always)]
    unsafe fn pointwise<V: F32Lanes>(&self, mid: *mut f32, rows: &[usize], next: &[usize]) {
        let shape = self.shape;
        // SAFETY: the block is packed, and `rows` name pixels of `mid`.
        unsafe {
            let mut starts = [std::ptr::null(); BLOCK_PIXELS];
            starts.iter_mut().zip(next).for_each(|(start, pixel)| *start = self.slab.at(pixel * shape.slab_stride).cast_const().cast());
            V::call(Gemm {
                rows: rows.len(),
                a: self.scratch,
                a_rows: Rows::Stride(self.parts.packed_stride),
                runs: &[0],
                run_len: shape.in_channels,
                w: self.weights.conv1.as_ptr(),
                panel_len: panel_len(shape.in_channels),
                panels: shape.mid / PANEL,
                init: Init::Bias(self.weights.bias1.as_ptr()),
                dst: mid,
                dst_rows: Rows::Table(rows),
                relu: true,
                batch: Batch::ONE,
                ahead: Ahead { starts: &starts[..next.len()], bytes: 4 * shape.in_channels },
            });
        }
    }

    /// The 3×3 of a strip by Winograd, a chunk of tiles at a time.
    #[inline(always)]
    unsafe fn winograd<V: F32Lanes>(&self, strip: Strip) {
        let (shape, grid, parts) = (self.shape, &self.tiles.grid, &self.parts);
        let tiles = self.tiles.count(strip);
        let chunks = tiles.div_ceil(grid.chunk());
        for c in 0..chunks {
            let chunk = part(tiles, chunks, c);
            // SAFETY: a chunk has at most `grid.chunk()` tiles, for which `Parts` made room; patches lie inside the ring's rows and borders;
            // only pixels inside the map are written.
            unsafe {
                let (mid, v, m) = (self.scratch.add(parts.mid), self.scratch.add(parts.v), self.scratch.add(parts.m));
                for (t, tile) in chunk.clone().enumerate() {
                    let (image, y, x) = self.tiles.at(strip, tile);
                    let mut rows = [mid as *const f32; PATCH];
                    for (i, row) in rows.iter_mut().enumerate() {
                        *row = mid.add(grid.mid_at(image, y + i) + x * grid.mid_stride);
                    }
                    V::call(InputTransform {
                        rows,
                        pixel_stride: grid.mid_stride,
                        channels: shape.mid,
                        dst: v.add(t * shape.mid),
                        plane: parts.v_plane,
                    });
                }
                let plane = matrix_len(shape.mid, shape.growth);
                let u = self.weights.conv2.as_ptr();
                let next: [_; POINTS] = std::array::from_fn(|xi| u.wrapping_add((xi + 1) % POINTS * plane).cast());
                V::call(Gemm {
                    rows: chunk.len(),
                    a: v,
                    a_rows: Rows::Stride(shape.mid),
                    runs: &[0],
                    run_len: shape.mid,
                    w: u,
                    panel_len: panel_len(shape.mid),
                    panels: shape.growth / PANEL,
                    init: Init::Zero,
                    dst: m,
                    dst_rows: Rows::Stride(shape.growth),
                    relu: false,
                    batch: Batch { count: POINTS, a: parts.v_plane, w: plane, dst: parts.m_plane },
                    ahead: Ahead { starts: &next, bytes: 4 * plane },
                });
                for (t, tile) in chunk.clone().enumerate() {
                    let (image, y, x) = self.tiles.at(strip, tile);
                    let pixel = ((strip.image + image) * shape.height + y) * shape.width + x;
                    V::call(OutputTransform {
                        src: m.add(t * shape.growth),
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
    }

    /// The 3×3 of a strip as nine runs over the ring.
    #[inline(always)]
    unsafe fn direct<V: F32Lanes>(&self, strip: Strip) {
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
                    V::call(Gemm {
                        rows: last - first,
                        a: self.scratch.add(self.parts.mid),
                        a_rows: Rows::Stride(grid.mid_stride),
                        runs: &runs,
                        run_len: shape.mid,
                        w: self.weights.conv2.as_ptr(),
                        panel_len: panel_len(9 * shape.mid),
                        panels: shape.growth / PANEL,
                        init: Init::Zero,
                        dst: self.slab.at(pixel * shape.slab_stride + shape.in_channels),
                        dst_rows: Rows::Stride(shape.slab_stride),
                        relu: false,
                        batch: Batch::ONE,
                        ahead: Ahead::NONE,
                    });
                }
            }
        }
    }
}
