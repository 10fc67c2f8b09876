//! LSTM and GRU over the slices of a scan, one direction of one layer.
//!
//! LSTM: c = σ(f)·c + σ(i)·tanh(g), h = σ(o)·tanh(c). GRU: n = tanh(xₙ + σ(r)·hₙ), h = (1 − σ(z))·n + σ(z)·h.
//! The input projection of all slices is one product; each step then continues those sums with W_hh·h. Outputs are ordered panel of 16
//! units first and gate second, so that the gates of 16 units lie side by side: output o is gate (o / 16) % gates of unit
//! o / (16 · gates) · 16 + o % 16. Roof: a step streams W_hh once from L2 or L3; four panels run at a time to cover the FMA latency.

use super::Kernel;
use super::ahead::Ahead;
use super::gemm::{Batch, Gemm, Init, Matmul, Rows, matmul};
use super::lanes::F32Lanes;
use super::layout::{PANEL, matrix_len, pad, panel_len};
use super::math::{sigmoid, tanh};
use crate::isa::Isa;

/// Shapes of a cell; nothing is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellShape {
    /// Width of the input.
    pub input: usize,
    /// Hidden units.
    pub hidden: usize,
    /// 4 for LSTM (i, f, g, o), 3 for GRU (r, z, n).
    pub gates: usize,
}

/// The packed weights of a cell.
#[derive(Clone, Copy)]
pub struct CellWeights<'a> {
    /// Packed \[outputs, input\].
    pub input: &'a [f32],
    /// b_ih, and b_hh too but for GRU's n.
    pub bias: &'a [f32],
    /// Packed \[outputs, hidden\].
    pub hidden: &'a [f32],
    /// b_hh of GRU's n, zero elsewhere.
    pub hidden_bias: &'a [f32],
}

impl CellShape {
    /// Outputs of both products, padded.
    pub fn outputs(&self) -> usize {
        self.gates * pad(self.hidden)
    }

    /// Gate and unit of an output; units beyond `hidden` are padding.
    pub fn gate_and_unit(&self, output: usize) -> (usize, usize) {
        (output / PANEL % self.gates, output / (PANEL * self.gates) * PANEL + output % PANEL)
    }

    /// Floats of scratch for `rows` slices.
    pub fn scratch_len(&self, rows: usize) -> usize {
        (rows + 1) * self.outputs() + 2 * pad(self.hidden)
    }
}

/// Runs a cell over `rows` slices `x` \[rows, input\], backwards if `reverse`, into `y` \[rows, hidden\].
///
/// # Panics
/// When a slice is too short or `gates` is neither 3 nor 4.
pub fn recur(isa: Isa, shape: &CellShape, w: &CellWeights<'_>, reverse: bool, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    assert!(matches!(shape.gates, 3 | 4) && shape.hidden > 0 && shape.input > 0);
    let (rows, outputs, hidden) = (x.len() / shape.input, shape.outputs(), pad(shape.hidden));
    assert!(y.len() >= rows * shape.hidden && scratch.len() >= shape.scratch_len(rows));
    assert!(w.hidden.len() >= matrix_len(shape.hidden, outputs) && w.hidden_bias.len() >= outputs);
    let (sums, rest) = scratch.split_at_mut(rows * outputs);
    let projection = Matmul { rows, k: shape.input, n: outputs, a: x, a_stride: shape.input, weights: w.input, bias: w.bias, relu: false };
    matmul(isa, &projection, sums, outputs);
    let (gates, rest) = rest.split_at_mut(outputs);
    let (h, rest) = rest.split_at_mut(hidden);
    let c = &mut rest[..hidden];
    h.fill(0.0);
    c.fill(0.0);
    for step in 0..rows {
        let row = if reverse { rows - 1 - step } else { step };
        let sums = &mut sums[row * outputs..][..outputs];
        isa.run(Step { shape, w, sums, gates, h, c });
        y[row * shape.hidden..][..shape.hidden].copy_from_slice(&h[..shape.hidden]);
    }
}

/// One slice: `sums` holds its projection, `h` and `c` the state.
struct Step<'a> {
    shape: &'a CellShape,
    w: &'a CellWeights<'a>,
    sums: &'a mut [f32],
    gates: &'a mut [f32],
    h: &'a mut [f32],
    c: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let (shape, count) = (self.shape, self.shape.gates);
        for (panel, (gates, sums)) in self.gates.chunks_exact_mut(PANEL).zip(self.sums.chunks_exact(PANEL)).enumerate() {
            let separate = count == 3 && panel % 3 == 2;
            gates.copy_from_slice(if separate { &self.w.hidden_bias[panel * PANEL..][..PANEL] } else { sums });
        }
        // SAFETY: `recur` checked the weights; `h` has `hidden` floats and `gates` all outputs.
        unsafe {
            V::call(Gemm {
                rows: 1,
                a: self.h.as_ptr(),
                a_rows: Rows::Stride(0),
                runs: &[0],
                run_len: shape.hidden,
                w: self.w.hidden.as_ptr(),
                panel_len: panel_len(shape.hidden),
                panels: shape.outputs() / PANEL,
                init: Init::Continue,
                dst: self.gates.as_mut_ptr(),
                dst_rows: Rows::Stride(0),
                relu: false,
                batch: Batch::ONE,
                ahead: Ahead::NONE,
            });
        }
        for unit in (0..pad(shape.hidden)).step_by(V::LANES) {
            let at = unit / PANEL * PANEL * count + unit % PANEL;
            // SAFETY: `at + gate · 16` is a vector of the outputs, `unit` one of the padded units.
            unsafe {
                let gate = |g: usize| V::load(self.gates.as_ptr().add(at + g * PANEL));
                let (h, c) = (self.h.as_mut_ptr().add(unit), self.c.as_mut_ptr().add(unit));
                if count == 4 {
                    let kept = sigmoid(gate(1)).mul(V::load(c));
                    let cell = sigmoid(gate(0)).mul_add(tanh(gate(2)), kept);
                    cell.store(c);
                    sigmoid(gate(3)).mul(tanh(cell)).store(h);
                } else {
                    let z = sigmoid(gate(1));
                    let n = tanh(sigmoid(gate(0)).mul_add(gate(2), V::load(self.sums.as_ptr().add(at + 2 * PANEL))));
                    z.mul_add(V::load(h).sub(n), n).store(h);
                }
            }
        }
    }
}
