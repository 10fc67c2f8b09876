//! The stem in one pass: conv 7×7/2 pad 3, norm0 (folded), ReLU, maxpool 3×3/2 pad 1, planar input to the first channels of block 1's slab.
//!
//! Work: seven input rows per channel exist at a time, transformed for tiles of four outputs (`rows`); a row after the convolution is one product a point over
//! the 7·channels rows of its windows, and is pooled along itself as it is transformed back; of such rows three exist. After ReLU nothing is below zero, so
//! a border of zeros serves the pool as −∞ would.
//! Layouts: inputs \[channel\]\[row % 7\]\[13 planes\]\[tile\], sums \[7 points\]\[tile\]\[output\], weights a packed matrix a point.

mod rows;

use super::ahead::Ahead;
use super::bf16::convert::{ConvertShape, narrow};
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, panel_len, unaliased};
use super::spans::Span;
use super::{Kernel, part};
use crate::isa::Isa;
use crate::parallel::{self, Crew, SharedMut};
use rows::{COMMON, Columns, PLANES, POINTS};
pub(crate) use rows::{STEP, TILE};
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Side of the window.
pub(crate) const WINDOW: usize = 7;
/// Most input channels.
pub(crate) const MAX_CHANNELS: usize = 16;

/// Most tiles of a row at once: six times those of a product, whose sums stay in L2.
const AT_ONCE: usize = 36;

/// Shapes of a stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StemShape {
    /// Input channels, 1 to 16.
    pub channels: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Output channels, padded to 16.
    pub out_channels: usize,
    /// Floats from pixel to pixel of the slab.
    pub slab_stride: usize,
}

fn halved(n: usize) -> usize {
    (n - 1) / 2 + 1
}

impl StemShape {
    /// Rows and columns after the convolution.
    pub fn conv(&self) -> (usize, usize) {
        (halved(self.height), halved(self.width))
    }

    /// Rows and columns after the pool.
    pub fn output(&self) -> (usize, usize) {
        let (h, w) = self.conv();
        (halved(h), halved(w))
    }

    /// Weights of an output.
    pub fn k(&self) -> usize {
        self.runs() * WINDOW
    }

    /// Rows of a window.
    fn runs(&self) -> usize {
        self.channels * WINDOW
    }

    /// Floats of the packed weights.
    pub fn weights_len(&self) -> usize {
        rows::weights_len(self.runs(), self.out_channels)
    }

    /// Packs weights given by `weight(output, 49 · channel + 7 · row + column)`, zero for padded outputs.
    ///
    /// # Panics
    /// When `dst` is not [`Self::weights_len`] long.
    pub fn pack(&self, dst: &mut [f32], weight: impl Fn(usize, usize) -> f64) {
        rows::pack(dst, self.runs(), self.out_channels, weight);
    }

    /// Floats that one worker needs.
    pub fn scratch_len(&self) -> usize {
        let inputs = self.runs() * PLANES * self.tile_places();
        inputs + STEP * self.column_places() + POINTS * self.sums_plane() + 3 * self.ring_row() + self.output().1 * self.out_channels
    }

    /// Multiply-adds times two.
    pub fn flop(&self) -> u64 {
        let (h, w) = self.conv();
        2 * (h * w * self.out_channels * self.k()) as u64
    }

    /// Pooled columns of a row that are wanted, all without `spans`.
    pub(crate) fn pooled(&self, spans: Option<&[Span]>, row: usize) -> Span {
        spans.map_or(Span { start: 0, end: self.output().1 }, |spans| spans[row])
    }

    /// Columns of a row after the convolution that the two pooled rows which read it want.
    pub(crate) fn convolved(&self, spans: Option<&[Span]>, row: usize) -> Span {
        let last = self.output().0 - 1;
        let span = self.pooled(spans, row / 2).hull(self.pooled(spans, row.div_ceil(2).min(last)));
        if span.is_empty() {
            return Span::default();
        }
        Span { start: (2 * span.start).saturating_sub(1), end: (2 * span.end).min(self.conv().1) }
    }

    /// Tiles of a row after the convolution.
    fn tiles(&self) -> usize {
        self.conv().1.div_ceil(TILE)
    }

    /// Floats of a plane of transformed inputs.
    fn tile_places(&self) -> usize {
        self.tiles().next_multiple_of(PANEL)
    }

    /// Floats of a plane of every eighth column, with a border on either side.
    fn column_places(&self) -> usize {
        self.tile_places() + PANEL
    }

    /// Floats of a point's sums.
    fn sums_plane(&self) -> usize {
        unaliased(self.tiles().min(AT_ONCE) * self.out_channels)
    }

    /// Floats of a row pooled along itself, with what the last tile has for a column after it.
    fn ring_row(&self) -> usize {
        (2 * self.tiles() + 1) * self.out_channels
    }
}

/// Where pooled pixels go; [`StemShape::slab_stride`] counts its numbers.
pub enum Slab<'a> {
    /// As they are.
    Floats(&'a mut [f32]),
    /// The nearest bf16.
    Halves(&'a mut [u16]),
}

impl<'a> Slab<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Floats(slab) => slab.len(),
            Self::Halves(slab) => slab.len(),
        }
    }

    fn shared(self) -> To<'a> {
        match self {
            Self::Floats(slab) => To::Floats(SharedMut::new(slab)),
            Self::Halves(slab) => To::Halves(SharedMut::new(slab)),
        }
    }
}

/// [`Slab`] as workers share it.
#[derive(Clone, Copy)]
enum To<'a> {
    Floats(SharedMut<'a>),
    Halves(SharedMut<'a, u16>),
}

/// Runs the stem on one image \[channels, height, width\]; `scratch` holds [`StemShape::scratch_len`] floats for each worker of the crew.
/// With `spans`, one an output row, only those pixels are written.
///
/// # Panics
/// When a slice is too short, or there are no or more than 16 channels.
pub fn stem(
    isa: Isa,
    shape: &StemShape,
    (weights, bias): (&[f32], &[f32]),
    (input, spans): (&[f32], Option<&[Span]>),
    slab: Slab<'_>,
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (rows, columns) = shape.output();
    assert!((1..=MAX_CHANNELS).contains(&shape.channels) && shape.out_channels.is_multiple_of(PANEL));
    assert!(input.len() >= shape.channels * shape.height * shape.width && shape.height > 0 && shape.width > 0);
    assert!(shape.slab_stride >= shape.out_channels && slab.len() >= rows * columns * shape.slab_stride);
    assert!(weights.len() >= shape.weights_len() && bias.len() >= shape.out_channels);
    assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
    let len = shape.scratch_len();
    let workers = crew.workers();
    assert!(scratch.len() >= len * workers);
    let to = slab.shared();
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let rows = part(rows, workers, worker);
        isa.run(Worker { isa, shape, weights, bias, input, spans, rows, to, scratch: scratch.as_mut_ptr() });
    });
}

/// The pooled rows of one thread.
struct Worker<'a> {
    isa: Isa,
    shape: &'a StemShape,
    weights: &'a [f32],
    bias: &'a [f32],
    input: &'a [f32],
    spans: Option<&'a [Span]>,
    rows: std::ops::Range<usize>,
    to: To<'a>,
    scratch: *mut f32,
}

impl Kernel for Worker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let shape = self.shape;
        let conv_rows = shape.conv().0;
        if self.rows.is_empty() {
            return;
        }
        let first = (2 * self.rows.start).saturating_sub(1);
        // SAFETY: `scratch_len` laid out inputs, columns, sums and ring; `stem` checked the rest.
        unsafe {
            let inputs = self.scratch;
            let columns = inputs.add(shape.runs() * PLANES * shape.tile_places());
            let sums = columns.add(STEP * shape.column_places());
            let ring = sums.add(POINTS * shape.sums_plane());
            let pooled = ring.add(3 * shape.ring_row());
            inputs.write_bytes(0, columns.offset_from_unsigned(inputs));
            columns.write_bytes(0, sums.offset_from_unsigned(columns));
            let mut loaded = 2 * first as isize - 3;
            let mut next = first;
            for row in self.rows.clone() {
                let end = (2 * row + 2).min(conv_rows);
                while next < end {
                    while loaded <= 2 * next as isize + 3 {
                        self.load_row::<V>(loaded, columns);
                        loaded += 1;
                    }
                    self.convolve::<V>(next, sums, ring.add(next % 3 * shape.ring_row()));
                    next += 1;
                }
                self.pool::<V>(row, ring, pooled);
            }
        }
    }
}

impl Worker<'_> {
    /// Transforms input row `y` of every channel; rows outside the image are zero.
    #[inline(always)]
    unsafe fn load_row<V: F32Lanes>(&self, y: isize, columns: *mut f32) {
        let shape = self.shape;
        let (places, plane) = (shape.column_places(), shape.tile_places());
        let slot = (y + WINDOW as isize) as usize % WINDOW;
        for c in 0..shape.channels {
            // SAFETY: slot and channel lie inside the inputs of the scratch; columns of the image go to places 1 and on of their planes, which have a border.
            unsafe {
                let dst = self.scratch.add((c * WINDOW + slot) * PLANES * plane);
                if !(0..shape.height as isize).contains(&y) {
                    dst.write_bytes(0, PLANES * plane);
                    continue;
                }
                let row = &self.input[(c * shape.height + y as usize) * shape.width..][..shape.width];
                let (whole, rest) = row.as_chunks::<STEP>();
                for (tile, values) in whole.iter().enumerate() {
                    for (i, value) in values.iter().enumerate() {
                        *columns.add(i * places + 1 + tile) = *value;
                    }
                }
                for (i, value) in rest.iter().enumerate() {
                    *columns.add(i * places + 1 + whole.len()) = *value;
                }
                for tile in (0..shape.tiles()).step_by(V::LANES) {
                    Columns { start: columns, stride: places }.transform::<V>(tile, dst, plane);
                }
            }
        }
    }

    /// One row after convolution and norm, pooled along itself.
    #[inline(always)]
    unsafe fn convolve<V: F32Lanes>(&self, row: usize, sums: *mut f32, dst: *mut f32) {
        let shape = self.shape;
        let columns = shape.convolved(self.spans, row);
        if columns.is_empty() {
            return;
        }
        let (plane, n) = (shape.tile_places(), shape.out_channels);
        let mut runs = [0; 2 * MAX_CHANNELS * WINDOW];
        let count = shape.runs();
        for i in 0..count {
            let (c, y) = (i / WINDOW, i % WINDOW);
            runs[i] = (c * WINDOW + (2 * row + y + WINDOW - 3) % WINDOW) * PLANES * plane;
            runs[count + i] = runs[i] + POINTS * plane;
        }
        let tiles = columns.start / TILE..columns.end.div_ceil(TILE);
        let parts = tiles.len().div_ceil(AT_ONCE);
        let matrix = matrix_len(2 * count, n);
        // SAFETY: the tiles exist, with a plane of inputs for each point and run; `dst` is a ring row, of which each tile writes two columns and begins a third.
        unsafe {
            dst.add(2 * tiles.start * n).write_bytes(0, n);
            for part in (0..parts).map(|i| part(tiles.len(), parts, i)) {
                let first = tiles.start + part.start;
                let product = Gemm {
                    rows: part.len(),
                    a: self.scratch.add(first),
                    a_rows: Rows::Stride(1),
                    runs: &runs[..2 * count],
                    run_len: 1,
                    w: self.weights.as_ptr(),
                    panel_len: panel_len(2 * count),
                    panels: n / PANEL,
                    init: Init::Zero,
                    dst: sums,
                    dst_rows: Rows::Stride(n),
                    relu: false,
                    batch: Batch { count: COMMON, a: plane, w: matrix, dst: shape.sums_plane() },
                    ahead: Ahead::NONE,
                };
                V::call(product);
                V::call(Gemm {
                    a: product.a.add(COMMON * plane),
                    runs: &runs[..count],
                    w: product.w.add(COMMON * matrix),
                    panel_len: panel_len(count),
                    dst: sums.add(COMMON * shape.sums_plane()),
                    batch: Batch::ONE,
                    ..product
                });
                for tile in 0..part.len() {
                    self.transform_back::<V>(sums.add(tile * n), first + tile, dst);
                }
            }
        }
    }

    /// The outputs of one tile, and what a window of the pool along the row sees of them.
    #[inline(always)]
    unsafe fn transform_back<V: F32Lanes>(&self, sums: *const f32, tile: usize, dst: *mut f32) {
        let shape = self.shape;
        let n = shape.out_channels;
        let exist = shape.conv().1 - TILE * tile;
        for c in (0..n).step_by(V::LANES) {
            // SAFETY: the sums of the tile are in every plane; `convolve` gives a ring row.
            unsafe {
                let mut m = [V::zero(); POINTS];
                for p in 0..POINTS {
                    m[p] = V::load(sums.add(p * shape.sums_plane() + c));
                }
                m[1] = m[1].add(V::load(self.bias.as_ptr().add(c)));
                let mut y = rows::output(m);
                if exist < TILE {
                    for x in exist..TILE {
                        y[x] = V::zero();
                    }
                }
                let dst = dst.add(2 * tile * n + c);
                V::load(dst).max(y[0].max(y[1])).store(dst);
                y[1].max(y[2]).max(y[3]).store(dst.add(n));
                y[3].store(dst.add(2 * n));
            }
        }
    }

    /// One row of the slab from the ring, bf16 by way of the floats of `pooled`.
    #[inline(always)]
    unsafe fn pool<V: F32Lanes>(&self, row: usize, ring: *const f32, pooled: *mut f32) {
        let shape = self.shape;
        let (columns, n, wanted) = (shape.output().1, shape.out_channels, shape.pooled(self.spans, row));
        let first = row * columns * shape.slab_stride;
        let (dst, stride) = match self.to {
            // SAFETY: the row is this worker's, and lies in the slab, whose length `stem` checked.
            To::Floats(slab) => (unsafe { slab.at(first) }, shape.slab_stride),
            To::Halves(_) => (pooled, n),
        };
        let (y0, y1) = ((2 * row).saturating_sub(1), (2 * row + 2).min(shape.conv().0));
        for x in wanted.columns() {
            for c in (0..n).step_by(V::LANES) {
                let mut best = V::zero();
                for y in y0..y1 {
                    // SAFETY: the row is in the ring, the column in the row.
                    best = best.max(unsafe { V::load(ring.add(y % 3 * shape.ring_row() + x * n + c)) });
                }
                // SAFETY: a pixel of the row.
                unsafe { best.store(dst.add(x * stride + c)) };
            }
        }
        if let To::Halves(slab) = self.to {
            let map = ConvertShape { height: 1, width: columns, channels: n, floats_stride: n, halves_stride: shape.slab_stride };
            // SAFETY: the row of the slab is this worker's alone; the floats were laid out, and are read only where they were written above.
            let (src, dst) =
                unsafe { (from_raw_parts(pooled, columns * n), from_raw_parts_mut(slab.at(first), columns * shape.slab_stride)) };
            narrow(self.isa, &map, (src, Some(&[wanted])), dst, &Crew::alone());
        }
    }
}
