//! The one inner product over bf16: `dst[r, o] = act(bias[o] + Σ_k a[r, k] · w[o, k])`, an outer-product micro-kernel over panels of pairs.
//!
//! Shapes: a row of `a` is a list of runs of `run_len` consecutive bf16, an even count, at given offsets; `w` holds panels of 16 outputs whose inputs
//! lie in pairs (see `layout`). Tiles: rows × vectors of sums in registers: 6×4, 12×2 or 12×1 zmm (at most 24 sums, 4 weights, 1 pair of 32) and 6×2
//! ymm, or 6×4 q. With the instruction for pairs a tile of 6×4 reads k·(12 + 128) bytes for 384·k multiply-adds. Rows are split evenly.
//! Order: each output is one chain that starts at its bias and takes k in pairs in order; |error| ≤ γ_{K+2}·(|bias| + Σ|a·w|), since the products of bf16
//! are exact and every addition rounds at most once more than a chain of fused multiply-adds does (`bfdot`: half as often and twice as far).

use super::HalfKernel;
use super::lanes::HalfLanes;
use super::layout::{matrix_len, panel_len};
use crate::cpu::ahead::{Ahead, Asking};
use crate::cpu::gemm::Batch;
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::{PANEL, pad};
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

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(crate) enum Out {
    /// float32.
    Sums(*mut f32),
    /// bf16.
    Rounded(*mut u16),
    /// Their ReLU in bf16.
    Relu(*mut u16),
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
                Self::Rounded(to) => Self::Rounded(to.add(numbers)),
                Self::Relu(to) => Self::Relu(to.add(numbers)),
            }
        }
    }
}

/// The product; the pointers cover everything that rows, runs and panels name.
#[derive(Clone, Copy)]
pub(crate) struct HalfGemm<'a> {
    pub(crate) rows: usize,
    pub(crate) a: *const u16,
    pub(crate) a_rows: Rows<'a>,
    pub(crate) runs: &'a [usize],
    pub(crate) run_len: usize,
    pub(crate) w: *const u16,
    pub(crate) panel_len: usize,
    pub(crate) panels: usize,
    /// A value per output to start from, else zero.
    pub(crate) bias: Option<*const f32>,
    pub(crate) out: Out,
    pub(crate) out_rows: Rows<'a>,
    pub(crate) batch: Batch,
    /// What the step after this one reads.
    pub(crate) ahead: Ahead<'a>,
}

impl HalfKernel for HalfGemm<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        let mut asking = self.ahead.over(self.batch.count * self.runs_in_all::<V>(), self.run_len / 2, V::Floats::LANES);
        for product in 0..self.batch.count {
            // SAFETY: the pointers cover every product of the batch, by the contract of the struct.
            unsafe { self.one::<V>(product, &mut asking) };
        }
    }
}

impl HalfGemm<'_> {
    /// Product number `product` of the batch.
    #[inline(always)]
    unsafe fn one<V: HalfLanes>(mut self, product: usize, asking: &mut Asking<'_>) {
        // SAFETY: as promised by the caller.
        unsafe {
            self.a = self.a.add(product * self.batch.a);
            self.w = self.w.add(product * self.batch.w);
            self.out = self.out.add(product * self.batch.dst);
        }
        let mut panel = 0;
        while panel < self.panels {
            // SAFETY: the fields cover the panels that are left, by the contract of the struct.
            unsafe {
                panel += match (V::Floats::LANES, self.panels - panel) {
                    (16, 4..) => columns::<V, 4, 6, 4>(&self, panel, asking),
                    (16, 2..) => columns::<V, 2, 12, 2>(&self, panel, asking),
                    (16, _) => columns::<V, 1, 12, 1>(&self, panel, asking),
                    (_, _) => columns::<V, 2, 6, 1>(&self, panel, asking),
                };
            }
        }
    }

    /// Runs of all tiles of a product.
    #[inline(always)]
    fn runs_in_all<V: HalfLanes>(&self) -> usize {
        let (rows, panels) = match (V::Floats::LANES, self.panels) {
            (16, 4..) => (6, 4),
            (16, 2..) => (12, 2),
            (16, _) => (12, 1),
            _ => (6, 1),
        };
        self.rows.div_ceil(rows) * self.panels.div_ceil(panels) * self.runs.len()
    }
}

/// All rows of `PANELS` panels, `NR` vectors wide, in even tiles of at most `MR`; returns `PANELS`.
#[inline(always)]
unsafe fn columns<V: HalfLanes, const NR: usize, const MR: usize, const PANELS: usize>(
    g: &HalfGemm<'_>,
    panel: usize,
    asking: &mut Asking<'_>,
) -> usize {
    if NR * V::Floats::LANES != PANELS * PANEL {
        return PANELS;
    }
    let tiles = g.rows.div_ceil(MR);
    let (low, higher) = (g.rows / tiles.max(1), g.rows % tiles.max(1));
    let mut row = 0;
    for t in 0..tiles {
        let height = low + usize::from(t < higher);
        // SAFETY: the rows and panels exist, by the contract of `HalfGemm`.
        unsafe {
            match height {
                1 => tile::<V, 1, NR>(g, row, panel, asking),
                2 if MR >= 2 => tile::<V, 2, NR>(g, row, panel, asking),
                3 if MR >= 3 => tile::<V, 3, NR>(g, row, panel, asking),
                4 if MR >= 4 => tile::<V, 4, NR>(g, row, panel, asking),
                5 if MR >= 5 => tile::<V, 5, NR>(g, row, panel, asking),
                6 if MR >= 6 => tile::<V, 6, NR>(g, row, panel, asking),
                7 if MR >= 7 => tile::<V, 7, NR>(g, row, panel, asking),
                8 if MR >= 8 => tile::<V, 8, NR>(g, row, panel, asking),
                9 if MR >= 9 => tile::<V, 9, NR>(g, row, panel, asking),
                10 if MR >= 10 => tile::<V, 10, NR>(g, row, panel, asking),
                11 if MR >= 11 => tile::<V, 11, NR>(g, row, panel, asking),
                12 if MR >= 12 => tile::<V, 12, NR>(g, row, panel, asking),
                _ => {}
            }
        }
        row += height;
    }
    PANELS
}

/// `MR` rows × `NR` vectors in registers over the whole of k.
#[inline(always)]
unsafe fn tile<V: HalfLanes, const MR: usize, const NR: usize>(g: &HalfGemm<'_>, row: usize, panel: usize, asking: &mut Asking<'_>) {
    let vectors = PANEL / V::Floats::LANES;
    // SAFETY: `HalfGemm` promises that every row, run, panel and output named below lies inside its operand.
    unsafe {
        let mut sums = [[V::Floats::zero(); NR]; MR];
        if let Some(bias) = g.bias {
            for j in 0..NR {
                let b = V::Floats::load(bias.add(panel * PANEL + j * V::Floats::LANES));
                for i in 0..MR {
                    sums[i][j] = b;
                }
            }
        }
        let mut rows = [g.a; MR];
        for i in 0..MR {
            rows[i] = g.a.add(g.a_rows.at(row + i));
        }
        let mut w = g.w.add(panel * g.panel_len);
        for &run in g.runs {
            let steps = 2 * asking.steps(g.run_len / 2);
            for first in (0..g.run_len).step_by(steps) {
                asking.ask();
                for k in (first..(first + steps).min(g.run_len)).step_by(2) {
                    let mut a = rows;
                    for i in 0..MR {
                        a[i] = rows[i].add(run + k);
                    }
                    let mut b = [w; NR];
                    for j in 0..NR {
                        b[j] = w.add(j / vectors * g.panel_len + j % vectors * 2 * V::Floats::LANES);
                    }
                    V::step::<MR, NR>(a, b, &mut sums);
                    w = w.add(2 * PANEL);
                }
            }
        }
        // A copy, so that what is indexed by loops that stay loops is not what the registers above hold.
        finish::<V, MR, NR>(g, &{ sums }, row, panel);
    }
}

/// Writes a tile.
#[inline(always)]
unsafe fn finish<V: HalfLanes, const MR: usize, const NR: usize>(g: &HalfGemm<'_>, sums: &[[V::Floats; NR]; MR], row: usize, panel: usize) {
    for i in 0..MR {
        let dst = g.out_rows.at(row + i) + panel * PANEL;
        for j in 0..NR {
            let (dst, sum) = (dst + j * V::Floats::LANES, sums[i][j]);
            // SAFETY: as in `tile`.
            unsafe {
                match g.out {
                    Out::Sums(to) => sum.store(to.add(dst)),
                    Out::Rounded(to) => V::narrow(sum, to.add(dst)),
                    Out::Relu(to) => V::narrow(sum.max(V::Floats::zero()), to.add(dst)),
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
    /// bf16 \[rows, a_stride\].
    pub a: &'a [u16],
    /// At least k.
    pub a_stride: usize,
    /// bf16, packed \[n, k\].
    pub weights: &'a [u16],
}

/// `dst[r, o] = Σ_k a[r, k] · w[o, k]` with `dst` \[rows, n padded\].
///
/// # Panics
/// When a slice is too short or k is odd.
pub fn product(isa: Isa, p: &Product<'_>, dst: &mut [f32]) {
    if p.rows == 0 || p.n == 0 {
        return;
    }
    assert!(p.k.is_multiple_of(2) && p.a_stride >= p.k && p.a.len() >= (p.rows - 1) * p.a_stride + p.k);
    assert!(p.weights.len() >= matrix_len(p.k, p.n) && dst.len() >= p.rows * pad(p.n));
    // The contract of `HalfGemm` is the two lines above.
    isa.run_halves(HalfGemm {
        rows: p.rows,
        a: p.a.as_ptr(),
        a_rows: Rows::Stride(p.a_stride),
        runs: &[0],
        run_len: p.k,
        w: p.weights.as_ptr(),
        panel_len: panel_len(p.k),
        panels: pad(p.n) / PANEL,
        bias: None,
        out: Out::Sums(dst.as_mut_ptr()),
        out_rows: Rows::Stride(pad(p.n)),
        batch: Batch::ONE,
        ahead: Ahead::NONE,
    });
}
