//! Steps over codes on one worker's arena, and the conversion at their end.

use super::{DensePlaces, Factors, TransitionPlaces};
use crate::backend::cpu::planar::{Memory, disjoint};
use crate::backend::cpu::program::{Op, Stage};
use crate::backend::cpu::{CpuBackend, air};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::int8::convert::{ConvertShape, restore};
use radnet_kernels::cpu::int8::dense::{DenseWeights, dense_layer, mid_map};
use radnet_kernels::cpu::int8::layout::{codes, codes_mut};
use radnet_kernels::cpu::int8::transition::{TransitionWeights, transition};
use std::ops::Range;

impl CpuBackend {
    /// Scales and shifts.
    pub(in crate::backend::cpu) fn factors(&self, factors: &Factors) -> (&[f32], &[f32]) {
        (&self.packed[factors.scale.clone()], &self.packed[factors.shift.clone()])
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        codes(&self.packed[range.clone()])
    }

    fn weights_of_codes(&self, places: &DensePlaces) -> DenseWeights<'_> {
        let ((scale1, offset1), (scale2, offset2)) = (self.factors(&places.mid), self.factors(&places.out));
        DenseWeights {
            low: self.bytes(&places.low),
            high: self.bytes(&places.high),
            conv1: self.bytes(&places.conv1),
            scale1,
            offset1,
            conv2: self.bytes(&places.conv2),
            scale2,
            offset2,
        }
    }

    /// The map between the convolutions of a layer over codes.
    pub(in crate::backend::cpu) fn mid_map_codes(
        &self,
        (shape, places): (&DenseShape, &DensePlaces),
        slab: &mut [f32],
        mid: &mut [f32],
        scratch: &mut [f32],
    ) {
        mid_map(self.integers, shape, &self.weights_of_codes(places), codes_mut(slab), codes_mut(mid), scratch);
    }

    /// A dense layer over codes for `shape.images` images from `slot` on.
    pub(in crate::backend::cpu) fn run_dense_codes(
        &self,
        index: usize,
        (shape, places): (&DenseShape, &DensePlaces),
        slot: usize,
        memory: &mut Memory<'_>,
    ) {
        let stage = &self.program.stages[index];
        let weights = self.weights_of_codes(places);
        let slab = self.arena.slab(stage.block, slot, shape.images);
        let marked = memory.marks.layer(&stage.op, self.known_mid(index).map(codes));
        match &mut memory.shared {
            Some(scratch) => {
                dense_layer(self.integers, shape, &weights, marked, codes_mut(&mut memory.arena[slab]), scratch, memory.crew);
            }
            None => {
                let [slab, scratch] = disjoint(memory.arena, [slab, self.arena.scratch(index)]);
                dense_layer(self.integers, shape, &weights, marked, codes_mut(slab), scratch, memory.crew);
            }
        }
    }

    /// A transition over codes of one image.
    pub(in crate::backend::cpu) fn run_transition_codes(
        &self,
        index: usize,
        places: &TransitionPlaces,
        image: usize,
        memory: &mut Memory<'_>,
    ) {
        let stage = &self.program.stages[index];
        let Op::TransitionCodes { shape, .. } = &stage.op else { return };
        let (scale, offset) = self.factors(&places.out);
        let (low, high) = (self.bytes(&places.low), self.bytes(&places.high));
        let weights = TransitionWeights { low, high, conv: self.bytes(&places.conv), scale, offset };
        let next = stage.block + 1;
        let ranges = [self.arena.slab(stage.block, image, 1), self.arena.slab(next, image, 1), self.arena.scratch(index)];
        let [slab, into, own] = disjoint(memory.arena, ranges);
        let scratch = memory.shared.as_deref_mut().unwrap_or(own);
        let empty = self.empty_slab(next);
        let spans = memory.marks.enter(&stage.op, empty.is_some());
        if let (Some(empty), Some(spans)) = (empty, spans) {
            air::fill(into, empty, shape.dst_stride / 4, spans);
        }
        transition(self.integers, shape, &weights, (codes(slab), spans), codes_mut(into), scratch, memory.crew);
    }

    /// Where an fp32 step finds its block's slab as floats: a map of its own that is made here when the slab holds codes.
    pub(in crate::backend::cpu) fn float_slab(&self, index: usize, stage: &Stage, image: usize, memory: &mut Memory<'_>) -> Range<usize> {
        let slab = self.arena.slab(stage.block, image, 1);
        let (height, width, channels, factors) = match &stage.op {
            Op::Segmentation { shape, codes: Some(factors), .. } => (shape.height, shape.width, shape.channels, factors),
            Op::Attention { shape, codes: Some(factors), .. } => (shape.height, shape.width, shape.channels, factors),
            _ => return slab,
        };
        let floats = self.arena.floats(index);
        let map = ConvertShape { height, width, channels, floats_stride: channels, codes_stride: self.program.slabs[stage.block].stride };
        let [from, to] = disjoint(memory.arena, [slab, floats.clone()]);
        restore(self.integers, &map, self.factors(factors), codes(from), to, memory.crew);
        floats
    }
}
