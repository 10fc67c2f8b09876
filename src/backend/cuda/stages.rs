//! Where a device's time goes: marks between steps that were queued one by one.

use super::program::{Op, Program};
use crate::Result;
use crate::backend::StageTime;
use radnet_kernels::cuda::Queue;
use std::sync::{Mutex, PoisonError};

/// The marks of one run.
pub(super) struct Marks {
    from: u32,
    /// A step, and the mark after it.
    steps: Vec<(usize, u32)>,
    to: u32,
}

impl Marks {
    pub(super) fn new(from: u32) -> Self {
        Self { from, steps: Vec::new(), to: from }
    }

    /// Marks the end of a step.
    pub(super) fn step(&mut self, queue: &mut Queue, step: usize) -> Result<()> {
        self.steps.push((step, queue.mark().map_err(|e| super::error(e, "a mark"))?));
        Ok(())
    }

    pub(super) fn end(&mut self, to: u32) {
        self.to = to;
    }

    /// Device time of the whole run.
    pub(super) fn total_ms(&self, queue: &mut Queue) -> Result<Option<f64>> {
        queue.elapsed_ms(self.from, self.to).map_err(|e| super::error(e, "a time"))
    }
}

/// Nanoseconds and runs of every step.
#[derive(Debug)]
pub(super) struct Clocks(Mutex<Vec<(u64, u64)>>);

impl Clocks {
    pub(super) fn new(program: &Program) -> Self {
        Self(Mutex::new(vec![(0, 0); program.stages.len()]))
    }

    /// Takes the times of a finished run over `slices` slices.
    pub(super) fn add(&self, marks: &Marks, queue: &mut Queue, slices: usize) -> Result<()> {
        let mut last = marks.from;
        for &(step, mark) in &marks.steps {
            let ms = queue.elapsed_ms(last, mark).map_err(|e| super::error(e, "a time"))?.unwrap_or(0.0);
            last = mark;
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((ns, runs)) = all.get_mut(step) {
                *ns += (ms.max(0.0) * 1e6) as u64;
                *runs += slices as u64;
            }
        }
        Ok(())
    }

    /// The figures so far; they start again from zero.
    pub(super) fn take(&self, program: &Program, element_bytes: usize) -> Vec<StageTime> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = program.stages.iter().zip(all.iter_mut()).map(|(stage, counted)| {
            let (ns, runs) = std::mem::take(counted);
            let (flop, bytes) = work(&stage.op, element_bytes);
            StageTime { name: stage.name.clone(), ns, runs, flop, bytes }
        });
        figures.collect()
    }
}

/// FLOP as a direct convolution counts them, and bytes of activations that must move, for one slice.
fn work(op: &Op, element: usize) -> (u64, u64) {
    let (flop, bytes) = match op {
        Op::Stem { shape, .. } => {
            let (rows, columns) = shape.output();
            let taps = 4 * rows * columns * 49 * shape.channels * shape.features;
            (2 * taps, 4 * shape.channels * shape.height * shape.width + rows * columns * shape.features * element)
        }
        Op::Dense { shape, layers } => {
            let flop: u64 = layers.iter().map(|l| shape.flop(l)).sum();
            let bytes: u64 = layers.iter().map(|l| shape.bytes(l)).sum();
            return (flop, bytes);
        }
        Op::Segmentation { shape, .. } => {
            let area = shape.height * shape.width;
            (2 * area * shape.slab_channels, area * shape.slab_channels * element + 4 * shape.rows * shape.columns)
        }
        Op::Transition { shape, .. } => {
            let moved = shape.height * shape.width * shape.in_channels + shape.positions() * shape.out_channels;
            return (shape.flop(), (moved * element) as u64);
        }
        Op::Attention { shape, .. } => (4 * shape.area * shape.channels * shape.heads, shape.area * shape.slab_channels * element),
        Op::Recurrent { projection, plan, .. } => {
            let weights = projection.outputs * (projection.inputs + plan.shape.hidden);
            (2 * weights, 4 * (projection.inputs + projection.outputs))
        }
        Op::Classifier { shape, .. } => (2 * shape.inputs * shape.outputs, 4 * (shape.inputs + shape.outputs)),
    };
    (flop as u64, bytes as u64)
}
