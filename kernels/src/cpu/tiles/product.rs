//! Products of tiles: up to 32 rows of numbers times up to 32 outputs, in four tiles of sums, and what becomes of those.
//!
//! A step multiplies two tiles of rows by two of weights: four loads of 1 KiB for four products, of which each takes as long as two loads. Rows that a
//! tile has too many of are computed like the others and never stored: they must be readable, and may hold anything.

use super::{BLOCK, Finish, Precision, ROW_BYTES, ROWS, SUMS_ROW};
use crate::cpu::layout::PANEL;
use std::arch::asm;

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
    /// Weights of each panel, run after run, or where every run has the same ones, to be gone back over after each.
    w: [*const u8; 2],
    /// What the sums of each panel start with: rows `start_stride` apart, those of the second tile `start_second` further on.
    start: [*const u8; 2],
    start_stride: usize,
    start_second: usize,
    sums: *mut u8,
    /// Bytes that runs go back.
    back: usize,
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
            "sub {w0}, [{o} + 104]",
            "sub {w1}, [{o} + 104]",
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

/// Weights of a product: panels of outputs, `panel_bytes` apart, of which it takes the steps from byte `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) data: *const u8,
    pub(crate) panel_bytes: usize,
    pub(crate) panels: usize,
}

/// Up to 32 packed pixels times a matrix, to `places` of `dst`. The products of the packed blocks that start at `blocks`, in bytes from `a` on, are added up.
///
/// # Safety
/// Tiles are configured; the packed pixels, weights, outputs and places exist, and [`SUMS`] bytes of `sums` are writable.
#[inline(always)]
pub(crate) unsafe fn pointwise<P: Precision, F: Finish<Number = P::Number>>(
    (a, stride, steps): (*const u8, usize, usize),
    blocks: &[usize],
    weights: Weights,
    finish: F,
    (dst, places): (*mut P::Number, &[usize]),
    sums: *mut u8,
) {
    let two_tiles = places.len() > ROWS;
    let mut panel = 0;
    while panel < weights.panels {
        let two_panels = weights.panels - panel > 1;
        let output = panel * PANEL;
        // SAFETY: as promised; the second panel is named only where there is one.
        unsafe {
            let w = weights.data.add(panel * weights.panel_bytes);
            let second = if two_panels { weights.panel_bytes } else { 0 };
            let start = finish.start(output);
            let operands = Operands {
                a: [a, a.add(ROWS * stride)],
                a_stride: stride,
                runs: blocks.as_ptr(),
                run_count: blocks.len(),
                steps,
                w: [w, w.add(second)],
                start: [start, if two_panels { finish.start(output + PANEL) } else { start }],
                start_stride: 0,
                start_second: 0,
                sums,
                back: steps * ROWS * ROW_BYTES,
            };
            multiply::<P>(&operands, two_tiles, two_panels);
            if two_panels {
                finish.rows::<2>(sums, output, dst, places);
            } else {
                finish.rows::<1>(sums, output, dst, places);
            }
        }
        panel += 2;
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

/// Most pairs of tiles of a window product at once: their sums stay in the first cache beside the weights of three taps.
pub(crate) const PAIRS: usize = 8;

/// A 3×3 as nine runs over a map: tiles of 16 consecutive pixels that start at `tiles`, two by two, to `places`, sixteen a tile. The weights of one row of
/// taps are read from the first cache for all of the tiles.
///
/// # Safety
/// Tiles are configured; at most 2 · [`PAIRS`] tiles; pixels, weights, outputs and places exist, and [`PAIRS`] · [`SUMS`] bytes of `sums` are writable.
#[inline(always)]
pub(crate) unsafe fn window<P: Precision, F: Finish<Number = P::Number>>(
    (tiles, stride, steps): (&[*const u8], usize, usize),
    taps: &[usize; 9],
    weights: Weights,
    finish: F,
    (dst, places): (*mut P::Number, &[usize]),
    sums: *mut u8,
) {
    let mut panel = 0;
    while panel < weights.panels {
        let two_panels = weights.panels - panel > 1;
        let output = panel * PANEL;
        // SAFETY: as promised; the second panel and the second tile are named only where there is one.
        unsafe {
            let second = if two_panels { weights.panel_bytes } else { 0 };
            let start = finish.start(output);
            let starts = [start, if two_panels { finish.start(output + PANEL) } else { start }];
            for (row, runs) in taps.chunks_exact(3).enumerate() {
                let w = weights.data.add(panel * weights.panel_bytes + row * 3 * steps * ROWS * ROW_BYTES);
                for (i, pair) in tiles.chunks(2).enumerate() {
                    let mut operands = Operands {
                        a: [pair[0], pair[pair.len() - 1]],
                        a_stride: stride,
                        runs: runs.as_ptr(),
                        run_count: 3,
                        steps,
                        w: [w, w.add(second)],
                        start: starts,
                        start_stride: 0,
                        start_second: 0,
                        sums: sums.add(i * SUMS),
                        back: 0,
                    };
                    if row > 0 {
                        operands.resume();
                    }
                    multiply::<P>(&operands, pair.len() == 2, two_panels);
                }
            }
            for (i, places) in places.chunks(BLOCK).enumerate() {
                if two_panels {
                    finish.rows::<2>(sums.add(i * SUMS), output, dst, places);
                } else {
                    finish.rows::<1>(sums.add(i * SUMS), output, dst, places);
                }
            }
        }
        panel += 2;
    }
}
