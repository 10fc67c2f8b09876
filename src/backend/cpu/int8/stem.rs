//! The stem of a network whose slabs hold codes: in integers of 16 bits ([`crate::backend::quantised::stem`]); for a slice that those do not reach, that
//! of fp32 into a map of floats, which is converted.

use super::program::Factors;
use crate::backend::cpu::pack::Into;
use crate::backend::cpu::planar::{Memory, disjoint};
use crate::backend::cpu::program::{Op, Places, Stage};
use crate::backend::cpu::{CpuBackend, air};
use crate::backend::quantised::stem::{Numbers, StemCodes, reaches};
use crate::model::Network;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::Integers;
use radnet_kernels::cpu::int8::convert::{ConvertShape, quantise};
use radnet_kernels::cpu::int8::layout::{codes_mut, floats_of_words, words, words_mut};
use radnet_kernels::cpu::int8::stem::{self as integers, Slab, StemWeights, fits, pack_stem, quickest, weights_len};
use radnet_kernels::cpu::stem::{self, StemShape};
use std::ops::Range;

/// Where the integers of one stem lie.
#[derive(Clone, Debug)]
pub(in crate::backend::cpu) struct StemPlaces {
    pub(in crate::backend::cpu) level: Integers,
    numbers: Numbers,
    conv: Range<usize>,
    out: Factors,
}

impl StemPlaces {
    /// Those of all stems of a network.
    pub(in crate::backend::cpu) fn take(level: Integers, shape: &StemShape, network: &Network, places: &mut Places) -> Vec<Self> {
        let level = quickest(level, shape);
        let mut take = |reach| {
            let conv = places.take(floats_of_words(weights_len(level, shape)));
            Self { level, numbers: Numbers::new(reach), conv, out: Factors::take(places, shape.out_channels) }
        };
        reaches(network.largest_input).map(&mut take).collect()
    }

    /// Whether values have numbers, so that their stem is one of integers.
    pub(in crate::backend::cpu) fn reach(&self, values: &[f32]) -> bool {
        fits(self.level, values, self.numbers.unit, self.numbers.largest)
    }
}

/// Packs a stem's integers.
///
/// # Errors
/// `device` when a sum of products could leave 32 bits.
pub(in crate::backend::cpu) fn pack(into: &mut Into<'_>, shape: &StemShape, to: &StemPlaces, codes: &StemCodes) -> Result<()> {
    let (k, outputs) = (shape.k(), codes.scale.len());
    into.at(&to.out.scale)[..outputs].copy_from_slice(&codes.scale);
    into.at(&to.out.shift)[..outputs].copy_from_slice(&codes.shift);
    match pack_stem(to.level, shape, words_mut(into.at(&to.conv)), to.numbers.largest, |o, i| {
        if o < outputs { codes.weights[o * k + i] } else { 0 }
    }) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Device, "the sums of the stem of this model need more than 32 bits")),
    }
}

impl CpuBackend {
    /// The stem of one image into the slab of block 1, which holds codes of these factors.
    pub(in crate::backend::cpu) fn run_stem_codes(
        &self,
        index: usize,
        (stage, factors): (&Stage, &Factors),
        image: usize,
        memory: &mut Memory<'_>,
    ) {
        let Op::Stem { shape, weights, bias, integers, .. } = &stage.op else { return };
        let w = |range: &Range<usize>| &self.packed[range.clone()];
        let ranges = [self.arena.input(), self.arena.floats(index), self.arena.slab(0, image, 1), self.arena.scratch(index)];
        let [input, floats, slab, own] = disjoint(memory.arena, ranges);
        let scratch = memory.shared.as_deref_mut().unwrap_or(own);
        let stride = self.program.slabs[0].stride;
        let reached = integers.iter().position(|places| places.reach(input));
        // Nothing of the empty slice, which has the first stem, is like a slice that has another.
        let first = reached.unwrap_or(integers.len()) == 0;
        let empty = self.empty_slab(0).filter(|_| first);
        let spans = memory.marks.enter(&stage.op, empty.is_some());
        if let (Some(empty), Some(spans)) = (empty, spans) {
            air::fill(slab, empty, stride / self.program.element.per_float(), spans);
        }
        let slabs = StemShape { slab_stride: stride, ..*shape };
        if let Some(places) = reached.map(|i| &integers[i]) {
            let (scale, offset) = self.factors(&places.out);
            let weights = StemWeights { unit: places.numbers.unit, conv: words(w(&places.conv)), scale, offset };
            let (scale, offset) = self.factors(factors);
            let slab = Slab { codes: codes_mut(slab), scale, offset };
            integers::stem(places.level, &slabs, &weights, (input, spans), slab, scratch, memory.crew);
            return;
        }
        stem::stem(self.isa, shape, (w(weights), w(bias)), (input, spans), stem::Slab::Floats(floats), scratch, memory.crew);
        let ((height, width), channels) = (shape.output(), shape.out_channels);
        let map = ConvertShape { height, width, channels, floats_stride: channels, codes_stride: stride };
        quantise(self.integers, &map, self.factors(factors), (floats, spans), codes_mut(slab), memory.crew);
    }
}
