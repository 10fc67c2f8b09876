//! How a map is cut for a dense layer: strips of whole tile rows of one image, or whole images where they are small, and which tiles and mid
//! pixels of a strip are wanted. The same cut as in fp32, which also says which tiles see air alone ([`crate::cpu::spans`]).

use super::winograd::TILE;
use crate::cpu::dense::DenseShape;
use crate::cpu::spans::Span;

/// Tiles whose products share one pass over U: enough to pay for streaming it, few enough for V to stay in L2.
const TILES: usize = 16;

const _: () = assert!(TILE == crate::cpu::winograd::TILE, "spans count the tiles of fp32");

/// The cut of a map.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    images: usize,
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
    pub(crate) fn new(shape: &DenseShape, workers: usize) -> Self {
        let (tile_rows, tile_columns) = (shape.height.div_ceil(TILE), shape.width.div_ceil(TILE));
        let fair = (tile_rows * shape.images).div_ceil(workers.max(1)).min(tile_rows);
        let strip_tile_rows = (TILES / tile_columns).clamp(1, fair);
        let strip_images = if strip_tile_rows == tile_rows { (TILES / (tile_rows * tile_columns)).clamp(1, shape.images) } else { 1 };
        let mid_stride = super::layout::unaliased(shape.mid);
        Self {
            images: shape.images,
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
}

impl Tiles<'_> {
    /// Wanted tiles of a tile row.
    #[inline(always)]
    pub(crate) fn of_row(&self, tile_row: usize) -> Span {
        self.spans.map_or(Span { start: 0, end: self.grid.tile_columns }, |spans| spans[tile_row])
    }

    /// Tile rows of a strip that lie in the map.
    #[inline(always)]
    fn rows(&self, strip: Strip) -> std::ops::Range<usize> {
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

    /// Columns of a mid row that the tiles above and below it read.
    pub(crate) fn mid_columns(&self, y: usize) -> Span {
        let width = self.grid.width;
        let Some(spans) = self.spans else { return Span { start: 0, end: width } };
        let (above, below) = (y.saturating_sub(1) / TILE, ((y + 1) / TILE).min(spans.len() - 1));
        let span = spans[y / TILE].hull(spans[above]).hull(spans[below]);
        if span.is_empty() {
            return Span::default();
        }
        Span { start: (span.start * TILE).saturating_sub(1), end: (span.end * TILE + 1).min(width) }
    }
}
