//! The one inner product of the integer kernels: `sum[r, o] = Σ_k a[r, k] · w[o, k]`, an outer-product micro-kernel over panels of pairs.
//!
//! Shapes: a row of `a` is a list of runs of `run_len` consecutive numbers of 16 bits, an even count, at given offsets; `w` holds panels of 16
//! outputs (see `layout`). Tiles: rows × vectors of sums: 6×2 ymm (12 sums, 2 weights, 1 pair, 1 product of 16 registers). A step of two k is one multiply and one add a vector, and the multipliers are busy
//! throughout: twice the rate of fused multiply-adds. Bytes: a tile of 6 rows reads k·(12 + 32) bytes for 96·k products.
//! Order: none matters, sums are exact.

use super::IntKernel;
use super::lanes::IntLanes;
use super::layout::{matrix_len, panel_len};
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::{PANEL, pad};
use crate::cpu::part;
use crate::isa::Isa;

/// Where row r of an operand starts, in its numbers.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// At r · stride.
    Stride(usize),
    /// At table\[r\].
    Table(&'a [usize]),
}

impl Rows<'_> {
    #[inline(always)]
    fn at(self, row: usize) -> usize {
        match self {
            Self::Stride(stride) => row * stride,
            Self::Table(table) => table[row],
        }
    }
}

/// The nearest code of `scale[o] · sum + offset[o]`, saturated.
#[derive(Clone, Copy)]
pub(crate) struct Requantise {
    pub(crate) scale: *const f32,
    pub(crate) offset: *const f32,
}

impl Requantise {
    /// Still a float, in [0, 255].
    ///
    /// # Safety
    /// Output `o` and the rest of its vector exist.
    #[inline(always)]
    pub(crate) unsafe fn apply<F: F32Lanes>(self, sum: F, o: usize) -> F {
        // SAFETY: by the caller's promise.
        let (scale, offset) = unsafe { (F::load(self.scale.add(o)), F::load(self.offset.add(o))) };
        sum.mul_add(scale, offset).max(F::zero()).min(F::splat(255.0))
    }
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(crate) enum Out {
    /// f32.
    Sums(*mut f32),
    /// Codes in 16 bits.
    Wide(Requantise, *mut i16),
    /// Codes.
    Codes(Requantise, *mut u8),
}

/// The product; the pointers cover everything that rows, runs and panels name.
#[derive(Clone, Copy)]
pub(crate) struct IntGemm<'a> {
    pub(crate) rows: usize,
    pub(crate) a: *const i16,
    pub(crate) a_rows: Rows<'a>,
    pub(crate) runs: &'a [usize],
    pub(crate) run_len: usize,
    pub(crate) w: *const i16,
    pub(crate) panel_len: usize,
    pub(crate) panels: usize,
    pub(crate) out: Out,
    pub(crate) out_rows: Rows<'a>,
}

impl IntKernel for IntGemm<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        for panel in 0..self.panels {
            let tiles = self.rows.div_ceil(6);
            for t in 0..tiles {
                let range = part(self.rows, tiles, t);
                let row = range.start;
                // SAFETY: the rows and the panel exist, by the contract of the struct.
                unsafe {
                    match range.len() {
                        1 => tile::<V, 1, 2>(&self, row, panel),
                        2 => tile::<V, 2, 2>(&self, row, panel),
                        3 => tile::<V, 3, 2>(&self, row, panel),
                        4 => tile::<V, 4, 2>(&self, row, panel),
                        5 => tile::<V, 5, 2>(&self, row, panel),
                        6 => tile::<V, 6, 2>(&self, row, panel),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// `MR` rows × `NR` vectors in registers over the whole of k.
#[inline(always)]
unsafe fn tile<V: IntLanes, const MR: usize, const NR: usize>(g: &IntGemm<'_>, row: usize, panel: usize) {
    // SAFETY: `IntGemm` promises that every row, run, panel and output named below lies inside its operand.
    unsafe {
        let mut acc = [[V::zero(); NR]; MR];
        let mut a = [g.a; MR];
        for i in 0..MR {
            a[i] = g.a.add(g.a_rows.at(row + i));
        }
        let mut w = g.w.add(panel * g.panel_len);
        for &run in g.runs {
            for k in 0..g.run_len / 2 {
                let mut b = [V::zero(); NR];
                for j in 0..NR {
                    b[j] = V::load(w.add(2 * j * V::LANES));
                }
                for i in 0..MR {
                    let x = V::splat(a[i].add(run + 2 * k));
                    for j in 0..NR {
                        acc[i][j] = acc[i][j].madd(x, b[j]);
                    }
                }
                w = w.add(2 * PANEL);
            }
        }
        // A copy, so that what is indexed by loops that stay loops is not what the registers above hold.
        let mut sums = [[V::Floats::zero(); NR]; MR];
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = acc[i][j].to_floats();
            }
        }
        finish::<V, MR, NR>(g, &sums, row, panel);
    }
}

/// Writes a tile of sums, or their codes.
#[inline(always)]
unsafe fn finish<V: IntLanes, const MR: usize, const NR: usize>(g: &IntGemm<'_>, sums: &[[V::Floats; NR]; MR], row: usize, panel: usize) {
    for i in 0..MR {
        let dst = g.out_rows.at(row + i) + panel * PANEL;
        for j in 0..NR {
            let (o, dst, sum) = (panel * PANEL + j * V::LANES, dst + j * V::LANES, sums[i][j]);
            // SAFETY: as in `tile`.
            unsafe {
                match g.out {
                    Out::Sums(to) => sum.store(to.add(dst)),
                    Out::Wide(requantise, to) => V::store_wide_codes(requantise.apply(sum, o), to.add(dst)),
                    Out::Codes(requantise, to) => V::store_codes(requantise.apply(sum, o), to.add(dst)),
                }
            }
        }
    }
}

/// A product of row-major rows with a packed matrix; see [`product`].
pub struct Product<'a> {
    /// Rows of `a` and the result.
    pub rows: usize,
    /// Length of the sums, even.
    pub k: usize,
    /// Outputs; rows of the result hold them padded to 16.
    pub n: usize,
    /// \[rows, a_stride\].
    pub a: &'a [i16],
    /// At least k.
    pub a_stride: usize,
    /// Packed \[n, k\].
    pub weights: &'a [i16],
}

/// `dst[r, o] = Σ_k a[r, k] · w[o, k]`, rounded to f32, with `dst` \[rows, n padded\].
///
/// # Panics
/// When a slice is too short or k is odd.
pub fn product(isa: Isa, p: &Product<'_>, dst: &mut [f32]) {
    if p.rows == 0 || p.n == 0 {
        return;
    }
    assert!(p.k.is_multiple_of(2) && p.a_stride >= p.k && p.a.len() >= (p.rows - 1) * p.a_stride + p.k);
    assert!(p.weights.len() >= matrix_len(p.k, p.n) && dst.len() >= p.rows * pad(p.n));
    // The contract of `IntGemm` is the two lines above.
    isa.run_codes(IntGemm {
        rows: p.rows,
        a: p.a.as_ptr(),
        a_rows: Rows::Stride(p.a_stride),
        runs: &[0],
        run_len: p.k,
        w: p.weights.as_ptr(),
        panel_len: panel_len(p.k),
        panels: pad(p.n) / PANEL,
        out: Out::Sums(dst.as_mut_ptr()),
        out_rows: Rows::Stride(pad(p.n)),
    });
}

#[cfg(test)]
mod tests {
    use super::super::layout::{CODES, place};
    use super::super::test_numbers::{Numbers, random_matrix};
    use super::*;

    /// Equal to a sum over i64 at every tile height, odd counts of panels, odd strides, the largest numbers, on every tier.
    #[test]
    fn products_are_exact() {
        for (rows, k, n) in [(1, 2, 1), (5, 6, 16), (7, 34, 17), (12, 128, 32), (13, 48, 64), (25, 258, 100)] {
            let mut numbers = Numbers(rows as u64);
            let stride = k + 3;
            let a: Vec<i16> = (0..rows * stride).map(|_| numbers.below(2 * 17_341) as i16 - 17_340).collect();
            let w = random_matrix(&mut numbers, k, n, CODES);
            let exact = |r: usize, o: usize| (0..k).map(|i| i64::from(a[r * stride + i]) * i64::from(w[place(k, o, i)])).sum::<i64>();
            for isa in Isa::available() {
                let mut dst = vec![f32::NAN; rows * pad(n)];
                product(isa, &Product { rows, k, n, a: &a, a_stride: stride, weights: &w }, &mut dst);
                for r in 0..rows {
                    for o in 0..pad(n) {
                        let expected = if o < n { exact(r, o) as f32 } else { 0.0 };
                        assert_eq!(dst[r * pad(n) + o].to_bits(), expected.to_bits(), "{} {rows} {k} {n} {r} {o}", isa.name());
                    }
                }
            }
        }
    }
}
