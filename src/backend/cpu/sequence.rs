//! Recurrence and classifier over a whole scan.

use super::CpuBackend;
use super::program::{Cell, Op};
use radnet_kernels::cpu::gemm::{Matmul, matmul};
use radnet_kernels::cpu::layout::pad;
use radnet_kernels::cpu::recurrent::{CellShape, CellWeights, recur};
use std::time::Instant;

/// Buffers that grow to the longest scan seen.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    input: Vec<f32>,
    outputs: [Vec<f32>; 2],
    scratch: [Vec<f32>; 2],
    logits: Vec<f32>,
}

/// At least `len` floats.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

impl CpuBackend {
    /// Slice vectors \[slices, slice_vector\] → logits \[slices, classes\].
    pub(super) fn run_sequence(&self, pooled: &[f32], logits: &mut [f32], memory: &mut Sequence) {
        let slices = pooled.len() / self.slice_vector;
        let mut width = self.slice_vector;
        sized(&mut memory.input, pooled.len()).copy_from_slice(pooled);
        for (index, stage) in self.program.stages.iter().enumerate().skip(self.program.planar) {
            let started = self.clocks.as_ref().map(|_| Instant::now());
            match &stage.op {
                Op::Recurrent { shape, cells } => {
                    self.run_layer(shape, cells, slices, memory);
                    width = shape.hidden * cells.len();
                }
                Op::Classifier { input, classes, weights, bias } => {
                    debug_assert_eq!(*input, width);
                    let padded = pad(*classes);
                    let product = Matmul {
                        rows: slices,
                        k: width,
                        n: *classes,
                        a: &memory.input[..slices * width],
                        a_stride: width,
                        weights: &self.packed[weights.clone()],
                        bias: &self.packed[bias.clone()],
                        relu: false,
                    };
                    let out = sized(&mut memory.logits, slices * padded);
                    matmul(self.isa, &product, out, padded);
                    for (to, from) in logits.chunks_exact_mut(*classes).zip(out.chunks_exact(padded)) {
                        to.copy_from_slice(&from[..*classes]);
                    }
                }
                _ => {}
            }
            if let (Some(clocks), Some(started)) = (&self.clocks, started) {
                clocks.add(index, started, 1, self.threads);
            }
        }
    }

    /// One recurrent layer; its output replaces the input.
    fn run_layer(&self, shape: &CellShape, cells: &[Cell], slices: usize, memory: &mut Sequence) {
        let Sequence { input, outputs: [y0, y1], scratch: [s0, s1], .. } = memory;
        let x = &input[..slices * shape.input];
        let run = |cell: &Cell, reverse: bool, y: &mut Vec<f32>, scratch: &mut Vec<f32>| {
            let w = |range: &std::ops::Range<usize>| &self.packed[range.clone()];
            let weights =
                CellWeights { input: w(&cell.input), bias: w(&cell.bias), hidden: w(&cell.hidden), hidden_bias: w(&cell.hidden_bias) };
            let (y, scratch) = (sized(y, slices * shape.hidden), sized(scratch, shape.scratch_len(slices)));
            recur(self.isa, shape, &weights, reverse, x, y, scratch);
        };
        match cells {
            [forward, backward] if self.threads > 1 => {
                rayon::join(|| run(forward, false, y0, s0), || run(backward, true, y1, s1));
            }
            [forward, backward] => {
                run(forward, false, y0, s0);
                run(backward, true, y1, s1);
            }
            [forward] => run(forward, false, y0, s0),
            _ => {}
        }
        let width = shape.hidden * cells.len();
        for (t, row) in sized(input, slices * width).chunks_exact_mut(width).enumerate() {
            for (direction, part) in row.chunks_exact_mut(shape.hidden).enumerate() {
                let y = if direction == 0 { &*y0 } else { &*y1 };
                part.copy_from_slice(&y[t * shape.hidden..][..shape.hidden]);
            }
        }
    }
}
