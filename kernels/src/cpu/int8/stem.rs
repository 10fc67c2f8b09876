//! The stem in integers of 16 bits: conv 7×7/2 pad 3, norm0 (folded), ReLU, maxpool 3×3/2 pad 1, planar floats to the first channels of block 1's
//! slab as codes.
//!
//! An input is `round(x · unit)` in 16 bits, a weight a number of 16 bits, their sums exact in 32 bits; an output is `max(0, fma(sum, scale, offset))` in f32,
//! pooled. A scale is not negative and a fused multiply-add rounds monotonically, so the pool may go first, over sums, and gives the same bits.
//! Only seven zero-bordered input rows per channel and three rows of sums exist at a time. The seven taps of a window row are eight numbers, four
//! pairs, of which the last weight is 0: a window is 7·channels runs of eight, in the order channel, row, column.
//! Rate: a pair a multiply, so 7/8 of twice that of fp32. In tiles the rows and the products are others (`tiles::stem`), with the same sums.

use super::IntKernel;
use super::gemm::{IntGemm, Out, Requantise, Rows};
use super::lanes::IntLanes;
use super::layout::{Pairs, floats_of_words, matrix_len, pack_matrix_of, panel_len};
#[cfg(target_arch = "x86_64")]
use super::layout::{bytes, bytes_mut};
use crate::cpu::ahead::Ahead;
use crate::cpu::gemm::Batch;
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Span;
use crate::cpu::stem::{MAX_CHANNELS, StemShape, WINDOW};
#[cfg(target_arch = "x86_64")]
use crate::cpu::tiles;
use crate::integers::Integers;
#[cfg(target_arch = "x86_64")]
use crate::isa::Amx;
use crate::parallel::{self, Crew, SharedMut};
use std::ops::Range;

/// Numbers that a window row takes.
const RUN: usize = WINDOW + 1;

/// The weights of a stem.
#[derive(Clone, Copy)]
pub struct StemWeights<'a> {
    /// What 1 is as an input number: a power of two.
    pub unit: f32,
    /// Packed by [`pack_stem`] for the level that runs.
    pub conv: &'a [i16],
    /// From sums to floats, not negative.
    pub scale: &'a [f32],
    /// See `scale`.
    pub offset: &'a [f32],
}

/// Where pooled pixels go, as the nearest codes of `scale[c] · y + offset[c]`, saturated; [`StemShape::slab_stride`] counts codes.
pub struct Slab<'a> {
    /// Codes.
    pub codes: &'a mut [u8],
    /// Per channel.
    pub scale: &'a [f32],
    /// Per channel.
    pub offset: &'a [f32],
}

/// Whether every value is finite and |x| · unit at most `largest`.
pub fn fits(level: Integers, values: &[f32], unit: f32, largest: i16) -> bool {
    let mut found = 0;
    level.run(Largest { values, found: &mut found });
    found <= (f32::from(largest) / unit).to_bits()
}

/// The largest value without its sign, as bits, in whose order infinity and NaN are above all others.
struct Largest<'a> {
    values: &'a [f32],
    found: &'a mut u32,
}

impl IntKernel for Largest<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        *self.found = self.values.iter().fold(0, |found, x| found.max(x.to_bits() & !(1 << 31)));
    }
}

/// Length of a sum with its padding.
fn k(shape: &StemShape) -> usize {
    shape.channels * WINDOW * RUN
}

/// The level that runs a stem where `level` is at hand: of one channel a window is one step of tiles, and what surrounds it takes longer than the products of
/// AVX-512 do (1.16 times, measured). The sums are the same.
pub fn quickest(level: Integers, shape: &StemShape) -> Integers {
    match level {
        Integers::Amx(_) if shape.channels == 1 => Integers::by_name("avx512-vnni").unwrap_or(level),
        _ => level,
    }
}

/// Numbers of the packed weights.
pub fn weights_len(level: Integers, shape: &StemShape) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(_) = level {
        return tiles::stem::weights_len(shape) / 2;
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    matrix_len(k(shape), shape.out_channels)
}

/// Packs weights given by `weight(output, 49 · channel + 7 · row + column)`, for input numbers up to `largest`. Whether every sum fits 32 bits whatever
/// the input is; if not, the weights must not be used.
///
/// # Panics
/// When `dst` is not [`weights_len`] long.
#[must_use]
pub fn pack_stem(level: Integers, shape: &StemShape, dst: &mut [i16], largest: i16, weight: impl Fn(usize, usize) -> i16) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(_) = level {
        tiles::stem::pack(shape, bytes_mut(dst), &weight);
        let sum = |o| (0..shape.k()).map(|i| i64::from(weight(o, i)).abs()).sum::<i64>();
        return (0..shape.out_channels).all(|o| sum(o) * i64::from(largest) <= i32::MAX.into());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    let tap = |o, i| if i % RUN < WINDOW { weight(o, i / RUN * WINDOW + i % RUN) } else { 0 };
    pack_matrix_of::<Pairs>(dst, k(shape), shape.out_channels, largest.into(), tap)
}

/// Numbers of a bordered input row, and of the seven rows of all channels.
fn input_row(shape: &StemShape) -> usize {
    (shape.width + 2 * WINDOW).next_multiple_of(2 * PANEL)
}

fn input_len(shape: &StemShape) -> usize {
    shape.channels * WINDOW * input_row(shape)
}

/// Floats of a worker's input rows.
fn rows_len(level: Integers, shape: &StemShape) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Integers::Amx(_) = level {
        return tiles::stem::scratch_len(shape) / 4;
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    floats_of_words(input_len(shape))
}

/// Floats that one worker needs.
pub fn scratch_len(level: Integers, shape: &StemShape) -> usize {
    rows_len(level, shape) + 3 * shape.conv().1 * shape.out_channels
}

/// Runs the stem on one image \[channels, height, width\] whose values are numbers that the weights were packed for ([`fits`]); `scratch` holds [`scratch_len`] floats for each worker of the crew.
/// With `spans`, one an output row, only those pixels are written.
///
/// # Panics
/// When a slice is too short, or there are no or more than 16 channels.
pub fn stem(
    level: Integers,
    shape: &StemShape,
    weights: &StemWeights<'_>,
    (input, spans): (&[f32], Option<&[Span]>),
    slab: Slab<'_>,
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (rows, columns) = shape.output();
    let n = shape.out_channels;
    assert!((1..=MAX_CHANNELS).contains(&shape.channels) && n.is_multiple_of(PANEL) && shape.slab_stride >= n);
    assert!(input.len() >= shape.channels * shape.height * shape.width && shape.height > 0 && shape.width > 0);
    assert!(weights.conv.len() >= weights_len(level, shape) && weights.scale.len() >= n && weights.offset.len() >= n);
    assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
    let Slab { codes, scale, offset } = slab;
    assert!(scale.len() >= n && offset.len() >= n && codes.len() >= rows * columns * shape.slab_stride);
    let requantise = (scale, offset);
    let slab = SharedMut::new(codes);
    let len = scratch_len(level, shape);
    let workers = crew.workers();
    assert!(scratch.len() >= len * workers);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let (words, ring) = scratch.split_at_mut(rows_len(level, shape));
        let (words, ring) = (words.as_mut_ptr().cast(), ring.as_mut_ptr());
        Worker { level, shape, weights, input, spans, slab, requantise, words, ring }.run(part(rows, workers, worker));
    });
}

/// One thread's work, row by row: each row is a kernel of its own.
struct Worker<'a> {
    level: Integers,
    shape: &'a StemShape,
    weights: &'a StemWeights<'a>,
    input: &'a [f32],
    spans: Option<&'a [Span]>,
    slab: SharedMut<'a, u8>,
    /// Scale and offset of the codes.
    requantise: (&'a [f32], &'a [f32]),
    words: *mut i16,
    ring: *mut f32,
}

impl Worker<'_> {
    fn run(&self, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Integers::Amx(token) = self.level {
            return self.run_in_tiles(token, rows);
        }
        let mut next = (2 * rows.start).saturating_sub(1);
        let mut loaded = 2 * next as isize - 3;
        // SAFETY: `scratch_len` laid out the input rows.
        unsafe { self.words.write_bytes(0, input_len(self.shape)) };
        for row in rows {
            while next < (2 * row + 2).min(self.shape.conv().0) {
                while loaded <= 2 * next as isize + 3 {
                    self.load_row(loaded);
                    loaded += 1;
                }
                self.convolve(next);
                next += 1;
            }
            self.pool(row);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn run_in_tiles(&self, token: Amx, rows: Range<usize>) {
        let Self { shape, weights: StemWeights { unit, conv, .. }, input, .. } = *self;
        let lines = tiles::stem::Lines { token, shape, unit: *unit, input, weights: bytes(conv), scratch: self.words.cast() };
        // SAFETY: `scratch_len` laid out the rows and the ring.
        unsafe { tiles::stem::pooled_rows(&lines, self.spans, rows, self.ring, |row| self.pool(row)) };
    }

    /// Input row `y` of every channel as numbers between its zero borders; rows outside the image are zero.
    fn load_row(&self, y: isize) {
        let shape = self.shape;
        let slot = (y + WINDOW as isize) as usize % WINDOW;
        for c in 0..shape.channels {
            // SAFETY: slot and channel lie inside the input rows of the scratch, the row of floats inside the image.
            unsafe {
                let dst = self.words.add((c * WINDOW + slot) * input_row(shape) + 3);
                match usize::try_from(y).ok().filter(|y| *y < shape.height) {
                    Some(y) => {
                        let src = &self.input[(c * shape.height + y) * shape.width..][..shape.width];
                        self.level.run(Load { src, unit: self.weights.unit, dst });
                    }
                    None => dst.write_bytes(0, shape.width),
                }
            }
        }
    }

    /// The sums of one row.
    fn convolve(&self, row: usize) {
        let shape = self.shape;
        let (columns, n) = (shape.convolved(self.spans, row), shape.out_channels);
        if columns.is_empty() {
            return;
        }
        let mut runs = [0; MAX_CHANNELS * WINDOW];
        for (i, run) in runs.iter_mut().enumerate().take(shape.channels * WINDOW) {
            let (c, y) = (i / WINDOW, i % WINDOW);
            *run = (c * WINDOW + (2 * row + y + WINDOW - 3) % WINDOW) * input_row(shape);
        }
        // SAFETY: column x reads 8 numbers from 2x of a row that has 14 more than the image; the sums go to their columns of a ring row.
        let (a, dst) = unsafe { (self.words.add(2 * columns.start), self.ring.add((row % 3 * shape.conv().1 + columns.start) * n)) };
        self.level.run(IntGemm::<Pairs> {
            rows: columns.len(),
            a,
            a_rows: Rows::Stride(2),
            runs: &runs[..shape.channels * WINDOW],
            run_len: RUN,
            w: self.weights.conv.as_ptr(),
            panel_len: panel_len(k(shape)),
            panels: n / PANEL,
            out: Out::Sums(dst),
            out_rows: Rows::Stride(n),
            batch: Batch::ONE,
            ahead: Ahead::NONE,
        });
    }

    /// One row of the slab from the ring.
    fn pool(&self, row: usize) {
        let (shape, weights) = (self.shape, self.weights);
        let first = row * shape.output().1 * shape.slab_stride;
        // SAFETY: the ring has three rows.
        let rows = unsafe { window_rows(shape, row, self.ring) };
        let window = Window { shape, scale: weights.scale, offset: weights.offset, rows, columns: shape.pooled(self.spans, row) };
        let (scale, offset) = self.requantise;
        let requantise = Requantise { scale: scale.as_ptr(), offset: offset.as_ptr() };
        // SAFETY: the row lies in the slab, whose length `stem` checked, and is this worker's.
        unsafe { self.level.run(PoolCodes { window, requantise, dst: self.slab.at(first) }) };
    }
}

/// A row of floats, as long as `src`, as numbers; up to fifteen zeros follow them.
struct Load<'a> {
    src: &'a [f32],
    unit: f32,
    dst: *mut i16,
}

impl IntKernel for Load<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let unit = V::Floats::splat(self.unit);
        let whole = self.src.len() / V::LANES * V::LANES;
        let mut last = [0.0; PANEL];
        last[..self.src.len() - whole].copy_from_slice(&self.src[whole..]);
        // SAFETY: the vectors lie in the row, the last one in its copy; `dst` has its border behind the row.
        unsafe {
            for x in (0..whole).step_by(V::LANES) {
                V::store_wide_codes(V::Floats::load(self.src.as_ptr().add(x)).mul(unit), self.dst.add(x));
            }
            if whole < self.src.len() {
                V::store_wide_codes(V::Floats::load(last.as_ptr()).mul(unit), self.dst.add(whole));
            }
        }
    }
}

/// The three rows of a ring that pooled row `row` reads.
///
/// # Safety
/// The ring has three rows of sums.
pub(crate) unsafe fn window_rows(shape: &StemShape, row: usize, ring: *const f32) -> [*const f32; 3] {
    let last = shape.conv().0 - 1;
    // A row outside the map is one of those inside once more, which changes no maximum.
    let rows = [(2 * row).saturating_sub(1), 2 * row, (2 * row + 1).min(last)];
    // SAFETY: as promised.
    rows.map(|y| unsafe { ring.add(y % 3 * shape.conv().1 * shape.out_channels) })
}

/// The pooled pixels of a row.
pub(crate) struct Window<'a> {
    pub(crate) shape: &'a StemShape,
    /// From sums to floats; scales are not negative.
    pub(crate) scale: &'a [f32],
    pub(crate) offset: &'a [f32],
    /// The three rows of sums.
    pub(crate) rows: [*const f32; 3],
    pub(crate) columns: Span,
}

impl Window<'_> {
    /// Channels from `c` on of pixel `x` after norm and ReLU.
    #[inline(always)]
    pub(crate) unsafe fn value<F: F32Lanes>(&self, x: usize, c: usize) -> F {
        let last = self.shape.conv().1 - 1;
        let columns = [(2 * x).saturating_sub(1), 2 * x, (2 * x + 1).min(last)];
        // SAFETY: these columns are in the rows, and the channels exist.
        unsafe {
            let mut best = F::load(self.rows[0].add(columns[0] * self.shape.out_channels + c));
            for row in self.rows {
                for column in columns {
                    best = best.max(F::load(row.add(column * self.shape.out_channels + c)));
                }
            }
            best.mul_add(F::load(self.scale.as_ptr().add(c)), F::load(self.offset.as_ptr().add(c))).max(F::zero())
        }
    }
}

/// A pooled row as codes.
struct PoolCodes<'a> {
    window: Window<'a>,
    requantise: Requantise,
    dst: *mut u8,
}

impl IntKernel for PoolCodes<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let shape = self.window.shape;
        for x in self.window.columns.columns() {
            for c in (0..shape.out_channels).step_by(V::LANES) {
                // SAFETY: the pixel lies in the row.
                unsafe { V::store_codes(self.requantise.apply(self.window.value(x, c), c), self.dst.add(x * shape.slab_stride + c)) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
