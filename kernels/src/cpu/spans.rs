//! Which part of a map has to be computed.
//!
//! Around a head a CT is air, which windowing makes one constant. A pixel whose receptive field sees only that constant has the value it has
//! on an empty slice, to the bit, since every output is one chain in a fixed order: such pixels are copied from there. What differs is kept
//! as one span of columns a row, in which each step marks everything that it may change: the head is nearly convex, and a span too wide costs
//! time and never a bit. By Winograd a tile is computed whole or not at all.

use super::dense::DenseShape;
use super::stem::StemShape;
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

    /// The smallest span that holds both.
    pub fn hull(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { start: self.start.min(other.start), end: self.end.max(other.end) },
        }
    }
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
    /// Pooled pixels that see any of the input's spans.
    pub fn spans(&self, input: &[Span], output: &mut [Span]) {
        let ((conv_rows, conv_columns), columns) = (self.conv(), self.output().1);
        for (row, out) in output.iter_mut().enumerate() {
            let conv = sees(row, 3, 2, 1, conv_rows);
            let rows = (2 * conv.start).saturating_sub(3)..(2 * conv.end + 2).min(self.height);
            *out = seen(seen(hull(&input[rows]), 7, 2, 3, conv_columns), 3, 2, 1, columns);
        }
    }
}

impl DenseShape {
    /// Tiles \[tile rows\] that see any of the map's spans \[rows\], which grow by what those tiles write.
    pub fn spans(&self, map: &mut [Span], tiles: &mut [Span]) {
        let columns = self.width.div_ceil(TILE);
        for (row, out) in tiles.iter_mut().enumerate() {
            let rows = sees(row, TILE + 2, TILE, 1, self.height);
            *out = seen(hull(&map[rows]), TILE + 2, TILE, 1, columns);
        }
        for (y, row) in map.iter_mut().enumerate() {
            let tiles = tiles[y / TILE];
            *row = row.hull(Span { start: tiles.start * TILE, end: (tiles.end * TILE).min(self.width) });
        }
    }
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
