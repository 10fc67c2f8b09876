//! Steps over bf16 on one worker's arena, and the conversion at their end.

use crate::backend::cpu::planar::{Memory, disjoint};
use crate::backend::cpu::program::{Op, Stage};
use crate::backend::cpu::{CpuBackend, air};
use radnet_kernels::cpu::bf16::convert::{ConvertShape, widen};
use radnet_kernels::cpu::bf16::dense::{DenseWeights, dense_layer, mid_map};
use radnet_kernels::cpu::bf16::layout::{halves, halves_mut};
use radnet_kernels::cpu::bf16::transition::{TransitionWeights, transition};
use radnet_kernels::cpu::dense::DenseShape;
use std::ops::Range;

impl CpuBackend {
    fn weights_of_halves(&self, op: &Op) -> Option<DenseWeights<'_>> {
        let Op::Dense { scale, shift, conv1, bias1, conv2, .. } = op else { return None };
        let w = |range: &Range<usize>| &self.packed[range.clone()];
        Some(DenseWeights { scale: w(scale), shift: w(shift), conv1: halves(w(conv1)), bias1: w(bias1), conv2: halves(w(conv2)) })
    }

    /// The map between the convolutions of a layer over bf16.
    pub(in crate::backend::cpu) fn mid_map_bf16(
        &self,
        op: &Op,
        shape: &DenseShape,
        slab: &mut [f32],
        mid: &mut [f32],
        scratch: &mut [f32],
    ) {
        if let Some(weights) = self.weights_of_halves(op) {
            mid_map(self.isa, shape, &weights, halves_mut(slab), halves_mut(mid), scratch);
        }
    }

    /// A dense layer over bf16 for `shape.images` images from `slot` on.
    pub(in crate::backend::cpu) fn run_dense_bf16(&self, index: usize, shape: &DenseShape, slot: usize, memory: &mut Memory<'_>) {
        let stage = &self.program.stages[index];
        let Some(weights) = self.weights_of_halves(&stage.op) else { return };
        let slab = self.arena.slab(stage.block, slot, shape.images);
        let marked = memory.marks.layer(&stage.op, self.known_mid(index).map(halves));
        match &mut memory.shared {
            Some(scratch) => {
                dense_layer(self.isa, shape, &weights, marked, halves_mut(&mut memory.arena[slab]), scratch, memory.crew);
            }
            None => {
                let [slab, scratch] = disjoint(memory.arena, [slab, self.arena.scratch(index)]);
                dense_layer(self.isa, shape, &weights, marked, halves_mut(slab), scratch, memory.crew);
            }
        }
    }

    /// A transition over bf16 of one image.
    pub(in crate::backend::cpu) fn run_transition_bf16(&self, index: usize, stage: &Stage, image: usize, memory: &mut Memory<'_>) {
        let Op::Transition { shape, scale, shift, conv, .. } = &stage.op else { return };
        let w = |range: &Range<usize>| &self.packed[range.clone()];
        let weights = TransitionWeights { scale: w(scale), shift: w(shift), conv: halves(w(conv)) };
        let next = stage.block + 1;
        let ranges = [self.arena.slab(stage.block, image, 1), self.arena.slab(next, image, 1), self.arena.scratch(index)];
        let [slab, into, own] = disjoint(memory.arena, ranges);
        let scratch = memory.shared.as_deref_mut().unwrap_or(own);
        let empty = self.empty_slab(next);
        let spans = memory.marks.enter(&stage.op, empty.is_some());
        if let (Some(empty), Some(spans)) = (empty, spans) {
            air::fill(into, empty, shape.dst_stride / 2, spans);
        }
        transition(self.isa, shape, &weights, (halves(slab), spans), halves_mut(into), scratch, memory.crew);
    }

    /// The slab of an fp32 step's block as a map of floats of its own.
    pub(in crate::backend::cpu) fn widened_slab(&self, index: usize, stage: &Stage, image: usize, memory: &mut Memory<'_>) -> Range<usize> {
        let slab = self.arena.slab(stage.block, image, 1);
        let (height, width, channels) = match &stage.op {
            Op::Segmentation { shape, .. } => (shape.height, shape.width, shape.channels),
            Op::Attention { shape, .. } => (shape.height, shape.width, shape.channels),
            _ => return slab,
        };
        let floats = self.arena.floats(index);
        let map = ConvertShape { height, width, channels, floats_stride: channels, halves_stride: self.program.slabs[stage.block].stride };
        let [from, to] = disjoint(memory.arena, [slab, floats.clone()]);
        widen(self.isa, &map, halves(from), to, memory.crew);
        floats
    }
}
