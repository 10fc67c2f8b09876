//! Products of tiles: up to 32 rows of numbers times up to 32 outputs, in four tiles of sums, and what becomes of those.
//!
//! A step multiplies two tiles of rows by two of weights: four loads of 1 KiB for four products, of which each takes as long as two loads. Rows that a
//! tile has too many of are computed like the others and never stored: they must be readable, and may hold anything.

use super::{BLOCK, Finish, Precision, ROW_BYTES, ROWS, SUMS_ROW, TileKernel};
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use std::arch::asm;
use std::ops::Range;

/// Bytes of the sums of a product.
pub(crate) const SUMS: usize = BLOCK * SUMS_ROW;

/// The operands of one product, as the assembly reads them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Operands {
    /// Row 0 of each tile of rows.
    a: [*const u8; 2],
    a_stride: usize,
    /// Bytes from there to where each run of steps starts.
    runs: *const usize,
    run_count: usize,
    /// Steps of a run, at least one.
    steps: usize,
    /// Weights of each panel, run after run.
    w: [*const u8; 2],
    /// What the sums of each panel start with: rows `start_stride` apart, those of the second tile `start_second` further on.
    start: [*const u8; 2],
    start_stride: usize,
    start_second: usize,
    sums: *mut u8,
}

/// One product with `$product`; `$lower` stands for what is done where there is a second tile of rows, `$right` for a second panel.
macro_rules! multiply {
    ($operands:expr, $product:literal, [$($lower:literal)?], [$($right:literal)?], [$($both:literal)?]) => {
        asm!(
            "mov {p}, [{o} + 64]",
            "mov {s}, [{o} + 80]",
            "tileloadd tmm0, [{p} + {s}*1]",
            "add {p}, [{o} + 88]",
            concat!($($lower, "tileloadd tmm2, [{p} + {s}*1]",)? ""),
            "mov {p}, [{o} + 72]",
            concat!($($right, "tileloadd tmm1, [{p} + {s}*1]",)? ""),
            "add {p}, [{o} + 88]",
            concat!($($both, "tileloadd tmm3, [{p} + {s}*1]",)? ""),
            "mov {w0}, [{o} + 48]",
            "mov {w1}, [{o} + 56]",
            "mov {s}, [{o} + 16]",
            "mov {run}, [{o} + 24]",
            "mov {runs}, [{o} + 32]",
            "2:",
            "mov {a0}, [{run}]",
            "mov {a1}, {a0}",
            "add {a0}, [{o}]",
            "add {a1}, [{o} + 8]",
            "add {run}, 8",
            "mov {k}, [{o} + 40]",
            "3:",
            "tileloadd tmm4, [{a0} + {s}*1]",
            "tileloadd tmm6, [{w0} + {p64}*1]",
            concat!($product, " tmm0, tmm4, tmm6"),
            concat!($($right, "tileloadd tmm7, [{w1} + {p64}*1]",)? ""),
            concat!($($right, $product, " tmm1, tmm4, tmm7",)? ""),
            concat!($($lower, "tileloadd tmm5, [{a1} + {s}*1]",)? ""),
            concat!($($lower, $product, " tmm2, tmm5, tmm6",)? ""),
            concat!($($both, $product, " tmm3, tmm5, tmm7",)? ""),
            "add {a0}, 64",
            "add {a1}, 64",
            "add {w0}, 1024",
            "add {w1}, 1024",
            "dec {k}",
            "jnz 3b",
            "dec {runs}",
            "jnz 2b",
            "mov {p}, [{o} + 96]",
            "mov {s}, 128",
            "tilestored [{p} + {s}*1], tmm0",
            concat!($($right, "tilestored [{p} + {s}*1 + 64], tmm1",)? ""),
            concat!($($lower, "tilestored [{p} + {s}*1 + 2048], tmm2",)? ""),
            concat!($($both, "tilestored [{p} + {s}*1 + 2112], tmm3",)? ""),
            o = in(reg) $operands,
            p64 = in(reg) 64usize,
            p = out(reg) _,
            s = out(reg) _,
            w0 = out(reg) _,
            w1 = out(reg) _,
            run = out(reg) _,
            runs = out(reg) _,
            a0 = out(reg) _,
            a1 = out(reg) _,
            k = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// Runs the assembly for `rows` tiles of rows and `panels` panels.
///
/// # Safety
/// Tiles are configured, and the operands cover what is read and written.
#[inline(always)]
unsafe fn multiply<P: Precision>(operands: &Operands, two_tiles: bool, two_panels: bool) {
    debug_assert!(operands.run_count > 0 && operands.steps > 0);
    let o: *const Operands = operands;
    // SAFETY: as promised.
    unsafe {
        match (P::BYTES, two_tiles, two_panels) {
            (false, true, true) => multiply!(o, "tdpbf16ps", [""], [""], [""]),
            (false, false, true) => multiply!(o, "tdpbf16ps", [], [""], []),
            (false, true, false) => multiply!(o, "tdpbf16ps", [""], [], []),
            (false, false, false) => multiply!(o, "tdpbf16ps", [], [], []),
            (true, true, true) => multiply!(o, "tdpbusd", [""], [""], [""]),
            (true, false, true) => multiply!(o, "tdpbusd", [], [""], []),
            (true, true, false) => multiply!(o, "tdpbusd", [""], [], []),
            (true, false, false) => multiply!(o, "tdpbusd", [], [], []),
        }
    }
}

/// Rows of numbers that a product reads.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// Bytes from one to the next.
    pub(crate) stride: usize,
    /// Steps of a run.
    pub(crate) steps: usize,
}

/// Packed weights: panels of outputs.
#[derive(Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) data: *const u8,
    pub(crate) panel_bytes: usize,
    pub(crate) panels: usize,
}

impl Weights {
    /// Pairs of panels.
    #[inline(always)]
    fn pairs(self) -> usize {
        self.panels.div_ceil(2)
    }

    /// The output that a pair starts with, where its weights lie, and whether there is a second panel.
    #[inline(always)]
    fn pair(self, pair: usize) -> (usize, [*const u8; 2], bool) {
        let (first, two) = (self.data.wrapping_add(2 * pair * self.panel_bytes), 2 * pair + 1 < self.panels);
        (2 * pair * PANEL, [first, if two { first.wrapping_add(self.panel_bytes) } else { first }], two)
    }
}

/// What the sums of a pair of panels start with.
///
/// # Safety
/// The outputs exist.
#[inline(always)]
unsafe fn starts<F: Finish>(finish: F, output: usize, two: bool) -> [*const u8; 2] {
    // SAFETY: as promised.
    unsafe {
        let first = finish.start(output);
        [first, if two { finish.start(output + PANEL) } else { first }]
    }
}

/// Rows of sums of one panel or of two.
///
/// # Safety
/// As [`Finish::rows`].
#[inline(always)]
unsafe fn finish_rows<F: Finish>(finish: F, sums: *const u8, (output, two): (usize, bool), dst: *mut F::Number, places: &[usize]) {
    // SAFETY: as promised.
    unsafe { if two { finish.rows::<2>(sums, output, dst, places) } else { finish.rows::<1>(sums, output, dst, places) } }
}

/// Steps of packed pixels that stay in the first cache beside sums and what comes of weights.
const STEPS: usize = 12;

/// Up to 32 packed pixels times a matrix, to their places. Longer pixels are taken a part at a time, for up to [`PAIRS`] pairs of panels before the next. The
/// pointers cover the pixels, the weights, the outputs and the places, and [`PAIRS`] · [`SUMS`] bytes.
pub(crate) struct Pointwise<'a, P: Precision, F: Finish<Number = P::Number>> {
    pub(crate) pixels: *const u8,
    pub(crate) rows: Rows,
    /// Where packed blocks start, in bytes from `pixels` on, whose products are added up.
    pub(crate) blocks: &'a [usize],
    pub(crate) weights: Weights,
    pub(crate) finish: F,
    pub(crate) dst: *mut P::Number,
    /// One a pixel, in numbers.
    pub(crate) places: &'a [usize],
    pub(crate) sums: *mut u8,
}

impl<P: Precision, F: Finish<Number = P::Number>> TileKernel for Pointwise<'_, P, F> {
    #[inline(always)]
    fn run(self) {
        let parts = self.rows.steps.div_ceil(STEPS);
        let at_once = if parts * self.blocks.len() == 1 { 1 } else { PAIRS };
        for first in (0..self.weights.pairs()).step_by(at_once) {
            let pairs = first..(first + at_once).min(self.weights.pairs());
            for i in 0..self.blocks.len() * parts {
                let steps = part(self.rows.steps, parts, i % parts);
                let run = self.blocks[i / parts] + steps.start * ROW_BYTES;
                // SAFETY: by the contract of the struct.
                unsafe { self.multiply(pairs.clone(), i == 0, steps, &run) };
            }
            for (i, pair) in pairs.enumerate() {
                let (output, _, two) = self.weights.pair(pair);
                // SAFETY: as above.
                unsafe { finish_rows(self.finish, self.sums.add(i * SUMS), (output, two), self.dst, self.places) };
            }
        }
    }
}

impl<P: Precision, F: Finish<Number = P::Number>> Pointwise<'_, P, F> {
    /// Some steps of all pixels, `run` bytes from them on, times pairs of panels, added to sums that begin here or go on.
    #[inline(always)]
    unsafe fn multiply(&self, pairs: Range<usize>, begins: bool, steps: Range<usize>, run: &usize) {
        let stride = self.rows.stride;
        for (i, pair) in pairs.enumerate() {
            let (output, w, two) = self.weights.pair(pair);
            // SAFETY: by the contract of the struct.
            unsafe {
                let mut operands = Operands {
                    a: [self.pixels, self.pixels.wrapping_add(ROWS * stride)],
                    a_stride: stride,
                    runs: run,
                    run_count: 1,
                    steps: steps.len(),
                    w: w.map(|w| w.wrapping_add(steps.start * ROWS * ROW_BYTES)),
                    start: starts(self.finish, output, two),
                    start_stride: 0,
                    start_second: 0,
                    sums: self.sums.add(i * SUMS),
                };
                if !begins {
                    operands.resume();
                }
                multiply::<P>(&operands, self.places.len() > ROWS, two);
            }
        }
    }
}

/// Most pairs of tiles of a window product at once: their sums stay in the first cache beside the weights of some taps.
pub(crate) const PAIRS: usize = 8;
/// Those taps: a row of a 3×3.
const TAPS_AT_ONCE: usize = 3;

/// A convolution as runs over a map: tiles of 16 rows in equal steps, at most 2 · [`PAIRS`], two by two, to their places. The weights of some taps are read from
/// the first cache for all of the tiles. The pointers cover what they name, and [`PAIRS`] · [`SUMS`] bytes.
pub(crate) struct Window<'a, P: Precision, F: Finish<Number = P::Number>> {
    /// The first tap of the first row of each tile.
    pub(crate) tiles: &'a [*const u8],
    pub(crate) rows: Rows,
    /// Bytes from there to each tap.
    pub(crate) taps: &'a [usize],
    pub(crate) weights: Weights,
    pub(crate) finish: F,
    pub(crate) dst: *mut P::Number,
    /// Sixteen a tile, in numbers.
    pub(crate) places: &'a [usize],
    pub(crate) sums: *mut u8,
}

impl<P: Precision, F: Finish<Number = P::Number>> TileKernel for Window<'_, P, F> {
    #[inline(always)]
    fn run(self) {
        let Rows { stride, steps } = self.rows;
        for pair in 0..self.weights.pairs() {
            let (output, panels, two) = self.weights.pair(pair);
            for (part, runs) in self.taps.chunks(TAPS_AT_ONCE).enumerate() {
                let w = panels.map(|w| w.wrapping_add(part * TAPS_AT_ONCE * steps * ROWS * ROW_BYTES));
                for (i, pair) in self.tiles.chunks(2).enumerate() {
                    // SAFETY: by the contract of the struct.
                    unsafe {
                        let mut operands = Operands {
                            a: [pair[0], pair[pair.len() - 1]],
                            a_stride: stride,
                            runs: runs.as_ptr(),
                            run_count: runs.len(),
                            steps,
                            w,
                            start: starts(self.finish, output, two),
                            start_stride: 0,
                            start_second: 0,
                            sums: self.sums.add(i * SUMS),
                        };
                        if part > 0 {
                            operands.resume();
                        }
                        multiply::<P>(&operands, pair.len() == 2, two);
                    }
                }
            }
            for (i, places) in self.places.chunks(BLOCK).enumerate() {
                // SAFETY: as above.
                unsafe { finish_rows(self.finish, self.sums.add(i * SUMS), (output, two), self.dst, places) };
            }
        }
    }
}

impl Operands {
    /// Goes on from the sums that are there.
    #[inline(always)]
    fn resume(&mut self) {
        let sums = self.sums.cast_const();
        self.start = [sums, sums.wrapping_add(ROW_BYTES)];
        (self.start_stride, self.start_second) = (SUMS_ROW, ROWS * SUMS_ROW);
    }
}
