//! One dense layer in tiles, over bf16 as over codes: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended to the block's slab.
//!
//! Layouts: the slab is \[image\]\[y\]\[x\]\[slab_stride\], channels padded to 16. The map between the convolutions is a strip of rows with one column of
//! zeros before each row, which is also the one after the row above, so that all pixels of a strip are one line of equal steps, and a tap of the 3×3 is one
//! distance in it: sixteen outputs in a row are one tile, wherever rows end. What a tile gives for the columns of zeros is dropped.
//! Work: a strip's mid rows are made 32 pixels at a time (norm into a packed block, then the 1×1), but for the last two of the strip above, which are
//! copied; small maps go several images to a strip. Neighbouring threads compute two mid rows twice.

use super::product::{PAIRS, Pointwise, Rows, SUMS, Weights, Window};
use super::{BLOCK, NOWHERE, Precision, ROWS, TileKernel};
use crate::cpu::dense::DenseShape;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::{Marked, Span};
use crate::cpu::strips::{columns_of, wanted_columns};
use crate::cpu::winograd::TILE;
use crate::isa::Amx;
use crate::parallel::{self, Crew, SharedMut};
use std::marker::PhantomData;

/// Bytes of a strip of the mid map, about: with the weights of the 3×3 it stays in the second cache.
const STRIP_BYTES: usize = 256 * 1024;

/// A layer's weights as tiles take them.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a, P: Precision> {
    pub(crate) shape: &'a DenseShape,
    pub(crate) norm: P::Norm,
    /// \[mid, in_channels padded to steps\], packed.
    pub(crate) conv1: *const u8,
    pub(crate) mid: P::Mid,
    /// \[growth, 9 · (mid padded to steps)\], packed.
    pub(crate) conv2: *const u8,
    pub(crate) new: P::New,
}

// SAFETY: pointers to weights that are only read and that outlive the layer's run.
unsafe impl<P: Precision> Sync for Layer<'_, P> {}

/// How a map is cut, and where the pieces of a worker's scratch lie, in bytes.
#[derive(Clone, Copy)]
struct Cut {
    /// Rows and images of a strip.
    rows: usize,
    images: usize,
    strips_per_image: usize,
    strips: usize,
    /// Pixels from one mid row to the next.
    line: usize,
    /// Numbers of a mid pixel.
    mid_stride: usize,
    packed: usize,
    mid: usize,
    total: usize,
}

impl Cut {
    fn of<P: Precision>(shape: &DenseShape, workers: usize) -> Self {
        let (line, mid_stride) = (shape.width + 1, P::packed_stride(shape.mid));
        let fair = (shape.height * shape.images).div_ceil(workers.max(1)).min(shape.height);
        let pixels = STRIP_BYTES / P::bytes(mid_stride);
        // A worker's rows in strips of one length, so that no worker gets a strip more of full length than another.
        let rows = fair.div_ceil(fair.div_ceil((pixels / line).max(1)).max(1)).max(1);
        let images = if rows == shape.height { (pixels / (line * rows)).clamp(1, shape.images) } else { 1 };
        let strips_per_image = shape.height.div_ceil(rows);
        // One pixel before the first row, a row between images and around them, and what the last tile reads beyond.
        let mid_pixels = 1 + (images * (rows + 1) + 1) * line + 1 + ROWS;
        let packed = PAIRS * SUMS;
        let mid = packed + BLOCK * P::bytes(P::packed_stride(shape.in_channels));
        let total = mid + P::bytes(mid_pixels * mid_stride).next_multiple_of(64);
        let strips = shape.images.div_ceil(images) * strips_per_image;
        Self { rows, images, strips_per_image, strips, line, mid_stride, packed, mid, total }
    }

    /// Place of a strip's pixel in its mid map: row 0 is the one above the strip.
    #[inline(always)]
    fn pixel(&self, image: usize, row: usize, column: usize) -> usize {
        1 + (image * (self.rows + 1) + row) * self.line + column
    }

    fn strip(&self, shape: &DenseShape, index: usize) -> Strip {
        let image = index / self.strips_per_image * self.images;
        let first = index % self.strips_per_image * self.rows;
        Strip { image, images: self.images.min(shape.images - image), first, end: (first + self.rows).min(shape.height) }
    }
}

/// One strip: images and map rows.
#[derive(Clone, Copy)]
struct Strip {
    image: usize,
    images: usize,
    first: usize,
    end: usize,
}

/// Floats that one worker of `workers` needs.
pub(crate) fn scratch_len<P: Precision>(shape: &DenseShape, workers: usize) -> usize {
    Cut::of::<P>(shape, workers).total / 4
}

/// Runs a layer whose lengths were checked; `scratch` holds [`scratch_len`] floats for each worker.
///
/// # Safety
/// The layer's pointers cover what its shape says.
pub(crate) unsafe fn dense_layer<P: Precision>(
    token: Amx,
    layer: &Layer<'_, P>,
    marked: Option<Marked<'_, P::Number>>,
    slab: &mut [P::Number],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let shape = layer.shape;
    let workers = crew.workers();
    let cut = Cut::of::<P>(shape, workers);
    let len = cut.total / 4;
    assert!(scratch.len() >= len * workers);
    if let Some(marked) = &marked {
        assert!(shape.images == 1 && marked.tiles.len() == shape.height.div_ceil(TILE) && marked.pixels.len() == shape.height);
        assert!(marked.tiles.iter().all(|s| s.end <= shape.width.div_ceil(TILE)) && marked.pixels.iter().all(|s| s.end <= shape.width));
        assert!(marked.mid.is_none_or(|mid| mid.len() >= shape.height * shape.width * shape.mid));
    }
    let slab = SharedMut::new(slab);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let strips = part(cut.strips, workers, worker);
        if !strips.is_empty() {
            super::run(token, Worker { layer, cut, marked, strips, slab, scratch: scratch.as_mut_ptr().cast() });
        }
    });
}

/// The map between the convolutions of one image, \[height, width, mid\]; `scratch` holds [`scratch_len`] floats for one worker.
///
/// # Safety
/// As [`dense_layer`].
pub(crate) unsafe fn mid_map<P: Precision>(
    token: Amx,
    layer: &Layer<'_, P>,
    slab: &mut [P::Number],
    mid: &mut [P::Number],
    scratch: &mut [f32],
) {
    let cut = Cut::of::<P>(layer.shape, 1);
    assert!(scratch.len() >= cut.total / 4);
    let (slab, scratch) = (SharedMut::new(slab), scratch.as_mut_ptr().cast());
    super::run(token, MidMap { layer: Worker { layer, cut, marked: None, strips: 0..0, slab, scratch }, mid: mid.as_mut_ptr() });
}

/// The strips of one thread.
struct Worker<'a, P: Precision> {
    layer: &'a Layer<'a, P>,
    cut: Cut,
    marked: Option<Marked<'a, P::Number>>,
    strips: std::ops::Range<usize>,
    slab: SharedMut<'a, P::Number>,
    scratch: *mut u8,
}

impl<P: Precision> TileKernel for Worker<'_, P> {
    #[inline(always)]
    fn run(self) {
        let shape = self.layer.shape;
        // SAFETY: `Cut` laid everything out inside the scratch; `dense_layer` checked the slab; strips write rows of their own.
        unsafe {
            self.borders();
            let mut kept = false;
            for index in self.strips.clone() {
                let strip = self.cut.strip(shape, index);
                if self.spans().is_some_and(|tiles| (strip.first..strip.end).all(|y| tiles[y / TILE].is_empty())) {
                    kept = false;
                    continue;
                }
                self.mid_rows(strip, kept && strip.first > 0);
                self.new_channels(strip);
                kept = true;
            }
        }
    }
}

/// The first convolution of a whole map.
struct MidMap<'a, P: Precision> {
    layer: Worker<'a, P>,
    mid: *mut P::Number,
}

impl<P: Precision> TileKernel for MidMap<'_, P> {
    #[inline(always)]
    fn run(self) {
        let shape = self.layer.layer.shape;
        let pixels = shape.height * shape.width;
        for first in (0..pixels).step_by(BLOCK) {
            let mut block = Block::default();
            // SAFETY: pixels inside the slab and the map, whose lengths `mid_map`'s callers checked.
            unsafe {
                self.layer.pack(&mut block, first, BLOCK.min(pixels - first), (first * shape.mid, shape.mid), self.mid);
                self.layer.multiply(&mut block, self.mid);
            }
        }
    }
}

/// Places of the pixels that are packed.
struct Block {
    places: [usize; BLOCK],
    filled: usize,
}

impl Default for Block {
    fn default() -> Self {
        Self { places: [0; BLOCK], filled: 0 }
    }
}

impl<P: Precision> Worker<'_, P> {
    fn spans(&self) -> Option<&[Span]> {
        self.marked.map(|marked| marked.tiles)
    }

    #[inline(always)]
    unsafe fn mid(&self) -> *mut P::Number {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(self.cut.mid).cast() }
    }

    /// Zeros `count` pixels of the mid map.
    #[inline(always)]
    unsafe fn zero(&self, pixel: usize, count: usize) {
        // SAFETY: inside the map.
        unsafe { self.mid().add(pixel * self.cut.mid_stride).write_bytes(0, count * self.cut.mid_stride) }
    }

    /// The zeros that no strip writes over: columns before rows, and with whole images the rows between them.
    #[inline(always)]
    unsafe fn borders(&self) {
        let (cut, shape) = (&self.cut, self.layer.shape);
        // SAFETY: pixels that `Cut` counted.
        unsafe {
            if P::padded(shape.mid) > shape.mid {
                // Steps reach beyond the channels, and weights there are zeros: nothing else may be.
                self.zero(0, 1 + (cut.images * (cut.rows + 1) + 1) * cut.line + 1 + ROWS);
                return;
            }
            for row in 0..=cut.images * (cut.rows + 1) + 1 {
                self.zero(row * cut.line, 1);
            }
            if cut.strips_per_image == 1 {
                for image in 0..=cut.images {
                    self.zero(cut.pixel(image, 0, 0), shape.width);
                }
            }
        }
    }

    /// Makes the mid rows of a strip; `kept` says that the map holds the strip above.
    #[inline(always)]
    unsafe fn mid_rows(&self, strip: Strip, kept: bool) {
        let (cut, shape) = (&self.cut, self.layer.shape);
        // SAFETY: rows inside the map, pixels inside the slab.
        unsafe {
            let mut from = strip.first.saturating_sub(1);
            if kept {
                let rows = self.mid().add(cut.rows * cut.line * cut.mid_stride);
                self.mid().copy_from(rows, 2 * cut.line * cut.mid_stride);
                from = strip.first + 1;
            } else if strip.first == 0 && cut.strips_per_image > 1 {
                self.zero(cut.pixel(0, 0, 0), shape.width);
            }
            if strip.end == shape.height && cut.strips_per_image > 1 {
                self.zero(cut.pixel(0, strip.end - strip.first + 1, 0), shape.width);
            }
            let mut block = Block::default();
            for image in 0..strip.images {
                for y in from..(strip.end + 1).min(shape.height) {
                    let wanted = self.spans().map_or(Span { start: 0, end: shape.width }, |tiles| wanted_columns(tiles, shape.width, y));
                    let row = y + 1 - strip.first;
                    let columns = match self.marked {
                        Some(Marked { pixels, mid: Some(known), .. }) => self.copy_known(known, wanted, pixels[y], (y, row)),
                        _ => wanted,
                    };
                    let first = ((strip.image + image) * shape.height + y) * shape.width + columns.start;
                    let place = cut.pixel(image, row, columns.start) * cut.mid_stride;
                    self.pack(&mut block, first, columns.len(), (place, cut.mid_stride), self.mid());
                }
            }
            self.multiply(&mut block, self.mid());
        }
    }

    /// Copies what is known of a row, and says what is left.
    #[inline(always)]
    unsafe fn copy_known(&self, known: &[P::Number], wanted: Span, unknown: Span, (y, row): (usize, usize)) -> Span {
        let (cut, shape) = (&self.cut, self.layer.shape);
        let inner = wanted.common(unknown);
        let (left, right) = if inner.is_empty() { (wanted, Span::default()) } else { wanted.around(inner) };
        for x in left.columns().chain(right.columns()) {
            // SAFETY: a pixel of the map and its place in the strip's.
            unsafe {
                let from = known.as_ptr().add((y * shape.width + x) * shape.mid);
                self.mid().add(cut.pixel(0, row, x) * cut.mid_stride).copy_from_nonoverlapping(from, shape.mid);
            }
        }
        inner
    }

    /// norm1 of `count` of the slab's pixels from `pixel` on; the 1×1 of every block that they fill, to `mid` from a place on in equal steps.
    #[inline(always)]
    unsafe fn pack(&self, block: &mut Block, pixel: usize, count: usize, (place, step): (usize, usize), mid: *mut P::Number) {
        let shape = self.layer.shape;
        let mut done = 0;
        while done < count {
            let pixels = (count - done).min(BLOCK - block.filled);
            // SAFETY: the pixels exist, and the block has room for them.
            unsafe {
                let src = self.slab.at((pixel + done) * shape.slab_stride).cast_const();
                let dst = self.scratch.add(self.cut.packed).cast::<P::Number>().add(block.filled * P::packed_stride(shape.in_channels));
                P::normalise(self.layer.norm, shape.in_channels, pixels, (src, shape.slab_stride), dst);
                for (i, slot) in block.places[block.filled..block.filled + pixels].iter_mut().enumerate() {
                    *slot = place + (done + i) * step;
                }
                (done, block.filled) = (done + pixels, block.filled + pixels);
                if block.filled == BLOCK {
                    self.multiply(block, mid);
                }
            }
        }
    }

    /// The 1×1 of a packed block.
    #[inline(always)]
    unsafe fn multiply(&self, block: &mut Block, mid: *mut P::Number) {
        let (shape, layer) = (self.layer.shape, self.layer);
        let k = P::padded(shape.in_channels);
        // SAFETY: the block is packed, and the scratch holds two tiles of rows whatever is filled.
        unsafe {
            super::call(Pointwise::<P, _> {
                pixels: self.scratch.add(self.cut.packed),
                rows: Rows { stride: P::bytes(P::packed_stride(shape.in_channels)), steps: k / P::STEP },
                blocks: &[0],
                weights: Weights { data: layer.conv1, panel_bytes: P::panel_bytes(k), panels: shape.mid / PANEL },
                finish: layer.mid,
                dst: mid,
                places: &block.places[..block.filled],
                sums: self.scratch,
            });
        }
        block.filled = 0;
    }

    /// The 3×3 of a strip, some tiles at a time.
    #[inline(always)]
    unsafe fn new_channels(&self, strip: Strip) {
        let (cut, shape) = (&self.cut, self.layer.shape);
        let mut tiles = Tiles::default();
        // SAFETY: places of pixels in the strip.
        unsafe {
            for image in 0..strip.images {
                let Some(spans) = self.spans() else {
                    let pixels = (strip.end - strip.first) * cut.line - 1;
                    for first in (0..pixels).step_by(ROWS) {
                        self.tile(&mut tiles, strip, (image, first), pixels);
                    }
                    continue;
                };
                for y in strip.first..strip.end {
                    let span = columns_of(spans[y / TILE], shape.width);
                    let row = (y - strip.first) * cut.line;
                    for x in span.columns().step_by(ROWS) {
                        self.tile(&mut tiles, strip, (image, row + x), row + span.end);
                    }
                }
            }
            self.flush(&mut tiles);
        }
    }

    /// One tile: sixteen pixels of a strip's image from `first` on, of which those before `end` and inside rows are wanted.
    #[inline(always)]
    unsafe fn tile(&self, tiles: &mut Tiles<P>, strip: Strip, (image, first): (usize, usize), end: usize) {
        let (cut, shape) = (&self.cut, self.layer.shape);
        let (mut y, mut x) = (first / cut.line, first % cut.line);
        for (i, place) in tiles.places[tiles.filled * ROWS..][..ROWS].iter_mut().enumerate() {
            let pixel = ((strip.image + image) * shape.height + strip.first + y) * shape.width + x;
            *place = if first + i < end && x < shape.width { pixel * shape.slab_stride + shape.in_channels } else { NOWHERE };
            x += 1;
            if x == cut.line {
                (x, y) = (0, y + 1);
            }
        }
        // SAFETY: the first tap of the first pixel, one row up and one pixel to the left.
        unsafe {
            let place = cut.pixel(image, 0, 0) + first - 1;
            tiles.starts[tiles.filled] = self.mid().add(place * cut.mid_stride).cast_const().cast();
            tiles.filled += 1;
            if tiles.filled == 2 * PAIRS {
                self.flush(tiles);
            }
        }
    }

    /// The 3×3 of the tiles that are listed.
    #[inline(always)]
    unsafe fn flush(&self, tiles: &mut Tiles<P>) {
        let (cut, shape, layer) = (&self.cut, self.layer.shape, self.layer);
        let k = P::padded(shape.mid);
        let stride = P::bytes(cut.mid_stride);
        let taps: [usize; 9] = std::array::from_fn(|t| (t / 3 * cut.line + t % 3) * stride);
        // SAFETY: rows of the strip and their borders; the pixels of the places are this strip's.
        unsafe {
            super::call(Window::<P, _> {
                tiles: &tiles.starts[..tiles.filled],
                rows: Rows { stride, steps: k / P::STEP },
                taps: &taps,
                weights: Weights { data: layer.conv2, panel_bytes: P::panel_bytes(9 * k), panels: shape.growth / PANEL },
                finish: layer.new,
                dst: self.slab.at(0),
                places: &tiles.places[..tiles.filled * ROWS],
                sums: self.scratch,
            });
        }
        tiles.filled = 0;
    }
}

/// Tiles of outputs of the 3×3.
struct Tiles<P> {
    starts: [*const u8; 2 * PAIRS],
    places: [usize; 2 * PAIRS * ROWS],
    filled: usize,
    precision: PhantomData<P>,
}

impl<P> Default for Tiles<P> {
    fn default() -> Self {
        Self { starts: [std::ptr::null(); 2 * PAIRS], places: [NOWHERE; 2 * PAIRS * ROWS], filled: 0, precision: PhantomData }
    }
}
