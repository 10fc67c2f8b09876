//! Which part of a map has to be computed.
//!
//! Around a head a CT is air, which windowing makes one constant. A pixel whose receptive field sees only that constant has the value it has
//! on an empty slice, to the bit, since every output is one chain in a fixed order: such pixels are copied from there. What differs is kept
//! as one span of columns a row, in which each step marks everything that it may change: the head is nearly convex, and a span too wide costs
//! time and never a bit. By Winograd a tile is computed whole or not at all, but what changes of it may be less.

use super::dense::DenseShape;
use super::stem::{self, StemShape};
use super::transition::TransitionShape;
use super::winograd::TILE;
use std::ops::Range;

/// Columns `start..end` of a row, or tiles of a tile row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub start: usize,
    /// One past the last one; not above `start` where there is none.
    pub end: usize,
}

impl Span {
    /// How many columns.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no column.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The columns.
    pub fn columns(self) -> Range<usize> {
        self.start..self.end.max(self.start)
    }

    /// The columns of both.
    pub fn common(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// What lies to the left and to the right of a part.
    pub fn around(self, part: Self) -> (Self, Self) {
        (Self { start: self.start, end: part.start }, Self { start: part.end, end: self.end })
    }

    /// The smallest span that holds both.
    pub fn hull(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { start: self.start.min(other.start), end: self.end.max(other.end) },
        }
    }
}

/// What of a dense layer has to be computed; the rest is an empty slice's.
#[derive(Clone, Copy)]
pub struct Marked<'a, T> {
    /// Wanted tiles, one span a tile row.
    pub tiles: &'a [Span],
    /// The pixels that the layer reads and that differ from the empty slice's, one span a row.
    pub pixels: &'a [Span],
    /// The empty slice's map between the convolutions, \[height, width, mid\], if it was kept: then only those pixels go through the first one.
    pub mid: Option<&'a [T]>,
}

fn hull(rows: &[Span]) -> Span {
    rows.iter().fold(Span::default(), |a, b| a.hull(*b))
}

/// Outputs of `kernel` inputs each, `stride` apart and reaching `pad` before the first input, that see any of `inputs`.
fn seen(inputs: Span, kernel: usize, stride: usize, pad: usize, outputs: usize) -> Span {
    if inputs.is_empty() {
        return Span::default();
    }
    // Output o sees stride·o − pad .. stride·o − pad + kernel.
    let start = (inputs.start + pad + 1).saturating_sub(kernel).div_ceil(stride);
    let end = ((inputs.end - 1 + pad) / stride + 1).min(outputs);
    Span { start, end: end.max(start) }
}

/// Inputs of row or column `o` of such a step, cut to `inputs`.
fn sees(o: usize, kernel: usize, stride: usize, pad: usize, inputs: usize) -> Range<usize> {
    (stride * o).saturating_sub(pad)..(stride * o + kernel - pad).min(inputs)
}

/// What differs from `air` \[channels\] in a planar image \[channels, rows, columns\], by the bits.
pub fn differing(image: &[f32], air: &[f32], columns: usize, rows: &mut [Span]) {
    let height = rows.len();
    rows.fill(Span::default());
    for (channel, air) in image.chunks_exact(height * columns).zip(air) {
        let differs = |v: &f32| v.to_bits() != air.to_bits();
        for (row, values) in rows.iter_mut().zip(channel.chunks_exact(columns)) {
            // Only what lies outside the span so far can widen it.
            let (first, last) = if row.is_empty() { (columns, 0) } else { (row.start, row.end) };
            let start = values[..first].iter().position(differs).unwrap_or(first);
            let end = values[last..].iter().rposition(differs).map_or(last, |i| last + i + 1);
            *row = if start < end { Span { start, end } } else { Span::default() };
        }
    }
}

impl StemShape {
    /// Pooled pixels that may change where the input's spans do, by tiles of four columns after the convolution: of inputs that only the rim of a tile's
    /// holds, no more than see them (their products enter no other output).
    pub fn spans(&self, input: &[Span], output: &mut [Span]) {
        let columns = self.conv().1;
        self.pooled_spans(input, output, |inputs| {
            let tiles = seen(inputs, stem::STEP + 1, stem::STEP, 1, columns.div_ceil(stem::TILE));
            let whole = Span { start: stem::TILE * tiles.start, end: (stem::TILE * tiles.end).min(columns) };
            seen(inputs, stem::WINDOW, 2, 3, columns).hull(whole)
        });
    }

    /// Pooled pixels that see any of the input's spans, for a stem that goes pixel by pixel.
    pub fn spans_by_pixel(&self, input: &[Span], output: &mut [Span]) {
        self.pooled_spans(input, output, |inputs| seen(inputs, stem::WINDOW, 2, 3, self.conv().1));
    }

    /// The same with what a row after the convolution has of the input's columns.
    fn pooled_spans(&self, input: &[Span], output: &mut [Span], convolved: impl Fn(Span) -> Span) {
        let (conv_rows, columns) = (self.conv().0, self.output().1);
        for (row, out) in output.iter_mut().enumerate() {
            let conv = sees(row, 3, 2, 1, conv_rows);
            let rows = (2 * conv.start).saturating_sub(3)..(2 * conv.end + 2).min(self.height);
            *out = seen(convolved(hull(&input[rows])), 3, 2, 1, columns);
        }
    }
}

impl DenseShape {
    /// Tiles \[tile rows\] that see any of the map's spans \[rows\], which grow by what may change in those tiles: by Winograd that is the whole tile,
    /// but of inputs that only its patch's rim holds, no more than the row or column beside them (their products enter no other output).
    pub fn spans(&self, map: &mut [Span], tiles: &mut [Span]) {
        let columns = self.width.div_ceil(TILE);
        let mut above = Span::default();
        for (tile_row, out) in tiles.iter_mut().enumerate() {
            let first = tile_row * TILE;
            let end = (first + TILE).min(self.height);
            let below = map.get(end).copied().unwrap_or_default();
            let (inner, last) = (hull(&map[first..end]), map[end - 1]);
            *out = seen(inner.hull(above).hull(below), TILE + 2, TILE, 1, columns);
            for (y, row) in (first..end).zip(&mut map[first..end]) {
                let mut inputs = inner;
                if y == first {
                    inputs = inputs.hull(above);
                }
                if y + 1 == first + TILE {
                    inputs = inputs.hull(below);
                }
                *row = row.hull(changed(inputs, self.width));
            }
            above = last;
        }
    }
}

/// Columns that may change where `inputs` did: the tiles that hold them, and a column of each neighbour whose rim they reach.
fn changed(inputs: Span, width: usize) -> Span {
    if inputs.is_empty() {
        return inputs;
    }
    let start = if inputs.start.is_multiple_of(TILE) { inputs.start.saturating_sub(1) } else { inputs.start / TILE * TILE };
    let end = if inputs.end.is_multiple_of(TILE) { inputs.end + 1 } else { inputs.end.next_multiple_of(TILE) };
    Span { start, end: end.min(width) }
}

impl TransitionShape {
    /// Pooled pixels that see any of the map's spans; `output` may be longer than there are rows.
    pub fn spans(&self, map: &[Span], output: &mut [Span]) {
        for (out, rows) in output.iter_mut().zip(map.chunks_exact(2)) {
            *out = seen(hull(rows), 2, 2, 0, self.width / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seen_is_what_sees_says() {
        for (kernel, stride, pad) in [(7, 2, 3), (3, 2, 1), (6, 4, 1), (2, 2, 0)] {
            for inputs in [5usize, 8, 13] {
                let outputs = (inputs + 2 * pad).saturating_sub(kernel) / stride + 1;
                for start in 0..inputs {
                    for end in start + 1..=inputs {
                        let expected: Vec<usize> =
                            (0..outputs).filter(|&o| sees(o, kernel, stride, pad, inputs).any(|i| (start..end).contains(&i))).collect();
                        let span = seen(Span { start, end }, kernel, stride, pad, outputs);
                        assert_eq!(span.columns().collect::<Vec<_>>(), expected, "{kernel} {stride} {pad} {inputs} {start}..{end}");
                    }
                }
            }
        }
    }

    /// By the transforms' zeros: with one input changed, what `spans` marks holds every output whose products it enters.
    #[test]
    fn a_tile_changes_where_the_transforms_say() {
        // Bᵀ and Aᵀ of F(4, 3): which inputs enter a product, and which products an output.
        let enters = |input: usize, point: usize| match point {
            0 => matches!(input, 0 | 2 | 4),
            5 => matches!(input, 1 | 3 | 5),
            _ => (1..5).contains(&input),
        };
        let takes = |output: usize, point: usize| (1..5).contains(&point) || (output, point) == (0, 0) || (output, point) == (3, 5);
        let changes = |input: usize, output: usize| {
            let (tile, place) = (output / TILE, output % TILE);
            (input + 1).checked_sub(tile * TILE).is_some_and(|i| i < 6 && (0..6).any(|p| enters(i, p) && takes(place, p)))
        };
        for (height, width) in [(9, 14), (8, 8), (5, 3), (13, 16)] {
            let shape = DenseShape { images: 1, height, width, slab_stride: 32, in_channels: 16, mid: 64, growth: 16 };
            for (row, column) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let mut map = vec![Span::default(); height];
                map[row] = Span { start: column, end: column + 1 };
                let mut tiles = vec![Span::default(); height.div_ceil(TILE)];
                shape.spans(&mut map, &mut tiles);
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    if changes(row, y) && changes(column, x) {
                        assert!(map[y].columns().contains(&x), "{height}x{width}: {row},{column} changes {y},{x}");
                        assert!(tiles[y / TILE].columns().contains(&(x / TILE)));
                    }
                }
                let marked: usize = map.iter().map(|s| s.len()).sum();
                assert!(marked <= 25, "{marked} pixels for one");
            }
        }
    }

    /// The stem's pooled pixels change where its transforms' zeros say: of a tile's thirteen columns the outer two on either side enter its first or last output.
    #[test]
    fn a_stem_changes_where_the_transforms_say() {
        for (height, width) in [(9, 40), (3, 7), (12, 33)] {
            let shape = StemShape { channels: 1, height, width, out_channels: 16, slab_stride: 16 };
            let ((_, columns), (rows, pooled)) = (shape.conv(), shape.output());
            let changes = |input: usize, x: usize| match (input + 3).checked_sub(stem::STEP * (x / stem::TILE)) {
                Some(0 | 1) => x.is_multiple_of(stem::TILE),
                Some(11 | 12) => x % stem::TILE == stem::TILE - 1,
                Some(i) => i < 11,
                None => false,
            };
            for (row, column) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let mut input = vec![Span::default(); height];
                input[row] = Span { start: column, end: column + 1 };
                let (mut by_tile, mut by_pixel) = (vec![Span::default(); rows], vec![Span::default(); rows]);
                shape.spans(&input, &mut by_tile);
                shape.spans_by_pixel(&input, &mut by_pixel);
                for (y, x) in (0..rows).flat_map(|y| (0..pooled).map(move |x| (y, x))) {
                    let sees_row = sees(y, 3, 2, 1, shape.conv().0).any(|y| sees(y, 7, 2, 3, height).contains(&row));
                    let mut window = sees(x, 3, 2, 1, columns);
                    let expected = [window.clone().any(|x| changes(column, x)), window.any(|x| sees(x, 7, 2, 3, width).contains(&column))];
                    let found = [by_tile[y].columns().contains(&x), by_pixel[y].columns().contains(&x)];
                    assert_eq!(found, expected.map(|e| e && sees_row), "{height}x{width}: {row},{column} and {y},{x}");
                }
            }
        }
    }

    #[test]
    fn differing_finds_single_pixels_and_signs_of_zero() {
        let air = [0.0, 1.0];
        let mut image = [[0.0f32; 12], [1.0; 12]].concat();
        let mut rows = [Span::default(); 3];
        differing(&image, &air, 4, &mut rows);
        assert_eq!(rows, [Span::default(); 3]);
        image[1] = -0.0;
        image[12 + 3] = 2.0;
        image[12 + 11] = 1.5;
        differing(&image, &air, 4, &mut rows);
        assert_eq!(rows, [Span { start: 1, end: 4 }, Span::default(), Span { start: 3, end: 4 }]);
    }
}
