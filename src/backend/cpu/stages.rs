//! Where the time goes: what each step of the program costs, measured only when asked for.

use super::program::{Op, Program, Slab};
use crate::backend::StageTime;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counters beside a program's stages.
#[derive(Debug)]
pub(super) struct Clocks(Vec<(AtomicU64, AtomicU64)>);

impl Clocks {
    pub(super) fn new(program: &Program) -> Self {
        Self(program.stages.iter().map(|_| Default::default()).collect())
    }

    /// `threads`: how many work on this stage or wait for it, so that their time is counted and not the clock's.
    pub(super) fn add(&self, stage: usize, started: Instant, runs: usize, threads: usize) {
        let ns = u64::try_from(started.elapsed().as_nanos() * threads as u128).unwrap_or(u64::MAX);
        self.0[stage].0.fetch_add(ns, Ordering::Relaxed);
        self.0[stage].1.fetch_add(runs as u64, Ordering::Relaxed);
    }

    /// The figures so far; the counters start again from zero.
    pub(super) fn take(&self, program: &Program) -> Vec<StageTime> {
        let figures = program.stages.iter().zip(&self.0).map(|(stage, (ns, runs))| {
            let (flop, activations) = work(&stage.op, program.slabs.get(stage.block));
            StageTime {
                name: stage.name.clone(),
                ns: ns.swap(0, Ordering::Relaxed),
                runs: runs.swap(0, Ordering::Relaxed),
                flop,
                bytes: 4 * (activations + stage.packed.len()) as u64,
            }
        });
        figures.collect()
    }
}

/// FLOP and floats of activations read and written, for one image (for one slice in the recurrence).
fn work(op: &Op, slab: Option<&Slab>) -> (u64, usize) {
    let (pixels, per_float) = slab.map_or((0, 1), |s| (s.pixels, s.element.per_float()));
    match op {
        Op::Stem { shape, .. } => (shape.flop(), shape.channels * shape.height * shape.width + pixels * shape.out_channels),
        Op::Dense { shape, .. } | Op::DenseCodes { shape, .. } => (shape.flop(), pixels * (shape.in_channels + shape.growth) / per_float),
        Op::Transition { shape, .. } | Op::TransitionCodes { shape, .. } => {
            (shape.flop(), (pixels * shape.in_channels + pixels / 4 * shape.out_channels) / per_float)
        }
        Op::Segmentation { shape, .. } => (2 * (pixels * shape.channels) as u64, pixels * shape.channels),
        Op::Attention { shape, .. } => (4 * (pixels * shape.channels * shape.heads) as u64, pixels * shape.channels),
        Op::Recurrent { shape, cells } => {
            ((2 * cells.len() * shape.gates * shape.hidden * (shape.input + shape.hidden)) as u64, shape.input + shape.hidden)
        }
        Op::Classifier { input, classes, .. } => (2 * (input * classes) as u64, input + classes),
    }
}
