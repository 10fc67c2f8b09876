//! One dense layer: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended in place to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\], channels padded to 16; the layer reads channels 0..in_channels and writes
//! in_channels..in_channels + growth, so there is no concatenation. norm2 is folded into conv1's weights and bias. The mid map between the
//! two convolutions exists only as a ring of rows with a zero border (`Grid`), never as a whole.
//! Work: a strip of output rows at a time. Its missing mid rows are made in blocks of pixels (prologue into a packed block, then the 1×1),
//! and the 3×3 runs over the strip by Winograd F(4×4) or directly. Strips are independent but for two mid rows, which neighbours on
//! other threads compute again. Whether the 3×3 is by Winograd is a question to [`DenseShape::winograd`], which sees the shape alone.

use super::gemm::{Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, panel_len, unaliased};
use super::prologue::NormRelu;
use super::spans::Span;
use super::winograd::{self, InputTransform, OutputTransform, PATCH, POINTS, TILE};
use super::{Kernel, part};
use crate::isa::Isa;
use crate::parallel::{self, SharedMut};

/// Tiles whose products share one pass over U: enough to pay for streaming it from L3, few enough for V to stay in L2.
const TILES: usize = 16;
/// Bytes of packed pixels in one block of the 1×1, and the most pixels it holds.
const BLOCK_BYTES: usize = 96 * 1024;
const BLOCK_PIXELS: usize = 96;

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
        Parts::of(self, &Grid::new(self, workers)).total
    }

    /// Multiply-adds times two, as a direct convolution counts them.
    pub fn flop(&self) -> u64 {
        2 * (self.images * self.height * self.width) as u64 * (self.mid * (self.in_channels + 9 * self.growth)) as u64
    }
}

/// Runs a layer on `workers` threads of the current pool; `scratch` holds [`DenseShape::scratch_len`] floats for each.
/// With `tiles`, one span a tile row of a single image, only those tiles are written.
///
/// # Panics
/// When a slice is too short for the shape.
pub fn dense_layer(
    isa: Isa,
    shape: &DenseShape,
    weights: &DenseWeights<'_>,
    tiles: Option<&[Span]>,
    slab: &mut [f32],
    scratch: &mut [f32],
    workers: usize,
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
    let grid = Grid::new(shape, workers);
    assert!(tiles.is_none_or(|t| shape.images == 1 && t.len() == grid.tile_rows && t.iter().all(|s| s.end <= grid.tile_columns)));
    let parts = Parts::of(shape, &grid);
    assert!(scratch.len() >= parts.total * workers);
    let slab = SharedMut::new(slab);
    parallel::over_chunks(&mut scratch[..parts.total * workers], parts.total, &|worker, scratch| {
        let strips = part(grid.strips(), workers, worker);
        if strips.is_empty() {
            return;
        }
        isa.run(Worker { shape, weights, tiles, grid, parts, strips, slab, scratch: scratch.as_mut_ptr() });
    });
}

/// How a map is cut: strips of whole tile rows of one image, or whole images where they are small.
#[derive(Clone, Copy)]
struct Grid {
    /// Tile rows and columns of an image.
    tile_rows: usize,
    tile_columns: usize,
    /// Tile rows and images of a strip.
    strip_tile_rows: usize,
    strip_images: usize,
    images: usize,
    /// Ring rows per image; pixels of a mid row with its borders; floats of a mid pixel and of a mid row.
    ring: usize,
    mid_stride: usize,
    mid_row: usize,
}

impl Grid {
    fn new(shape: &DenseShape, workers: usize) -> Self {
        let (tile_rows, tile_columns) = (shape.height.div_ceil(TILE), shape.width.div_ceil(TILE));
        let fair = (tile_rows * shape.images).div_ceil(workers.max(1)).min(tile_rows);
        let strip_tile_rows = (TILES / tile_columns).clamp(1, fair);
        let strip_images = if strip_tile_rows == tile_rows { (TILES / (tile_rows * tile_columns)).clamp(1, shape.images) } else { 1 };
        let mid_stride = unaliased(shape.mid);
        Self {
            tile_rows,
            tile_columns,
            strip_tile_rows,
            strip_images,
            images: shape.images,
            ring: strip_tile_rows * TILE + 2,
            mid_stride,
            mid_row: (tile_columns * TILE + 2) * mid_stride,
        }
    }

    fn strips(&self) -> usize {
        self.images.div_ceil(self.strip_images) * self.strips_per_image()
    }

    fn strips_per_image(&self) -> usize {
        self.tile_rows.div_ceil(self.strip_tile_rows)
    }

    /// Offset of a mid row: `row` counts from the zero row above the map, so map row y is row y + 1.
    #[inline(always)]
    fn mid_at(&self, image: usize, row: usize) -> usize {
        (image * self.ring + row % self.ring) * self.mid_row
    }

    /// Tiles of a pass over U.
    fn chunk(&self) -> usize {
        let tiles = self.strip_images * self.strip_tile_rows * self.tile_columns;
        tiles.div_ceil(tiles.div_ceil(TILES * 3 / 2))
    }
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
    tiles: Option<&'a [Span]>,
    grid: Grid,
    parts: Parts,
    strips: std::ops::Range<usize>,
    slab: SharedMut<'a>,
    scratch: *mut f32,
}

/// One strip: images and map rows.
#[derive(Clone, Copy)]
struct Strip {
    image: usize,
    images: usize,
    first_row: usize,
    end_row: usize,
}

impl Kernel for Worker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let grid = &self.grid;
        // SAFETY: `Parts` laid the mid ring out inside the scratch.
        unsafe { self.scratch.add(self.parts.mid).write_bytes(0, self.parts.v - self.parts.mid) };
        let mut fresh = true;
        for index in self.strips.clone() {
            let (group, within) = (index / grid.strips_per_image(), index % grid.strips_per_image());
            let image = group * grid.strip_images;
            let first_row = within * grid.strip_tile_rows * TILE;
            let strip = Strip {
                image,
                images: grid.strip_images.min(grid.images - image),
                first_row,
                end_row: first_row + grid.strip_tile_rows * TILE,
            };
            fresh |= within == 0;
            if self.tiles_of(strip) == 0 {
                fresh = true;
                continue;
            }
            // SAFETY: `dense_layer` checked every length against the shape; strips write rows of their own.
            unsafe {
                self.mid_rows::<V>(strip, fresh);
                if self.shape.winograd() { self.winograd::<V>(strip) } else { self.direct::<V>(strip) }
            }
            fresh = false;
        }
    }
}

impl Worker<'_> {
    /// Tiles of a tile row that are written.
    #[inline(always)]
    fn tile_span(&self, tile_row: usize) -> Span {
        self.tiles.map_or(Span { start: 0, end: self.grid.tile_columns }, |tiles| tiles[tile_row])
    }

    /// Tile rows of a strip that lie in the map.
    #[inline(always)]
    fn tile_rows_of(&self, strip: Strip) -> std::ops::Range<usize> {
        let first = strip.first_row / TILE;
        first..(first + self.grid.strip_tile_rows).min(self.grid.tile_rows)
    }

    fn tiles_of(&self, strip: Strip) -> usize {
        strip.images * self.tile_rows_of(strip).map(|row| self.tile_span(row).len()).sum::<usize>()
    }

    /// Image of the strip, map row and map column of its tile number `tile`.
    #[inline(always)]
    fn tile_at(&self, strip: Strip, tile: usize) -> (usize, usize, usize) {
        let mut left = tile;
        for image in 0..strip.images {
            for row in self.tile_rows_of(strip) {
                let span = self.tile_span(row);
                if left < span.len() {
                    return (image, row * TILE, (span.start + left) * TILE);
                }
                left -= span.len();
            }
        }
        unreachable!("a strip has no tile {tile}")
    }

    /// Columns of a mid row that the tiles above and below it read.
    fn mid_columns(&self, y: usize) -> Span {
        let width = self.shape.width;
        let Some(tiles) = self.tiles else { return Span { start: 0, end: width } };
        let row = y / TILE;
        let (above, below) = (y.saturating_sub(1) / TILE, ((y + 1) / TILE).min(tiles.len() - 1));
        let span = tiles[row].hull(tiles[above]).hull(tiles[below]);
        if span.is_empty() {
            return Span::default();
        }
        Span { start: (span.start * TILE).saturating_sub(1), end: (span.end * TILE + 1).min(width) }
    }

    /// Makes the mid rows first_row − 1 ..= end_row of a strip that the ring does not hold yet.
    #[inline(always)]
    unsafe fn mid_rows<V: F32Lanes>(&self, strip: Strip, fresh: bool) {
        let (height, width) = (self.shape.height, self.shape.width);
        let from = if fresh { strip.first_row.saturating_sub(1) } else { strip.first_row + 1 };
        let to = (strip.end_row + 1).min(height);
        // SAFETY: rows inside the ring and pixels inside the slab, by the checks of `dense_layer`.
        unsafe {
            let mid = self.scratch.add(self.parts.mid);
            if strip.images == 1 {
                if fresh && strip.first_row == 0 {
                    mid.add(self.grid.mid_at(0, 0)).write_bytes(0, self.grid.mid_row);
                }
                for row in to.max(height)..strip.end_row + 1 {
                    mid.add(self.grid.mid_at(0, row + 1)).write_bytes(0, self.grid.mid_row);
                }
            }
            if from >= to {
                return;
            }
            if self.tiles.is_some() {
                let columns = |y: usize| self.mid_columns(y);
                self.mid_pixels::<V>(strip.image, (from..to).map(|y| y * width + columns(y).start..y * width + columns(y).end));
            } else if strip.images > 1 {
                self.mid_pixels::<V>(strip.image, std::iter::once(0..strip.images * height * width));
            } else {
                self.mid_pixels::<V>(strip.image, std::iter::once(from * width..to * width));
            }
        }
    }

    /// Prologue and 1×1 of runs of pixels, counted from the first one of image `image` (and on into later ones), in blocks of like size.
    #[inline(always)]
    unsafe fn mid_pixels<V: F32Lanes>(&self, image: usize, runs: impl Iterator<Item = std::ops::Range<usize>> + Clone) {
        let total: usize = runs.clone().map(|run| run.len()).sum();
        let blocks = total.div_ceil(self.parts.block_pixels);
        let mut rows = [0; BLOCK_PIXELS];
        let (mut block, mut filled) = (0, 0);
        for run in runs {
            let mut at = run.start;
            while at < run.end {
                let goal = part(total, blocks, block).len();
                let count = (run.end - at).min(goal - filled);
                // SAFETY: the caller's pixels exist, and no block is larger than the scratch has room for.
                unsafe { self.pack::<V>(image, at, filled, &mut rows[filled..filled + count]) };
                (at, filled) = (at + count, filled + count);
                if filled == goal {
                    // SAFETY: as above; `rows` name pixels of the ring.
                    unsafe { self.pointwise::<V>(&rows[..filled]) };
                    (block, filled) = (block + 1, 0);
                }
            }
        }
    }

    /// Prologue of as many pixels as `rows` has items, to place `filled` of the block; `rows` gets their places in the ring.
    #[inline(always)]
    unsafe fn pack<V: F32Lanes>(&self, image: usize, pixel: usize, filled: usize, rows: &mut [usize]) {
        let (shape, grid) = (self.shape, &self.grid);
        let area = shape.height * shape.width;
        let (mut of, mut y, mut x) = (pixel / area, pixel % area / shape.width, pixel % shape.width);
        let count = rows.len();
        for row in rows {
            *row = grid.mid_at(of, y + 1) + (x + 1) * grid.mid_stride;
            x += 1;
            if x == shape.width {
                (x, y) = (0, y + 1);
                if y == shape.height {
                    (y, of) = (0, of + 1);
                }
            }
        }
        // SAFETY: the pixels exist, and the block has room for them.
        unsafe {
            V::call(NormRelu {
                rows: count,
                channels: shape.in_channels,
                src: self.slab.at((image * area + pixel) * shape.slab_stride),
                src_stride: shape.slab_stride,
                scale: self.weights.scale.as_ptr(),
                shift: self.weights.shift.as_ptr(),
                dst: self.scratch.add(filled * self.parts.packed_stride),
                dst_stride: self.parts.packed_stride,
            });
        }
    }

    /// The 1×1 of a packed block, to `rows` of the ring.
    #[inline(always)]
    unsafe fn pointwise<V: F32Lanes>(&self, rows: &[usize]) {
        let shape = self.shape;
        // SAFETY: the block is packed, and `rows` name pixels of the ring.
        unsafe {
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
                dst: self.scratch.add(self.parts.mid),
                dst_rows: Rows::Table(rows),
                relu: true,
            });
        }
    }

    /// The 3×3 of a strip by Winograd, a chunk of tiles at a time.
    #[inline(always)]
    unsafe fn winograd<V: F32Lanes>(&self, strip: Strip) {
        let (shape, grid, parts) = (self.shape, &self.grid, &self.parts);
        let tiles = self.tiles_of(strip);
        let chunks = tiles.div_ceil(grid.chunk());
        for c in 0..chunks {
            let chunk = part(tiles, chunks, c);
            // SAFETY: a chunk has at most `grid.chunk()` tiles, for which `Parts` made room; patches lie inside the ring's rows and borders;
            // only pixels inside the map are written.
            unsafe {
                let (mid, v, m) = (self.scratch.add(parts.mid), self.scratch.add(parts.v), self.scratch.add(parts.m));
                for (t, tile) in chunk.clone().enumerate() {
                    let (image, y, x) = self.tile_at(strip, tile);
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
                for xi in 0..POINTS {
                    V::call(Gemm {
                        rows: chunk.len(),
                        a: v.add(xi * parts.v_plane),
                        a_rows: Rows::Stride(shape.mid),
                        runs: &[0],
                        run_len: shape.mid,
                        w: self.weights.conv2.as_ptr().add(xi * plane),
                        panel_len: panel_len(shape.mid),
                        panels: shape.growth / PANEL,
                        init: Init::Zero,
                        dst: m.add(xi * parts.m_plane),
                        dst_rows: Rows::Stride(shape.growth),
                        relu: false,
                    });
                }
                for (t, tile) in chunk.clone().enumerate() {
                    let (image, y, x) = self.tile_at(strip, tile);
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
        let (shape, grid) = (self.shape, &self.grid);
        let end = strip.end_row.min(shape.height);
        for image in 0..strip.images {
            for y in strip.first_row..end {
                let tiles = self.tile_span(y / TILE);
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
                    });
                }
            }
        }
    }
}
