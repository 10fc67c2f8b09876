//! The one inner product of the engine: `dst[r, o] = act(init + Σ_k a[r, k] · w[o, k])`, an outer-product micro-kernel over packed panels.
//!
//! Shapes: a row of `a` is a list of runs of `run_len` consecutive floats at given offsets (a 1×1 convolution has one run, a 3×3 has nine,
//! the stem one for each row of its windows), so that every convolution is this product without an im2col. `w` holds panels of 16 outputs (see `layout`).
//! Tiles: rows × vectors of outputs held in registers: 6×2 ymm (12 sums, 2 weights, 1 broadcast of 16 registers); 6×4, 12×2 or 12×1 zmm
//! (at most 24 sums, 4 weights, 1 broadcast of 32); NEON's 6×4 q are the 6×2 of AVX2 in twice as many registers. Rows are split evenly, since
//! a tile of 4 or 5 rows still fills the FMA pipes and one of 1 does not. Bytes: a tile of 6 rows reads k·(24 + 64) bytes for 96·k multiply-adds (AVX2), from L1 or L2.
//! Order: each output is one chain that starts at its initial value and takes k in order; |error| ≤ γ_{K+1}·(|init| + Σ|a·w|).

use super::Kernel;
use super::ahead::{Ahead, Asking};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, pad, panel_len};
use crate::isa::Isa;

/// Steps in one turn of the inner loop: fewer instructions beside the multiply-adds. Four and sixteen gained less or nothing, and bf16 and codes are
/// slower with eight (benches/NOTES.md).
const UNROLLED: usize = 8;

/// Where row r of an operand starts, in floats.
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

/// What a sum starts from.
#[derive(Clone, Copy)]
pub(crate) enum Init {
    /// Zero.
    Zero,
    /// A value per output.
    Bias(*const f32),
    /// What `dst` holds: the chain goes on.
    Continue,
}

/// How many products of one shape there are, one after the other, and how far their operands are apart in numbers of each.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) count: usize,
    pub(crate) a: usize,
    pub(crate) w: usize,
    pub(crate) dst: usize,
}

impl Batch {
    /// A single product.
    pub(crate) const ONE: Self = Self { count: 1, a: 0, w: 0, dst: 0 };
}

/// The product; the pointers cover everything that rows, runs and panels name.
#[derive(Clone, Copy)]
pub(crate) struct Gemm<'a> {
    pub(crate) rows: usize,
    pub(crate) a: *const f32,
    pub(crate) a_rows: Rows<'a>,
    pub(crate) runs: &'a [usize],
    pub(crate) run_len: usize,
    pub(crate) w: *const f32,
    pub(crate) panel_len: usize,
    pub(crate) panels: usize,
    pub(crate) init: Init,
    pub(crate) dst: *mut f32,
    pub(crate) dst_rows: Rows<'a>,
    pub(crate) relu: bool,
    pub(crate) batch: Batch,
    /// What the step after this one reads.
    pub(crate) ahead: Ahead<'a>,
}

impl Kernel for Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let mut asking = self.ahead.over(self.batch.count * self.runs_in_all::<V>(), self.run_len, V::LANES);
        for product in 0..self.batch.count {
            // SAFETY: the pointers cover every product of the batch, by the contract of the struct.
            unsafe { self.one::<V>(product, &mut asking) };
        }
    }
}

impl Gemm<'_> {
    /// Product number `product` of the batch.
    #[inline(always)]
    unsafe fn one<V: F32Lanes>(mut self, product: usize, asking: &mut Asking<'_>) {
        // SAFETY: as promised by the caller.
        unsafe {
            self.a = self.a.add(product * self.batch.a);
            self.w = self.w.add(product * self.batch.w);
            self.dst = self.dst.add(product * self.batch.dst);
        }
        let mut panel = 0;
        while panel < self.panels {
            let left = self.panels - panel;
            // SAFETY: the fields cover `left` more panels, by the contract of the struct.
            unsafe {
                panel += match (V::LANES, self.rows, left) {
                    (16, 1, 4..) => columns::<V, 4, 1, 4>(&self, panel, asking),
                    (16, _, 4..) => columns::<V, 4, 6, 4>(&self, panel, asking),
                    (16, _, 2..) => columns::<V, 2, 12, 2>(&self, panel, asking),
                    (16, _, _) => columns::<V, 1, 12, 1>(&self, panel, asking),
                    (_, 1, 4..) => columns::<V, 8, 1, 4>(&self, panel, asking),
                    (_, _, _) => columns::<V, 2, 6, 1>(&self, panel, asking),
                };
            }
        }
    }

    /// Runs of all tiles of a product.
    #[inline(always)]
    fn runs_in_all<V: F32Lanes>(&self) -> usize {
        let (rows, panels) = match (V::LANES, self.panels) {
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
unsafe fn columns<V: F32Lanes, const NR: usize, const MR: usize, const PANELS: usize>(
    g: &Gemm<'_>,
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
        // SAFETY: the rows and panels exist, by the contract of `Gemm`.
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
unsafe fn tile<V: F32Lanes, const MR: usize, const NR: usize>(g: &Gemm<'_>, row: usize, panel: usize, asking: &mut Asking<'_>) {
    // SAFETY: `Gemm` promises that every row, run, panel and output named below lies inside its operand.
    unsafe {
        let mut acc = [[V::zero(); NR]; MR];
        let mut dst = [g.dst; MR];
        for i in 0..MR {
            dst[i] = g.dst.add(g.dst_rows.at(row + i) + panel * PANEL);
        }
        match g.init {
            Init::Zero => {}
            Init::Bias(bias) => {
                for j in 0..NR {
                    let b = V::load(bias.add(panel * PANEL + j * V::LANES));
                    for i in 0..MR {
                        acc[i][j] = b;
                    }
                }
            }
            Init::Continue => {
                for i in 0..MR {
                    for j in 0..NR {
                        acc[i][j] = V::load(dst[i].add(j * V::LANES));
                    }
                }
            }
        }
        let mut a = [g.a; MR];
        for i in 0..MR {
            a[i] = g.a.add(g.a_rows.at(row + i));
        }
        let mut w = g.w.add(panel * g.panel_len);
        for &run in g.runs {
            // The stem's runs are one long, and no loop.
            if g.run_len == 1 {
                step::<V, MR, NR>(&a, run, w, g.panel_len, &mut acc);
                w = w.add(PANEL);
            } else {
                let steps = asking.steps(g.run_len);
                for first in (0..g.run_len).step_by(steps) {
                    asking.ask();
                    let end = (first + steps).min(g.run_len);
                    let mut k = first;
                    while k + UNROLLED <= end {
                        for u in 0..UNROLLED {
                            step::<V, MR, NR>(&a, run + k + u, w.add(u * PANEL), g.panel_len, &mut acc);
                        }
                        (k, w) = (k + UNROLLED, w.add(UNROLLED * PANEL));
                    }
                    for k in k..end {
                        step::<V, MR, NR>(&a, run + k, w, g.panel_len, &mut acc);
                        w = w.add(PANEL);
                    }
                }
            }
        }
        let floor = V::zero();
        for i in 0..MR {
            for j in 0..NR {
                let y = if g.relu { acc[i][j].max(floor) } else { acc[i][j] };
                y.store(dst[i].add(j * V::LANES));
            }
        }
    }
}

/// One k: a column of `a` times a row of weights.
#[inline(always)]
unsafe fn step<V: F32Lanes, const MR: usize, const NR: usize>(
    a: &[*const f32; MR],
    k: usize,
    w: *const f32,
    panel_len: usize,
    acc: &mut [[V; NR]; MR],
) {
    // SAFETY: `tile` stays inside the operands, by the contract of `Gemm`.
    unsafe {
        let mut b = [V::zero(); NR];
        for j in 0..NR {
            b[j] = V::load(w.add(j / V::PANEL * panel_len + j % V::PANEL * V::LANES));
        }
        for i in 0..MR {
            let x = V::splat(*a[i].add(k));
            for j in 0..NR {
                acc[i][j] = x.mul_add(b[j], acc[i][j]);
            }
        }
    }
}

/// A dense product of row-major rows with a packed matrix; see [`matmul`].
pub struct Matmul<'a> {
    /// Rows of `a` and `dst`.
    pub rows: usize,
    /// Length of the sums.
    pub k: usize,
    /// Outputs; `dst` rows hold them padded to 16.
    pub n: usize,
    /// \[rows, a_stride\].
    pub a: &'a [f32],
    /// At least k.
    pub a_stride: usize,
    /// Packed \[n, k\].
    pub weights: &'a [f32],
    /// Padded to 16 outputs.
    pub bias: &'a [f32],
    /// max(·, 0) at the end.
    pub relu: bool,
}

/// `dst[r, o] = act(bias[o] + Σ_k a[r, k] · w[o, k])` with `dst` \[rows, dst_stride\]; padded outputs are written.
///
/// # Panics
/// When a slice is too short.
pub fn matmul(isa: Isa, m: &Matmul<'_>, dst: &mut [f32], dst_stride: usize) {
    if m.rows == 0 || m.n == 0 {
        return;
    }
    assert!(m.a_stride >= m.k && m.a.len() >= (m.rows - 1) * m.a_stride + m.k);
    assert!(dst_stride >= pad(m.n) && dst.len() >= (m.rows - 1) * dst_stride + pad(m.n));
    assert!(m.weights.len() >= matrix_len(m.k, m.n) && m.bias.len() >= pad(m.n));
    // The contract of `Gemm` is the three lines above.
    isa.run(Gemm {
        rows: m.rows,
        a: m.a.as_ptr(),
        a_rows: Rows::Stride(m.a_stride),
        runs: &[0],
        run_len: m.k,
        w: m.weights.as_ptr(),
        panel_len: panel_len(m.k),
        panels: pad(m.n) / PANEL,
        init: Init::Bias(m.bias.as_ptr()),
        dst: dst.as_mut_ptr(),
        dst_rows: Rows::Stride(dst_stride),
        relu: m.relu,
        batch: Batch::ONE,
        ahead: Ahead::NONE,
    });
}
