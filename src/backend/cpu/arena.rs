//! The arena of one worker: which buffers a program needs, and when.

use super::program::{Element, GROUP, Op, Program};
use crate::plan::{Plan, Request};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::{bf16, int8};
use std::ops::Range;

/// Offsets of a program's buffers in a worker's arena.
#[derive(Clone, Debug)]
pub(super) struct ArenaPlan {
    pub(super) plan: Plan,
    slabs: usize,
    stages: usize,
    lens: Vec<(usize, bool)>,
}

/// Request numbers: the input, the attention map, the pooled vector, then slabs, then scratch by stage, then maps of floats by stage.
const INPUT: usize = 0;
const ATTENTION: usize = 1;
const POOLED: usize = 2;
const FIRST_SLAB: usize = 3;

impl ArenaPlan {
    pub(super) fn new(program: &Program) -> Self {
        let planar = &program.stages[..program.planar];
        let last = planar.len() - 1;
        let request = |name: &str, len, first, last| Request { name: name.into(), len, first, last };
        let (mut input, mut map, mut pooled) = (0, 0, 0);
        for stage in planar {
            match &stage.op {
                Op::Stem { shape, .. } => input = shape.channels * shape.height * shape.width,
                Op::Attention { shape, .. } => (map, pooled) = (shape.heads * shape.height * shape.width, shape.heads * shape.channels),
                _ => {}
            }
        }
        let mut requests =
            vec![request("input", input, 0, 0), request("attention map", map, last, last), request("pooled", pooled, last, last)];
        for (block, slab) in program.slabs.iter().enumerate() {
            let reads = |i: &usize| planar[*i].block == block;
            let entry = (0..planar.len()).find(reads).unwrap_or(0).saturating_sub(usize::from(block > 0));
            let end = (0..planar.len()).rev().find(reads).unwrap_or(last);
            // A slab that collects a group lives through all the single runs that fill it.
            let first = if slab.grouped && entry < program.single { 0 } else { entry };
            let images = if slab.grouped { GROUP } else { 1 };
            requests.push(request(&format!("slab {}", block + 1), slab.len() * images, first, end));
        }
        for (i, stage) in planar.iter().enumerate() {
            requests.push(request(&stage.name, scratch_len(&stage.op, program.element, 1), i, i));
        }
        for (i, stage) in planar.iter().enumerate() {
            requests.push(request(&format!("{} as floats", stage.name), floats_len(&stage.op, program.element), i, i));
        }
        let lens = program.slabs.iter().map(|s| (s.len(), s.grouped)).collect();
        Self { plan: Plan::new(requests), slabs: program.slabs.len(), stages: planar.len(), lens }
    }

    pub(super) fn input(&self) -> Range<usize> {
        self.plan.range(INPUT)
    }

    pub(super) fn attention(&self) -> Range<usize> {
        self.plan.range(ATTENTION)
    }

    pub(super) fn pooled(&self) -> Range<usize> {
        self.plan.range(POOLED)
    }

    /// The slab of a block for `count` images from `slot` on; one that is not grouped has a single image.
    pub(super) fn slab(&self, block: usize, slot: usize, count: usize) -> Range<usize> {
        let whole = self.plan.range(FIRST_SLAB + block);
        let (len, grouped) = self.lens[block];
        if grouped { whole.start + slot * len..whole.start + (slot + count) * len } else { whole }
    }

    /// The map of floats of a stage whose slab holds something else.
    pub(super) fn floats(&self, stage: usize) -> Range<usize> {
        debug_assert!(stage < self.stages);
        self.plan.range(FIRST_SLAB + self.slabs + self.stages + stage)
    }

    /// The scratch of a stage for one worker.
    pub(super) fn scratch(&self, stage: usize) -> Range<usize> {
        debug_assert!(stage < self.stages);
        self.plan.range(FIRST_SLAB + self.slabs + stage)
    }
}

/// Floats of the map between an fp32 stage and a slab of something else.
fn floats_len(op: &Op, element: Element) -> usize {
    match op {
        _ if element == Element::F32 => 0,
        Op::Stem { .. } if matches!(element, Element::Bf16(_)) => 0,
        Op::Stem { shape, .. } => shape.output().0 * shape.output().1 * shape.out_channels,
        Op::Segmentation { shape, .. } => shape.height * shape.width * shape.channels,
        Op::Attention { shape, .. } => shape.height * shape.width * shape.channels,
        _ => 0,
    }
}

/// Floats of scratch a stage needs for one of `workers` that share it.
pub(super) fn scratch_len(op: &Op, element: Element, workers: usize) -> usize {
    match op {
        Op::Stem { shape, integers, .. } => {
            let integers = integers.iter().map(|stem| int8::stem::scratch_len(stem.level, shape)).max();
            shape.scratch_len().max(integers.unwrap_or(0))
        }
        Op::Dense { shape, .. } => {
            let len = |images| match (element, DenseShape { images, ..*shape }) {
                (Element::Bf16(isa), shape) => bf16::dense::scratch_len(isa, &shape, workers),
                (_, shape) => shape.scratch_len(workers),
            };
            (1..=GROUP).map(len).max().unwrap_or(0)
        }
        Op::DenseCodes { shape, places, .. } => {
            let len = |images| int8::dense::scratch_len(places.level, &DenseShape { images, ..*shape }, workers);
            (1..=GROUP).map(len).max().unwrap_or(0)
        }
        Op::TransitionCodes { shape, places, .. } => int8::transition::scratch_len(places.level, shape),
        Op::Segmentation { shape, .. } => shape.scratch_len(),
        Op::Transition { shape, .. } => match element {
            Element::Bf16(isa) => bf16::transition::scratch_len(isa, shape),
            _ => shape.scratch_len(),
        },
        Op::Attention { shape, .. } => shape.scratch_len(),
        Op::Recurrent { .. } | Op::Classifier { .. } => 0,
    }
}
