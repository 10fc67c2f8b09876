//! The convolution of the stem over floats in tiles: inputs and weights as sums of two bf16 each, the nearest and that nearest to the rest, of whose four
//! products the three larger ones are added up in float32, smaller ones first. What is left out is below 2⁻¹⁶ of a product, where plain bf16 would lose 2⁻⁸ of
//! it, so that one in a few hundred outputs becomes another bf16 than that of float32. (Three parts and six products would be float32's, and take its time.)
//!
//! Layouts: as in the integer stem ([`super::stem`]), \[channel\]\[column\]\[row % 8\], once for each part; a window is two steps of a channel. Weights are one
//! matrix \[outputs, 3 · 64 · channels\] for each phase, part by part as they are multiplied.

use super::bf16::Floats;
use super::product::{PAIRS, Rows, SUMS, Weights, Window};
use super::stem::{BORDER, Convolution, LINES, PHASES, first_line};
use super::{Half, NOWHERE, Precision, ROW_BYTES, ROWS, TileKernel};
use crate::cpu::bf16::numbers::{narrow, widen};
use crate::cpu::layout::PANEL;
use crate::cpu::spans::Span;
use crate::cpu::stem::{MAX_CHANNELS, StemShape, WINDOW};
use crate::isa::Amx;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// Bytes of a column.
const COLUMN: usize = 2 * LINES;
/// Steps of a channel's window: of eight columns, four in each.
const STEPS: usize = 8 * COLUMN / ROW_BYTES;
/// Most outputs of a row at once.
const AT_ONCE: usize = 2 * PAIRS * ROWS;
/// Parts of a number.
const PARTS: usize = 2;
/// Which parts of inputs and weights are multiplied.
const PRODUCTS: [(usize, usize); 3] = [(1, 0), (0, 1), (0, 0)];

/// Bytes of a channel in a part of the input rows: with what the last tiles read beyond them.
fn channel_len(shape: &StemShape) -> usize {
    ((shape.width + 2 * (BORDER + ROWS)) * COLUMN + STEPS * ROW_BYTES).next_multiple_of(64)
}

/// Bytes that a worker needs beside its rows of sums.
pub(crate) fn scratch_len(shape: &StemShape) -> usize {
    PAIRS * SUMS + PARTS * shape.channels * channel_len(shape)
}

/// Inputs of the matrix of a phase.
fn inputs(shape: &StemShape) -> usize {
    PRODUCTS.len() * shape.channels * STEPS * Half::STEP
}

/// Numbers of the packed weights.
pub(crate) fn weights_len(shape: &StemShape) -> usize {
    PHASES * shape.out_channels / PANEL * Half::panel_bytes(inputs(shape)) / 2
}

/// Packs weights given by `weight(output, 49 · channel + 7 · row + column)`.
///
/// # Panics
/// When `dst` is not [`weights_len`] long.
pub(crate) fn pack(shape: &StemShape, dst: &mut [u16], weight: impl Fn(usize, usize) -> f32) {
    assert_eq!(dst.len(), weights_len(shape));
    dst.fill(0);
    let (panel, channel) = (Half::panel_bytes(inputs(shape)) / 2, STEPS * Half::STEP);
    for (o, i) in (0..shape.out_channels).flat_map(|o| (0..shape.k()).map(move |i| (o, i))) {
        let (c, row, x) = (i / (WINDOW * WINDOW), i / WINDOW % WINDOW, i % WINDOW);
        let mut rest = weight(o, i);
        let parts: [u16; PARTS] = std::array::from_fn(|_| {
            let part = narrow(rest);
            rest -= widen(part);
            part
        });
        for phase in 0..PHASES {
            let within = c * channel + x * LINES + (first_line(phase) + row) % LINES;
            for (product, (_, part)) in PRODUCTS.into_iter().enumerate() {
                let k = product * shape.channels * channel + within;
                let at = (phase * shape.out_channels / PANEL + o / PANEL) * panel + k / 2 * 2 * PANEL + o % PANEL * 2 + k % 2;
                dst[at] = parts[part];
            }
        }
    }
}

/// The input rows of one worker.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) token: Amx,
    pub(crate) shape: &'a StemShape,
    /// \[channels, height, width\].
    pub(crate) input: &'a [f32],
    /// By [`pack`].
    pub(crate) weights: &'a [u16],
    /// [`scratch_len`] bytes.
    pub(crate) scratch: *mut u8,
}

impl Convolution for Lines<'_> {
    unsafe fn clear(&self) {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(PAIRS * SUMS).write_bytes(0, PARTS * self.shape.channels * channel_len(self.shape)) };
    }

    unsafe fn load(&self, y: isize) {
        super::run(self.token, Load { lines: self, y });
    }

    unsafe fn convolve(&self, row: usize, columns: Span, dst: *mut f32) {
        super::run(self.token, Convolve { lines: self, row, columns, dst });
    }
}

impl Lines<'_> {
    /// A channel of a part of the inputs.
    #[inline(always)]
    unsafe fn channel(&self, part: usize, c: usize) -> *mut u8 {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(PAIRS * SUMS + (part * self.shape.channels + c) * channel_len(self.shape)) }
    }
}

struct Load<'a> {
    lines: &'a Lines<'a>,
    y: isize,
}

// SAFETY (all blocks below): these run inside the shim of tiles alone, as in `bf16`. The columns lie in the image, and their numbers in the scratch, which
// has room for sixteen columns behind it: those get zeros.
#[allow(clippy::undocumented_unsafe_blocks)]
impl TileKernel for Load<'_> {
    #[inline(always)]
    fn run(self) {
        let shape = self.lines.shape;
        let line = self.y.rem_euclid(LINES as isize) as usize;
        for (c, x) in (0..shape.channels).flat_map(|c| (0..shape.width).step_by(16).map(move |x| (c, x))) {
            unsafe {
                let (upper, below) = (self.numbers(c, self.y, x), self.numbers(c, self.y + 1, x));
                let at = (x + BORDER) * COLUMN + 2 * line;
                for part in 0..PARTS {
                    store_pairs(upper[part], below[part], self.lines.channel(part, c).add(at));
                }
            }
        }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Load<'_> {
    /// Sixteen columns of a row as far as there are so many: the parts of each input, in 32 bits each.
    #[inline(always)]
    unsafe fn numbers(&self, c: usize, y: isize, x: usize) -> [__m512i; PARTS] {
        let shape = self.lines.shape;
        unsafe {
            if y < 0 || y as usize >= shape.height {
                return [_mm512_setzero_si512(); PARTS];
            }
            let count = (shape.width - x).min(16);
            let row = self.lines.input.as_ptr().add((c * shape.height + y as usize) * shape.width + x);
            let values = _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, row);
            let first = rounded(values);
            let rest = _mm512_sub_ps(values, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(first)));
            [first, rounded(rest)]
        }
    }
}

/// The nearest bf16, in 32 bits each.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe fn rounded(values: __m512) -> __m512i {
    unsafe { _mm512_cvtepu16_epi32(core::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values))) }
}

/// Pairs of numbers of two rows to those rows of sixteen columns, of which `dst` is the first one's upper row.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe fn store_pairs(upper: __m512i, below: __m512i, dst: *mut u8) {
    unsafe {
        let pairs = _mm512_or_si512(upper, _mm512_slli_epi32::<16>(below));
        let four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        for i in 0..4 {
            // A column is four pairs, of which the first is written.
            let columns = _mm512_permutexvar_epi32(_mm512_add_epi32(four, _mm512_set1_epi32(4 * i)), pairs);
            _mm512_mask_storeu_epi32(dst.add(4 * COLUMN * i as usize).cast(), 0x1111, columns);
        }
    }
}

struct Convolve<'a> {
    lines: &'a Lines<'a>,
    row: usize,
    columns: Span,
    dst: *mut f32,
}

impl TileKernel for Convolve<'_> {
    #[inline(always)]
    fn run(self) {
        let (lines, shape) = (self.lines, self.lines.shape);
        let (panels, panel_bytes) = (shape.out_channels / PANEL, Half::panel_bytes(inputs(shape)));
        let mut runs = [0; PRODUCTS.len() * MAX_CHANNELS];
        for (i, run) in runs.iter_mut().enumerate().take(PRODUCTS.len() * shape.channels) {
            let part = PRODUCTS[i / shape.channels].0;
            *run = (part * shape.channels + i % shape.channels) * channel_len(shape);
        }
        for x in self.columns.columns().step_by(AT_ONCE) {
            let count = (self.columns.end - x).min(AT_ONCE);
            let places: [usize; AT_ONCE] =
                std::array::from_fn(|i| if i < count { (x - self.columns.start + i) * shape.out_channels } else { NOWHERE });
            // SAFETY: windows that start at column 2x − 3 of the image lie in the rows with their borders, for whole tiles; the weights have four phases; the
            // places are columns of the row.
            unsafe {
                let first = lines.channel(0, 0).add(2 * x * COLUMN).cast_const();
                let tiles: [*const u8; 2 * PAIRS] = std::array::from_fn(|t| first.wrapping_add(2 * ROWS * t * COLUMN));
                super::call(Window::<Half, _> {
                    tiles: &tiles[..count.div_ceil(ROWS)],
                    rows: Rows { stride: 2 * COLUMN, steps: STEPS },
                    taps: &runs[..PRODUCTS.len() * shape.channels],
                    taps_at_once: shape.channels,
                    weights: Weights {
                        data: lines.weights.as_ptr().cast::<u8>().add(self.row % PHASES * panels * panel_bytes),
                        panel_bytes,
                        panels,
                    },
                    finish: Floats,
                    dst: self.dst,
                    places: &places[..count.next_multiple_of(ROWS)],
                    sums: lines.scratch,
                    precision: PhantomData,
                });
            }
        }
    }
}

const _: () = assert!(STEPS * ROW_BYTES == 8 * COLUMN && ROWS == 16);
