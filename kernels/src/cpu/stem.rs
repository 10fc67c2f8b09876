//! The stem in one pass: conv 7×7/2 pad 3, norm0 (folded), ReLU, maxpool 3×3/2 pad 1, planar input to the first channels of block 1's slab.
//!
//! Only seven zero-bordered input rows per channel and three rows after the convolution exist at a time. A 7×7 window is 7·channels runs of
//! seven floats, in the order channel, row, column. After ReLU nothing is below zero, so a border of zeros serves the pool as −∞ would.

use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Rows};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, panel_len};
use super::spans::Span;
use super::{Kernel, part};
use crate::isa::Isa;
use crate::parallel::{self, SharedMut};

/// Side of the window.
pub(crate) const WINDOW: usize = 7;
/// Most input channels.
pub(crate) const MAX_CHANNELS: usize = 16;

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

    /// Length of a sum: the packed weights are \[out_channels, 49 · channels\].
    pub fn k(&self) -> usize {
        self.channels * WINDOW * WINDOW
    }

    /// Floats that one worker needs.
    pub fn scratch_len(&self) -> usize {
        self.input_len() + 3 * self.conv().1 * self.out_channels
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

    /// Floats of a bordered input row, and of the seven rows of all channels.
    fn input_row(&self) -> usize {
        (self.width + 2 * WINDOW).next_multiple_of(PANEL)
    }

    fn input_len(&self) -> usize {
        self.channels * WINDOW * self.input_row()
    }
}

/// Runs the stem on one image \[channels, height, width\]; `scratch` holds [`StemShape::scratch_len`] floats for each of `workers`.
/// With `spans`, one an output row, only those pixels are written.
///
/// # Panics
/// When a slice is too short, or there are no or more than 16 channels.
pub fn stem(
    isa: Isa,
    shape: &StemShape,
    (weights, bias): (&[f32], &[f32]),
    (input, spans): (&[f32], Option<&[Span]>),
    slab: &mut [f32],
    scratch: &mut [f32],
    workers: usize,
) {
    let (rows, columns) = shape.output();
    assert!((1..=MAX_CHANNELS).contains(&shape.channels) && shape.out_channels.is_multiple_of(PANEL));
    assert!(input.len() >= shape.channels * shape.height * shape.width && shape.height > 0 && shape.width > 0);
    assert!(shape.slab_stride >= shape.out_channels && slab.len() >= rows * columns * shape.slab_stride);
    assert!(weights.len() >= matrix_len(shape.k(), shape.out_channels) && bias.len() >= shape.out_channels);
    assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
    let len = shape.scratch_len();
    assert!(scratch.len() >= len * workers);
    let slab = SharedMut::new(slab);
    parallel::over_chunks(&mut scratch[..len * workers], len, &|worker, scratch| {
        let rows = part(rows, workers, worker);
        isa.run(Worker { shape, weights, bias, input, spans, rows, slab, scratch: scratch.as_mut_ptr() });
    });
}

/// The pooled rows of one thread.
struct Worker<'a> {
    shape: &'a StemShape,
    weights: &'a [f32],
    bias: &'a [f32],
    input: &'a [f32],
    spans: Option<&'a [Span]>,
    rows: std::ops::Range<usize>,
    slab: SharedMut<'a>,
    scratch: *mut f32,
}

impl Kernel for Worker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let shape = self.shape;
        let (conv_rows, conv_columns) = shape.conv();
        if self.rows.is_empty() {
            return;
        }
        let first = (2 * self.rows.start).saturating_sub(1);
        // SAFETY: `scratch_len` laid out the input rows and the ring; `stem` checked the rest.
        unsafe {
            let ring = self.scratch.add(shape.input_len());
            self.scratch.write_bytes(0, shape.input_len());
            let mut loaded = 2 * first as isize - 3;
            let mut next = first;
            for row in self.rows.clone() {
                let end = (2 * row + 2).min(conv_rows);
                while next < end {
                    while loaded <= 2 * next as isize + 3 {
                        self.load_row(loaded);
                        loaded += 1;
                    }
                    self.convolve::<V>(next, ring.add(next % 3 * conv_columns * shape.out_channels));
                    next += 1;
                }
                self.pool::<V>(row, ring);
            }
        }
    }
}

impl Worker<'_> {
    /// Copies input row `y` of every channel between its zero borders; rows outside the image are zero.
    unsafe fn load_row(&self, y: isize) {
        let shape = self.shape;
        let slot = (y + WINDOW as isize) as usize % WINDOW;
        for c in 0..shape.channels {
            // SAFETY: slot and channel lie inside the input rows of the scratch.
            unsafe {
                let dst = self.scratch.add((c * WINDOW + slot) * shape.input_row() + 3);
                if (0..shape.height as isize).contains(&y) {
                    let from = (c * shape.height + y as usize) * shape.width;
                    let src = &self.input[from..from + shape.width];
                    dst.copy_from_nonoverlapping(src.as_ptr(), shape.width);
                } else {
                    dst.write_bytes(0, shape.width);
                }
            }
        }
    }

    /// One row after convolution, norm and ReLU.
    #[inline(always)]
    unsafe fn convolve<V: F32Lanes>(&self, row: usize, dst: *mut f32) {
        let shape = self.shape;
        let columns = shape.convolved(self.spans, row);
        if columns.is_empty() {
            return;
        }
        let mut runs = [0; MAX_CHANNELS * WINDOW];
        for (i, run) in runs.iter_mut().enumerate().take(shape.channels * WINDOW) {
            let (c, y) = (i / WINDOW, i % WINDOW);
            *run = (c * WINDOW + (2 * row + y + WINDOW - 3) % WINDOW) * shape.input_row();
        }
        // SAFETY: column x reads 7 floats from 2x of a row that has 14 more than the image; `dst` is a ring row.
        unsafe {
            V::call(Gemm {
                rows: columns.len(),
                a: self.scratch.add(2 * columns.start),
                a_rows: Rows::Stride(2),
                runs: &runs[..shape.channels * WINDOW],
                run_len: WINDOW,
                w: self.weights.as_ptr(),
                panel_len: panel_len(shape.k()),
                panels: shape.out_channels / PANEL,
                init: Init::Bias(self.bias.as_ptr()),
                dst: dst.add(columns.start * shape.out_channels),
                dst_rows: Rows::Stride(shape.out_channels),
                relu: true,
                batch: Batch::ONE,
                ahead: Ahead::NONE,
            });
        }
    }

    /// One row of the slab from the ring.
    #[inline(always)]
    unsafe fn pool<V: F32Lanes>(&self, row: usize, ring: *const f32) {
        let shape = self.shape;
        let (conv_rows, conv_columns) = shape.conv();
        let columns = shape.output().1;
        let (y0, y1) = ((2 * row).saturating_sub(1), (2 * row + 2).min(conv_rows));
        for x in shape.pooled(self.spans, row).columns() {
            let (x0, x1) = ((2 * x).saturating_sub(1), (2 * x + 2).min(conv_columns));
            for c in (0..shape.out_channels).step_by(V::LANES) {
                let mut best = V::zero();
                for y in y0..y1 {
                    for x in x0..x1 {
                        // SAFETY: the row is in the ring, the column in the row.
                        best = best.max(unsafe { V::load(ring.add((y % 3 * conv_columns + x) * shape.out_channels + c)) });
                    }
                }
                // SAFETY: a pixel of this worker's rows of the slab.
                unsafe { best.store(self.slab.at((row * columns + x) * shape.slab_stride + c)) };
            }
        }
    }
}
