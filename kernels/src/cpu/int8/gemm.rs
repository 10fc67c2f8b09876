//! The one inner product of the integer kernels: `sum[r, o] = Σ_k a[r, k] · w[o, k]`, an outer-product micro-kernel over panels of groups.
//!
//! Shapes: a row of `a` is a list of runs of `run_len` consecutive numbers, whole groups, at given offsets; `w` holds panels of 16
//! outputs (see `layout`). Tiles: rows × vectors of sums: 6×2 ymm (12 sums, 2 weights, 1 pair, 1 product of 16 registers); 6×4, 8×2 or 8×1 zmm (at
//! most 24 sums, 4 weights, 1 pair, 1 product of 32), not higher, since the rows' addresses take the other registers; 6×4 q are the 6×2 ymm in twice as
//! many. A step of two k, or of four where codes are multiplied as bytes, is one multiply and one add a vector, or both in one instruction, and the multipliers are busy
//! throughout: twice, or four times, the rate of fused multiply-adds.
//! Bytes: a tile of 6 rows reads k·(12 + 32) bytes for 96·k products (ymm).
//! Order: none matters, sums are exact.

use super::IntKernel;
use super::lanes::IntLanes;
use super::layout::{Group, Pairs, matrix_len, panel_len};
use crate::cpu::ahead::{Ahead, Asking};
use crate::cpu::gemm::Batch;
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::{PANEL, pad};
use crate::integers::Integers;

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

impl Out {
    /// `numbers` further on.
    ///
    /// # Safety
    /// As of pointers.
    #[inline(always)]
    unsafe fn add(self, numbers: usize) -> Self {
        // SAFETY: as promised.
        unsafe {
            match self {
                Self::Sums(to) => Self::Sums(to.add(numbers)),
                Self::Wide(requantise, to) => Self::Wide(requantise, to.add(numbers)),
                Self::Codes(requantise, to) => Self::Codes(requantise, to.add(numbers)),
            }
        }
    }
}

/// The product; the pointers cover everything that rows, runs and panels name. Where bytes are signed ([`IntLanes::SIGNED`]) a start of 32 bits for every
/// output follows the panels.
#[derive(Clone, Copy)]
pub(crate) struct IntGemm<'a, G: Group> {
    pub(crate) rows: usize,
    pub(crate) a: *const G::Activation,
    pub(crate) a_rows: Rows<'a>,
    pub(crate) runs: &'a [usize],
    pub(crate) run_len: usize,
    pub(crate) w: *const G::Weight,
    pub(crate) panel_len: usize,
    pub(crate) panels: usize,
    pub(crate) out: Out,
    pub(crate) out_rows: Rows<'a>,
    pub(crate) batch: Batch,
    /// What the step after this one reads.
    pub(crate) ahead: Ahead<'a>,
}

impl<G: Group> IntKernel for IntGemm<'_, G> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let mut asking = self.ahead.over(self.batch.count * self.runs_in_all::<V>(), self.run_len / G::LEN, V::LANES);
        for product in 0..self.batch.count {
            // SAFETY: the pointers cover every product of the batch, by the contract of the struct.
            unsafe { self.one::<V>(product, &mut asking) };
        }
    }
}

impl<G: Group> IntGemm<'_, G> {
    /// Product number `product` of the batch.
    #[inline(always)]
    unsafe fn one<V: IntLanes>(mut self, product: usize, asking: &mut Asking<'_>) {
        // SAFETY: as promised by the caller.
        unsafe {
            self.a = self.a.add(product * self.batch.a);
            self.w = self.w.add(product * self.batch.w);
            self.out = self.out.add(product * self.batch.dst);
        }
        let mut panel = 0;
        while panel < self.panels {
            // SAFETY: as many panels are left as are taken, by the contract of the struct.
            unsafe {
                panel += match (V::LANES, self.panels - panel) {
                    (16, 4..) => columns::<V, G, 4, 6, 4>(&self, panel, asking),
                    (16, 2..) => columns::<V, G, 2, 8, 2>(&self, panel, asking),
                    (16, _) => columns::<V, G, 1, 8, 1>(&self, panel, asking),
                    _ => columns::<V, G, 2, 6, 1>(&self, panel, asking),
                };
            }
        }
    }

    /// Runs of all tiles of a product.
    #[inline(always)]
    fn runs_in_all<V: IntLanes>(&self) -> usize {
        let (rows, panels) = match (V::LANES, self.panels) {
            (16, 4..) => (6, 4),
            (16, 2..) => (8, 2),
            (16, _) => (8, 1),
            _ => (6, 1),
        };
        self.rows.div_ceil(rows) * self.panels.div_ceil(panels) * self.runs.len()
    }
}

/// All rows of `PANELS` panels, `NR` vectors wide, in even tiles of at most `MR`; returns `PANELS`.
#[inline(always)]
unsafe fn columns<V: IntLanes, G: Group, const NR: usize, const MR: usize, const PANELS: usize>(
    g: &IntGemm<'_, G>,
    panel: usize,
    asking: &mut Asking<'_>,
) -> usize {
    if NR * V::LANES != PANELS * PANEL {
        return PANELS;
    }
    let tiles = g.rows.div_ceil(MR);
    let (low, higher) = (g.rows / tiles.max(1), g.rows % tiles.max(1));
    let mut row = 0;
    for t in 0..tiles {
        let height = low + usize::from(t < higher);
        // SAFETY: the rows and panels exist, by the contract of `IntGemm`.
        unsafe {
            match height {
                1 => tile::<V, G, 1, NR>(g, row, panel, asking),
                2 => tile::<V, G, 2, NR>(g, row, panel, asking),
                3 => tile::<V, G, 3, NR>(g, row, panel, asking),
                4 => tile::<V, G, 4, NR>(g, row, panel, asking),
                5 => tile::<V, G, 5, NR>(g, row, panel, asking),
                6 => tile::<V, G, 6, NR>(g, row, panel, asking),
                7 if MR >= 7 => tile::<V, G, 7, NR>(g, row, panel, asking),
                8 if MR >= 8 => tile::<V, G, 8, NR>(g, row, panel, asking),
                _ => {}
            }
        }
        row += height;
    }
    PANELS
}

/// What the sums of a row of a tile start with.
#[inline(always)]
unsafe fn starts<V: IntLanes, G: Group, const NR: usize>(g: &IntGemm<'_, G>, panel: usize) -> [V; NR] {
    let mut starts = [V::zero(); NR];
    if V::SIGNED && G::LEN == 4 {
        for j in 0..NR {
            // SAFETY: 32 bits for every output follow the panels, by the contract of `IntGemm`.
            starts[j] = unsafe { V::load(g.w.add(g.panels * g.panel_len).cast::<i8>().add(4 * (panel * PANEL + j * V::LANES))) };
        }
    }
    starts
}

/// `MR` rows × `NR` vectors in registers over the whole of k.
#[inline(always)]
unsafe fn tile<V: IntLanes, G: Group, const MR: usize, const NR: usize>(
    g: &IntGemm<'_, G>,
    row: usize,
    panel: usize,
    asking: &mut Asking<'_>,
) {
    // SAFETY: `IntGemm` promises that every row, run, panel and output named below lies inside its operand.
    unsafe {
        let mut acc = [starts::<V, G, NR>(g, panel); MR];
        let mut a = [g.a; MR];
        for i in 0..MR {
            a[i] = g.a.add(g.a_rows.at(row + i));
        }
        let mut w = g.w.add(panel * g.panel_len);
        for &run in g.runs {
            let groups = g.run_len / G::LEN;
            let steps = asking.steps(groups);
            for first in (0..groups).step_by(steps) {
                asking.ask();
                for k in first..(first + steps).min(groups) {
                    let mut b = [V::zero(); NR];
                    for j in 0..NR {
                        let lane = j * V::LANES;
                        b[j] = V::load(w.add(lane / PANEL * g.panel_len + lane % PANEL * G::LEN));
                    }
                    for i in 0..MR {
                        let x = V::splat(a[i].add(run + G::LEN * k));
                        for j in 0..NR {
                            acc[i][j] = G::madd(acc[i][j], x, b[j]);
                        }
                    }
                    w = w.add(G::LEN * PANEL);
                }
            }
        }
        // A copy, so that what is indexed by loops that stay loops is not what the registers above hold.
        let mut sums = [[V::Floats::zero(); NR]; MR];
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = acc[i][j].to_floats();
            }
        }
        finish::<V, G, MR, NR>(g, &sums, row, panel);
    }
}

/// Writes a tile of sums, or their codes.
#[inline(always)]
unsafe fn finish<V: IntLanes, G: Group, const MR: usize, const NR: usize>(
    g: &IntGemm<'_, G>,
    sums: &[[V::Floats; NR]; MR],
    row: usize,
    panel: usize,
) {
    let first = panel * PANEL;
    // SAFETY: as in `tile`.
    unsafe {
        match g.out {
            Out::Sums(to) => {
                for i in 0..MR {
                    let dst = to.add(g.out_rows.at(row + i) + first);
                    for j in 0..NR {
                        sums[i][j].store(dst.add(j * V::LANES));
                    }
                }
            }
            Out::Wide(requantise, to) => {
                for i in 0..MR {
                    let dst = to.add(g.out_rows.at(row + i) + first);
                    let code = |j: usize| requantise.apply(sums[i][j], first + j * V::LANES);
                    for j in 0..NR / 2 {
                        V::store_wide_codes2([code(2 * j), code(2 * j + 1)], dst.add(2 * j * V::LANES));
                    }
                    if NR % 2 == 1 {
                        V::store_wide_codes(code(NR - 1), dst.add((NR - 1) * V::LANES));
                    }
                }
            }
            Out::Codes(requantise, to) => {
                for i in 0..MR {
                    let dst = to.add(g.out_rows.at(row + i) + first);
                    for j in 0..NR {
                        V::store_codes(requantise.apply(sums[i][j], first + j * V::LANES), dst.add(j * V::LANES));
                    }
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
pub fn product(level: Integers, p: &Product<'_>, dst: &mut [f32]) {
    if p.rows == 0 || p.n == 0 {
        return;
    }
    assert!(p.k.is_multiple_of(2) && p.a_stride >= p.k && p.a.len() >= (p.rows - 1) * p.a_stride + p.k);
    assert!(p.weights.len() >= matrix_len(p.k, p.n) && dst.len() >= p.rows * pad(p.n));
    // The contract of `IntGemm` is the two lines above.
    level.run(IntGemm::<Pairs> {
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
        batch: Batch::ONE,
        ahead: Ahead::NONE,
    });
}

#[cfg(test)]
mod tests {
    use super::super::dense::{conv1_len, pack_conv1};
    use super::super::layout::{CODES, Quads, panel_len_of, place};
    use super::super::prologue::{Bounds, Clamp};
    use super::super::test_numbers::{Numbers, random_matrix};
    use super::*;
    use crate::cpu::dense::DenseShape;

    /// Equal to a sum over i64 at every tile height, odd counts of panels, odd strides, the largest numbers, on every level.
    #[test]
    fn products_are_exact() {
        let heights = (1..=17).flat_map(|rows| [16, 32, 48, 64, 112].map(|n| (rows, 10, n)));
        for (rows, k, n) in heights.chain([(1, 2, 1), (7, 34, 17), (12, 128, 32), (25, 258, 100)]) {
            let mut numbers = Numbers(rows as u64);
            let stride = k + 3;
            let a: Vec<i16> = (0..rows * stride).map(|_| (numbers.below(2 * 17_341) as i64 - 17_340) as i16).collect();
            let w = random_matrix(&mut numbers, k, n, CODES);
            let exact = |r: usize, o: usize| (0..k).map(|i| i64::from(a[r * stride + i]) * i64::from(w[place(k, o, i)])).sum::<i64>();
            for level in Integers::available() {
                let mut dst = vec![f32::NAN; rows * pad(n)];
                product(level, &Product { rows, k, n, a: &a, a_stride: stride, weights: &w }, &mut dst);
                for r in 0..rows {
                    for o in 0..pad(n) {
                        let expected = if o < n { exact(r, o) as f32 } else { 0.0 };
                        assert_eq!(dst[r * pad(n) + o].to_bits(), expected.to_bits(), "{} {rows} {k} {n} {r} {o}", level.name());
                    }
                }
            }
        }
    }

    /// The same of codes that are multiplied as bytes, as a dense layer packs both factors: the largest codes with weights of one sign first.
    #[test]
    fn products_of_bytes_are_exact() {
        let heights = (1..=13).flat_map(|rows| [16, 32, 48, 64, 112].map(|n| (rows, 16, n)));
        for (rows, k, n) in heights.chain([(1, 48, 16), (7, 112, 16), (13, 848, 48), (25, 256, 112)]) {
            let mut numbers = Numbers(rows as u64);
            let codes: Vec<u8> = (0..rows * k).map(|i| if i < k { 255 } else { numbers.below(256) as u8 }).collect();
            let random: Vec<i8> = (0..n * k).map(|_| (numbers.below(255) as i64 - 127) as i8).collect();
            let weight = |o: usize, i: usize| [127, -127, random[o * k + i]][o.min(2)];
            let exact = |r: usize, o: usize| (0..k).map(|i| i64::from(codes[r * k + i]) * i64::from(weight(o, i))).sum::<i64>();
            let (low, high) = (vec![0; k], vec![255; k]);
            for level in Integers::available().filter(|level| level.quads() && !matches!(level, Integers::Amx(_))) {
                let shape = DenseShape { images: 1, height: 1, width: rows, slab_stride: k, in_channels: k, mid: n, growth: 16 };
                let mut w = vec![9; conv1_len(level, &shape)];
                assert!(pack_conv1(level, &shape, &mut w, weight));
                let (mut a, mut dst) = (vec![9; rows * k], vec![f32::NAN; rows * n]);
                let (src, bounds) = (codes.as_ptr(), Bounds { low: low.as_ptr(), high: high.as_ptr() });
                level.run(Clamp::<Quads> { rows, channels: k, src, src_stride: k, bounds, dst: a.as_mut_ptr(), dst_stride: k });
                level.run(IntGemm::<Quads> {
                    rows,
                    a: a.as_ptr(),
                    a_rows: Rows::Stride(k),
                    runs: &[0],
                    run_len: k,
                    w: w.as_ptr().cast(),
                    panel_len: panel_len_of::<Quads>(k),
                    panels: n / PANEL,
                    out: Out::Sums(dst.as_mut_ptr()),
                    out_rows: Rows::Stride(n),
                    batch: Batch::ONE,
                    ahead: Ahead::NONE,
                });
                for (i, found) in dst.iter().enumerate() {
                    assert_eq!(*found, exact(i / n, i % n) as f32, "{} {rows} {k} {n} {i}", level.name());
                }
            }
        }
    }
}
