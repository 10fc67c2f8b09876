//! The convolution of the integer stem in tiles: numbers and weights of 16 bits as two bytes each, of which the upper one has the sign, so that a product
//! is four products of bytes, whose sums are put together in 32 bits: exact, since the whole sum fits those and what leaves them on the way wraps.
//!
//! Layouts: of the last eight input rows each column lies together, \[channel\]\[column\]\[row % 8\], once for either byte. A window is then the numbers of
//! seven columns of each channel, a step of 64 bytes with those of an eighth, and the next output's starts two columns on. What it holds of the eighth row and
//! column has weights of 0; those depend on where among the eight a window's first row is, so that there are four sets of them, one for each phase:
//! \[phase\]\[byte\]\[16 outputs\], packed as codes are.
//! Work: two input rows come in for a row of outputs. Per 16 × 32 outputs and 64 numbers, eight products for nine loads.

use super::{ROW_BYTES, ROWS, TileKernel};
use crate::cpu::layout::PANEL;
use crate::cpu::spans::Span;
use crate::cpu::stem::{StemShape, WINDOW};
use crate::isa::Amx;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

/// Input rows that lie together, and sets of weights.
const LINES: usize = 8;
const PHASES: usize = LINES / 2;
/// Columns of zeros before the image, as many as the window reaches.
const BORDER: usize = WINDOW / 2;
/// Bytes of a tile, and of the sums of a product.
const TILE_BYTES: usize = ROWS * ROW_BYTES;
const SUMS: usize = 6 * TILE_BYTES;

/// Bytes of a channel in either byte of the input rows: with what the last tile reads beyond them.
fn channel_len(shape: &StemShape) -> usize {
    ((shape.width + 2 * (BORDER + ROWS)) * LINES + ROW_BYTES).next_multiple_of(64)
}

/// Bytes of either byte of the input rows.
fn lines_len(shape: &StemShape) -> usize {
    shape.channels * channel_len(shape)
}

/// Bytes of the weights of a panel.
fn panel_bytes(shape: &StemShape) -> usize {
    shape.channels * TILE_BYTES
}

/// Bytes that a worker needs beside its rows of sums.
pub(crate) fn scratch_len(shape: &StemShape) -> usize {
    SUMS + 2 * lines_len(shape)
}

/// Bytes of the packed weights.
pub(crate) fn weights_len(shape: &StemShape) -> usize {
    PHASES * 2 * shape.out_channels / PANEL * panel_bytes(shape)
}

/// Packs weights given by `weight(output, 49 · channel + 7 · row + column)`.
///
/// # Panics
/// When `dst` is not [`weights_len`] long.
pub(crate) fn pack(shape: &StemShape, dst: &mut [u8], weight: impl Fn(usize, usize) -> i16) {
    assert_eq!(dst.len(), weights_len(shape));
    dst.fill(0);
    let plane = shape.out_channels / PANEL * panel_bytes(shape);
    for (o, i) in (0..shape.out_channels).flat_map(|o| (0..shape.k()).map(move |i| (o, i))) {
        let (c, row, x) = (i / (WINDOW * WINDOW), i / WINDOW % WINDOW, i % WINDOW);
        let [low, high] = weight(o, i).to_le_bytes();
        for phase in 0..PHASES {
            let k = c * ROW_BYTES + x * LINES + (first_line(phase) + row) % LINES;
            let at = 2 * phase * plane + o / PANEL * panel_bytes(shape) + k / 4 * ROW_BYTES + o % PANEL * 4 + k % 4;
            (dst[at], dst[at + plane]) = (high, low);
        }
    }
}

/// Where among the eight the first row of a window is: output row r begins at input row 2r − 3.
fn first_line(row: usize) -> usize {
    (2 * row + LINES - BORDER) % LINES
}

/// The input rows of one worker.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) token: Amx,
    pub(crate) shape: &'a StemShape,
    /// What 1 is as an input number.
    pub(crate) unit: f32,
    /// \[channels, height, width\].
    pub(crate) input: &'a [f32],
    /// By [`pack`].
    pub(crate) weights: &'a [u8],
    /// [`scratch_len`] bytes.
    pub(crate) scratch: *mut u8,
}

/// Goes through pooled rows: what each reads is convolved into a ring of three rows, then `pool` takes it from there.
///
/// # Safety
/// As [`Lines::convolve`]; the ring has three rows of all columns and outputs.
pub(crate) unsafe fn pooled_rows(lines: &Lines<'_>, spans: Option<&[Span]>, rows: Range<usize>, ring: *mut f32, pool: impl Fn(usize)) {
    let shape = lines.shape;
    let mut next = (2 * rows.start).saturating_sub(1);
    let mut loaded = 2 * next as isize - 4;
    // SAFETY: as promised; sums go to their columns of a ring row.
    unsafe {
        lines.clear();
        for row in rows {
            while next < (2 * row + 2).min(shape.conv().0) {
                while loaded <= 2 * next as isize + 3 {
                    lines.load(loaded);
                    loaded += 2;
                }
                let columns = shape.convolved(spans, next);
                lines.convolve(next, columns, ring.add((next % 3 * shape.conv().1 + columns.start) * shape.out_channels));
                next += 1;
            }
            pool(row);
        }
    }
}

impl Lines<'_> {
    /// Forgets all input rows.
    ///
    /// # Safety
    /// The scratch is this worker's.
    unsafe fn clear(&self) {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(SUMS).write_bytes(0, 2 * lines_len(self.shape)) };
    }

    /// Takes input rows `y`, which is even, and y + 1; outside the image they are zero.
    ///
    /// # Safety
    /// As [`Self::clear`].
    unsafe fn load(&self, y: isize) {
        super::run(self.token, Load { lines: self, y });
    }

    /// The sums of output row `row` at some columns, which [`Self::load`] has the input rows of, to `dst` \[column\]\[output\].
    ///
    /// # Safety
    /// As [`Self::clear`], and `dst` has room for the columns.
    unsafe fn convolve(&self, row: usize, columns: Span, dst: *mut f32) {
        super::run(self.token, Convolve { lines: self, row, columns, dst });
    }

    /// The upper, or lower, bytes.
    #[inline(always)]
    unsafe fn bytes(&self, low: bool) -> *mut u8 {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(SUMS + usize::from(low) * lines_len(self.shape)) }
    }
}

struct Load<'a> {
    lines: &'a Lines<'a>,
    y: isize,
}

impl TileKernel for Load<'_> {
    #[inline(always)]
    fn run(self) {
        let shape = self.lines.shape;
        let line = self.y.rem_euclid(LINES as isize) as usize;
        for (c, x) in (0..shape.channels).flat_map(|c| (0..shape.width).step_by(16).map(move |x| (c, x))) {
            let count = (shape.width - x).min(16);
            // SAFETY: the columns lie in the image, and their bytes in the scratch, which has room for sixteen columns behind it: those get zeros.
            unsafe {
                let (first, second) = (self.numbers(c, self.y, x, count), self.numbers(c, self.y + 1, x, count));
                let at = c * channel_len(shape) + (x + BORDER) * LINES;
                let byte = _mm512_set1_epi32(0xFF);
                let high = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32::<8>(first), byte), _mm512_andnot_si512(byte, second));
                let low = _mm512_or_si512(_mm512_and_si512(first, byte), _mm512_slli_epi32::<8>(second));
                store_pairs(high, line, self.lines.bytes(false).add(at));
                store_pairs(low, line, self.lines.bytes(true).add(at));
            }
        }
    }
}

// SAFETY (all blocks below): these run inside the shim of tiles alone, as in `bf16`.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Load<'_> {
    /// Numbers of up to sixteen columns of a row.
    #[inline(always)]
    unsafe fn numbers(&self, c: usize, y: isize, x: usize, count: usize) -> __m512i {
        let shape = self.lines.shape;
        unsafe {
            if y < 0 || y as usize >= shape.height {
                return _mm512_setzero_si512();
            }
            let row = self.lines.input.as_ptr().add((c * shape.height + y as usize) * shape.width + x);
            let values = _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, row);
            _mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(self.lines.unit)))
        }
    }
}

/// Pairs of bytes of two rows, the lower half of each number, to rows `line` and the next of sixteen columns.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe fn store_pairs(pairs: __m512i, line: usize, dst: *mut u8) {
    unsafe {
        let (words, place) = (_mm512_cvtepi32_epi16(pairs), _mm_cvtsi64_si128(8 * line as i64));
        // A column is four words.
        let mask = 0x1111_1111 << (line / 2);
        let columns = _mm512_sll_epi64(_mm512_cvtepu16_epi64(_mm256_castsi256_si128(words)), place);
        _mm512_mask_storeu_epi16(dst.cast(), mask, columns);
        let columns = _mm512_sll_epi64(_mm512_cvtepu16_epi64(_mm256_extracti128_si256::<1>(words)), place);
        _mm512_mask_storeu_epi16(dst.add(8 * LINES).cast(), mask, columns);
    }
}

struct Convolve<'a> {
    lines: &'a Lines<'a>,
    row: usize,
    columns: Span,
    dst: *mut f32,
}

/// The operands of one product, as the assembly reads them.
#[repr(C)]
struct Operands {
    /// Row 0 of the upper and of the lower bytes.
    a: [*const u8; 2],
    stride: usize,
    steps: usize,
    /// The same of the weights of each panel.
    w: [[*const u8; 2]; 2],
    /// Six tiles.
    sums: *mut u8,
    /// Bytes from a step of rows to the next.
    step: usize,
}

impl TileKernel for Convolve<'_> {
    #[inline(always)]
    fn run(self) {
        let (lines, shape) = (self.lines, self.lines.shape);
        let panel_bytes = panel_bytes(shape);
        let plane = shape.out_channels / PANEL * panel_bytes;
        for x in self.columns.columns().step_by(ROWS) {
            let count = (self.columns.end - x).min(ROWS);
            for panel in (0..shape.out_channels / PANEL).step_by(2) {
                let two = panel + 1 < shape.out_channels / PANEL;
                // SAFETY: a window that starts at column 2x − 3 of the image lies in the rows with their borders, for a whole tile; the weights have
                // four phases of two planes, and a second panel is named only where there is one.
                unsafe {
                    let w = lines.weights.as_ptr().add(2 * (self.row % PHASES) * plane + panel * panel_bytes);
                    let second = w.add(if two { panel_bytes } else { 0 });
                    let at = 2 * x * LINES;
                    let operands = Operands {
                        a: [lines.bytes(false).add(at), lines.bytes(true).add(at)],
                        stride: 2 * LINES,
                        steps: shape.channels,
                        w: [[w, w.add(plane)], [second, second.add(plane)]],
                        sums: lines.scratch,
                        step: channel_len(shape),
                    };
                    multiply(&operands);
                    for i in 0..count {
                        let dst = self.dst.add((x - self.columns.start + i) * shape.out_channels + panel * PANEL);
                        put_together(lines.scratch.add(i * ROW_BYTES), dst);
                        if two {
                            put_together(lines.scratch.add(3 * TILE_BYTES + i * ROW_BYTES), dst.add(PANEL));
                        }
                    }
                }
            }
        }
    }
}

/// Sixteen rows times two panels of sixteen outputs: the product of the upper bytes, the sum of the mixed ones and that of the lower ones, in a tile each.
/// The mixed ones of a panel are four products apart, as long as one takes.
#[inline(always)]
unsafe fn multiply(operands: &Operands) {
    // SAFETY: tiles are configured, and the caller's operands cover what is read and written.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "mov {a0}, [{o}]",
            "mov {a1}, [{o} + 8]",
            "mov {s}, [{o} + 16]",
            "mov {k}, [{o} + 24]",
            "mov {w00}, [{o} + 32]",
            "mov {w01}, [{o} + 40]",
            "mov {w10}, [{o} + 48]",
            "mov {w11}, [{o} + 56]",
            "2:",
            "tileloadd tmm6, [{a0} + {s}*1]",
            "tileloadd tmm7, [{w00} + {row}*1]",
            "tdpbssd tmm0, tmm6, tmm7",
            "tileloadd tmm7, [{w01} + {row}*1]",
            "tdpbsud tmm1, tmm6, tmm7",
            "tileloadd tmm7, [{w10} + {row}*1]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{w11} + {row}*1]",
            "tdpbsud tmm4, tmm6, tmm7",
            "tileloadd tmm6, [{a1} + {s}*1]",
            "tdpbuud tmm5, tmm6, tmm7",
            "tileloadd tmm7, [{w00} + {row}*1]",
            "tdpbusd tmm1, tmm6, tmm7",
            "tileloadd tmm7, [{w01} + {row}*1]",
            "tdpbuud tmm2, tmm6, tmm7",
            "tileloadd tmm7, [{w10} + {row}*1]",
            "tdpbusd tmm4, tmm6, tmm7",
            "add {a0}, [{o} + 72]",
            "add {a1}, [{o} + 72]",
            "add {w00}, 1024",
            "add {w01}, 1024",
            "add {w10}, 1024",
            "add {w11}, 1024",
            "dec {k}",
            "jnz 2b",
            "mov {s}, [{o} + 64]",
            "tilestored [{s} + {row}*1], tmm0",
            "tilestored [{s} + {row}*1 + 1024], tmm1",
            "tilestored [{s} + {row}*1 + 2048], tmm2",
            "tilestored [{s} + {row}*1 + 3072], tmm3",
            "tilestored [{s} + {row}*1 + 4096], tmm4",
            "tilestored [{s} + {row}*1 + 5120], tmm5",
            o = in(reg) &raw const *operands,
            row = in(reg) ROW_BYTES,
            a0 = out(reg) _,
            a1 = out(reg) _,
            s = out(reg) _,
            k = out(reg) _,
            w00 = out(reg) _,
            w01 = out(reg) _,
            w10 = out(reg) _,
            w11 = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// A row of sixteen sums from its three parts.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)]
unsafe fn put_together(parts: *const u8, dst: *mut f32) {
    // SAFETY: as above; three tiles lie at `parts`, and sixteen floats are writable.
    unsafe {
        let upper = _mm512_slli_epi32::<8>(_mm512_loadu_si512(parts.cast()));
        let mixed = _mm512_add_epi32(upper, _mm512_loadu_si512(parts.add(TILE_BYTES).cast()));
        let lower = _mm512_loadu_si512(parts.add(2 * TILE_BYTES).cast());
        _mm512_storeu_ps(dst, _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(mixed), lower)));
    }
}
