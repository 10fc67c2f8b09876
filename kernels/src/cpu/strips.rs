//! How a map is cut for a dense layer, in floats as in codes: strips of whole tile rows of one image, or whole images where they are small;
//! which tiles and mid pixels of a strip are wanted, when air is skipped ([`super::spans`]); and in which blocks those pixels are made.

use super::dense::DenseShape;
use super::part;
use super::spans::{Marked, Span};
use super::winograd::TILE;
use std::ops::Range;

/// Tiles whose products share one pass over U: enough to pay for streaming it, few enough for V to stay in L2.
const TILES: usize = 16;
/// The most pixels of a block of the 1×1.
pub(crate) const BLOCK_PIXELS: usize = 96;

/// The cut of a map.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    images: usize,
    height: usize,
    width: usize,
    /// Tile rows and columns of an image.
    pub(crate) tile_rows: usize,
    pub(crate) tile_columns: usize,
    /// Tile rows and images of a strip.
    strip_tile_rows: usize,
    pub(crate) strip_images: usize,
    /// Ring rows an image; numbers of a mid pixel and of a mid row with its borders.
    pub(crate) ring: usize,
    pub(crate) mid_stride: usize,
    pub(crate) mid_row: usize,
}

/// One strip: images and map rows.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub(crate) image: usize,
    pub(crate) images: usize,
    pub(crate) first_row: usize,
    pub(crate) end_row: usize,
}

impl Grid {
    /// `mid_stride`: numbers from one mid pixel to the next.
    pub(crate) fn new(shape: &DenseShape, mid_stride: usize, workers: usize) -> Self {
        let (tile_rows, tile_columns) = (shape.height.div_ceil(TILE), shape.width.div_ceil(TILE));
        let fair = (tile_rows * shape.images).div_ceil(workers.max(1)).min(tile_rows);
        let strip_tile_rows = (TILES / tile_columns).clamp(1, fair);
        let strip_images = if strip_tile_rows == tile_rows { (TILES / (tile_rows * tile_columns)).clamp(1, shape.images) } else { 1 };
        Self {
            images: shape.images,
            height: shape.height,
            width: shape.width,
            tile_rows,
            tile_columns,
            strip_tile_rows,
            strip_images,
            ring: strip_tile_rows * TILE + 2,
            mid_stride,
            mid_row: (tile_columns * TILE + 2) * mid_stride,
        }
    }

    pub(crate) fn strips(&self) -> usize {
        self.images.div_ceil(self.strip_images) * self.strips_per_image()
    }

    fn strips_per_image(&self) -> usize {
        self.tile_rows.div_ceil(self.strip_tile_rows)
    }

    /// Strip number `index`, and whether it begins an image.
    #[inline(always)]
    pub(crate) fn strip(&self, index: usize) -> (Strip, bool) {
        let (group, within) = (index / self.strips_per_image(), index % self.strips_per_image());
        let image = group * self.strip_images;
        let first_row = within * self.strip_tile_rows * TILE;
        let images = self.strip_images.min(self.images - image);
        (Strip { image, images, first_row, end_row: first_row + self.strip_tile_rows * TILE }, within == 0)
    }

    /// Offset of a mid row in the ring: `row` counts from the zero row above the map, so map row y is row y + 1.
    #[inline(always)]
    pub(crate) fn mid_at(&self, image: usize, row: usize) -> usize {
        (image * self.ring + row % self.ring) * self.mid_row
    }

    /// Places in the ring of consecutive pixels from `pixel` on, which is counted from the first one of the strip.
    #[inline(always)]
    fn places(&self, pixel: usize, places: &mut [usize]) {
        let area = self.height * self.width;
        let (mut image, mut y, mut x) = (pixel / area, pixel % area / self.width, pixel % self.width);
        let mut filled = 0;
        while filled < places.len() {
            let run = (self.width - x).min(places.len() - filled);
            let first = self.mid_at(image, y + 1) + (x + 1) * self.mid_stride;
            for (i, place) in places[filled..filled + run].iter_mut().enumerate() {
                *place = first + i * self.mid_stride;
            }
            (filled, x, y) = (filled + run, 0, y + 1);
            if y == self.height {
                (y, image) = (0, image + 1);
            }
        }
    }

    /// Tiles of a pass over U.
    pub(crate) fn chunk(&self) -> usize {
        let tiles = self.strip_images * self.strip_tile_rows * self.tile_columns;
        tiles.div_ceil(tiles.div_ceil(TILES * 3 / 2))
    }
}

/// The tiles of a map that are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Tiles<'a> {
    pub(crate) grid: Grid,
    /// One span a tile row; all tiles without it.
    pub(crate) spans: Option<&'a [Span]>,
    /// Pixels whose place in the mid map is not known, one span a row; none is without it.
    pub(crate) unknown: Option<&'a [Span]>,
}

impl<'a> Tiles<'a> {
    /// The tiles of a map of such a layer.
    ///
    /// # Panics
    /// When there are not as many spans as rows, or they leave the map.
    pub(crate) fn new<T>(shape: &DenseShape, grid: Grid, marked: Option<&Marked<'a, T>>) -> Self {
        let Some(marked) = marked else { return Self { grid, spans: None, unknown: None } };
        assert!(shape.images == 1 && marked.tiles.len() == grid.tile_rows && marked.tiles.iter().all(|s| s.end <= grid.tile_columns));
        assert!(marked.pixels.len() == shape.height && marked.pixels.iter().all(|s| s.end <= shape.width));
        assert!(marked.mid.is_none_or(|mid| mid.len() >= shape.height * shape.width * shape.mid));
        Self { grid, spans: Some(marked.tiles), unknown: marked.mid.map(|_| marked.pixels) }
    }
}

impl Tiles<'_> {
    /// Wanted tiles of a tile row.
    #[inline(always)]
    pub(crate) fn of_row(&self, tile_row: usize) -> Span {
        self.spans.map_or(Span { start: 0, end: self.grid.tile_columns }, |spans| spans[tile_row])
    }

    /// Tile rows of a strip that lie in the map.
    #[inline(always)]
    fn rows(&self, strip: Strip) -> Range<usize> {
        let first = strip.first_row / TILE;
        first..(first + self.grid.strip_tile_rows).min(self.grid.tile_rows)
    }

    /// Wanted tiles of a strip.
    pub(crate) fn count(&self, strip: Strip) -> usize {
        strip.images * self.rows(strip).map(|row| self.of_row(row).len()).sum::<usize>()
    }

    /// Image of the strip, map row and map column of its wanted tile number `tile`.
    #[inline(always)]
    pub(crate) fn at(&self, strip: Strip, tile: usize) -> (usize, usize, usize) {
        let mut left = tile;
        for image in 0..strip.images {
            for row in self.rows(strip) {
                let span = self.of_row(row);
                if left < span.len() {
                    return (image, row * TILE, (span.start + left) * TILE);
                }
                left -= span.len();
            }
        }
        unreachable!("a strip has no tile {tile}")
    }

    /// Ring rows of a strip that lie outside the map and must be zero, as offsets.
    #[inline(always)]
    pub(crate) fn borders(&self, strip: Strip, fresh: bool) -> impl Iterator<Item = usize> {
        let grid = self.grid;
        // Strips of whole images have borders that nothing is written over.
        let moves = strip.images == 1;
        let above = (moves && fresh && strip.first_row == 0).then_some(0);
        let end = if moves { strip.end_row + 1 } else { 0 };
        let below = grid.height..end;
        above.into_iter().chain(below.map(|y| y + 1)).map(move |row| grid.mid_at(0, row))
    }

    /// Goes through the pixels of the mid rows first_row − 1 ..= end_row that the ring does not hold yet (all of them where `fresh`), in blocks
    /// of like size of at most `block_pixels`: `pack(pixel, filled, count)` puts `count` pixels of the slab to place `filled` of the block, and
    /// `multiply(places, next)` turns a full block into mid pixels at those places of the ring, while pixels `next` will be packed after it:
    /// those of the `following` strip in the end.
    #[inline(always)]
    pub(crate) fn in_blocks(
        &self,
        (strip, fresh): (Strip, bool),
        following: Option<(Strip, bool)>,
        block_pixels: usize,
        pack: impl Fn(usize, usize, usize),
        multiply: impl Fn(&[usize], &[usize]),
    ) {
        let total: usize = self.missing(strip, fresh).map(|run| run.len()).sum();
        let blocks = total.div_ceil(block_pixels);
        let (mut places, mut pixels, mut next) = ([0; BLOCK_PIXELS], [0; BLOCK_PIXELS], [0; BLOCK_PIXELS]);
        let mut left = Pixels::of(self.missing(strip, fresh));
        let mut count = if blocks > 0 { left.take(&mut pixels[..part(total, blocks, 0).len()]) } else { 0 };
        for block in 0..blocks {
            let mut filled = 0;
            while filled < count {
                let first = pixels[filled];
                let run = (filled..count).take_while(|&i| pixels[i] == first + i - filled).count();
                self.grid.places(first - strip.image * self.grid.height * self.grid.width, &mut places[filled..filled + run]);
                pack(first, filled, run);
                filled += run;
            }
            let coming = match following {
                _ if block + 1 < blocks => left.take(&mut next[..part(total, blocks, block + 1).len()]),
                Some((strip, fresh)) => Pixels::of(self.missing(strip, fresh)).take(&mut next[..block_pixels]),
                None => 0,
            };
            multiply(&places[..count], &next[..coming]);
            (pixels, count) = (next, coming);
        }
    }

    /// Runs of the slab's pixels that [`Self::in_blocks`] goes through.
    #[inline(always)]
    fn missing(&self, strip: Strip, fresh: bool) -> impl Iterator<Item = Range<usize>> {
        let Grid { height, width, .. } = self.grid;
        let image = strip.image * height * width;
        let Range { start: from, end: to } = self.new_rows(strip, fresh);
        // Without spans a strip is one run.
        let rows = if from >= to || self.spans.is_some() { from..to } else { from..from + 1 };
        rows.map(move |y| match self.spans {
            Some(_) => {
                let wanted = self.mid_columns(y);
                let columns = self.unknown.map_or(wanted, |unknown| wanted.common(unknown[y])).columns();
                image + y * width + columns.start..image + y * width + columns.end
            }
            None if strip.images > 1 => image..image + strip.images * height * width,
            None => image + from * width..image + to * width,
        })
    }

    /// Mid rows of a strip that the ring does not hold yet.
    #[inline(always)]
    fn new_rows(&self, strip: Strip, fresh: bool) -> Range<usize> {
        let from = if fresh { strip.first_row.saturating_sub(1) } else { strip.first_row + 1 };
        from..(strip.end_row + 1).min(self.grid.height)
    }

    /// Copies what [`Self::in_blocks`] leaves out because it is known: runs of pixels of `known` \[height, width, mid\] to places in `ring`.
    ///
    /// # Safety
    /// `ring` is a ring of this grid, and `known` as long as [`Self::new`] wants it.
    #[inline(always)]
    pub(crate) unsafe fn copy_known<T: Copy>(&self, strip: Strip, fresh: bool, known: &[T], mid: usize, ring: *mut T) {
        let Some(unknown) = self.unknown else { return };
        for y in self.new_rows(strip, fresh) {
            let wanted = self.mid_columns(y);
            let inner = wanted.common(unknown[y]);
            let (left, right) = if inner.is_empty() { (wanted, Span::default()) } else { wanted.around(inner) };
            for x in left.columns().chain(right.columns()) {
                let place = self.grid.mid_at(0, y + 1) + (x + 1) * self.grid.mid_stride;
                // SAFETY: a pixel of the map and its place in the ring, whose pixels are at least `mid` numbers apart.
                unsafe { ring.add(place).copy_from_nonoverlapping(known.as_ptr().add((y * self.grid.width + x) * mid), mid) };
            }
        }
    }

    /// Columns of a mid row that the tiles above and below it read.
    fn mid_columns(&self, y: usize) -> Span {
        self.spans.map_or(Span { start: 0, end: self.grid.width }, |spans| wanted_columns(spans, self.grid.width, y))
    }
}

/// Columns of mid row `y` that wanted tiles, one span a tile row, read.
pub(crate) fn wanted_columns(tiles: &[Span], width: usize, y: usize) -> Span {
    let (above, below) = (y.saturating_sub(1) / TILE, ((y + 1) / TILE).min(tiles.len() - 1));
    let span = tiles[y / TILE].hull(tiles[above]).hull(tiles[below]);
    if span.is_empty() {
        return Span::default();
    }
    Span { start: (span.start * TILE).saturating_sub(1), end: (span.end * TILE + 1).min(width) }
}

/// Columns of wanted tiles.
#[cfg(target_arch = "x86_64")]
pub(crate) fn columns_of(tiles: Span, width: usize) -> Span {
    Span { start: tiles.start * TILE, end: (tiles.end * TILE).min(width) }
}

/// The pixels of some runs, a few at a time.
struct Pixels<R> {
    runs: R,
    run: Range<usize>,
}

impl<R: Iterator<Item = Range<usize>>> Pixels<R> {
    #[inline(always)]
    fn of(runs: R) -> Self {
        Self { runs, run: 0..0 }
    }

    /// Fills `pixels` as far as there are any, and says how far.
    #[inline(always)]
    fn take(&mut self, pixels: &mut [usize]) -> usize {
        let mut filled = 0;
        while filled < pixels.len() {
            if self.run.is_empty() {
                let Some(run) = self.runs.next() else { break };
                self.run = run;
                continue;
            }
            let count = self.run.len().min(pixels.len() - filled);
            for (i, pixel) in pixels[filled..filled + count].iter_mut().enumerate() {
                *pixel = self.run.start + i;
            }
            (self.run.start, filled) = (self.run.start + count, filled + count);
        }
        filled
    }
}
