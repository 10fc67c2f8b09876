//! The 2-D network on one worker's arena: a few slices at a time from windowed pixels to slice vectors.

use super::CpuBackend;
use super::air::{self, Marks};
use super::program::{Element, GROUP, Op, Stage};
use crate::observer::Observer;
use crate::tensor::SliceSource;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cpu::attention::{AttentionWeights, attention_pool};
use radnet_kernels::cpu::bf16::layout::halves_mut;
use radnet_kernels::cpu::dense::{DenseShape, DenseWeights, dense_layer, mid_map};
use radnet_kernels::cpu::segmentation::{SegmentationWeights, segmentation_map};
use radnet_kernels::cpu::stem::{Slab, stem};
use radnet_kernels::cpu::transition::{TransitionWeights, transition};
use radnet_kernels::parallel::{Crew, with_crew};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a scan's workers share.
pub(super) struct Scan<'a> {
    pub(super) source: &'a dyn SliceSource,
    pub(super) observer: &'a dyn Observer,
    pub(super) done: AtomicUsize,
}

impl Scan<'_> {
    fn check(&self) -> Result<()> {
        match self.observer.cancelled() {
            true => Err(Error::new(ErrorKind::Cancelled, "the host asked to stop")),
            false => Ok(()),
        }
    }

    fn finished(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.observer.slices_done(done, self.source.slices());
    }
}

/// Where the results of some consecutive slices go: one item per slice in each.
pub(super) struct Outputs<'a> {
    pub(super) pooled: &'a mut [f32],
    pub(super) attention: &'a mut [Vec<f32>],
    pub(super) segmentation: &'a mut [Vec<f32>],
}

impl<'a> Outputs<'a> {
    /// Takes the first `count` slices out; absent maps stay absent.
    pub(super) fn take(&mut self, count: usize, vector: usize) -> Outputs<'a> {
        fn first<'a, T>(slice: &mut &'a mut [T], count: usize) -> &'a mut [T] {
            slice.split_off_mut(..count.min(slice.len())).unwrap_or_default()
        }
        Outputs {
            pooled: first(&mut self.pooled, count * vector),
            attention: first(&mut self.attention, count),
            segmentation: first(&mut self.segmentation, count),
        }
    }
}

/// The slices of a scan that no thread has begun.
pub(super) struct Queue<'a>(Mutex<(std::ops::Range<usize>, Outputs<'a>)>);

impl<'a> Queue<'a> {
    pub(super) fn new(slices: std::ops::Range<usize>, out: Outputs<'a>) -> Self {
        Self(Mutex::new((slices, out)))
    }

    /// The next few slices for one of `threads` threads, and where their results go: whole groups, and fewer near the end so that all end together.
    pub(super) fn next(&self, threads: usize, vector: usize) -> Option<(std::ops::Range<usize>, Outputs<'a>)> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, out) = &mut *queue;
        let last_round = threads > 1 && left.len() <= GROUP * threads;
        let count = if last_round { left.len().div_ceil(2 * threads) } else { GROUP.min(left.len()) };
        let taken = left.start..left.start + count;
        left.start = taken.end;
        (count > 0).then(|| (taken, out.take(count, vector)))
    }
}

/// Who runs a stage and where: an arena with its marks, the crew, and scratch for each of its workers when they are several.
pub(super) struct Memory<'a> {
    pub(super) arena: &'a mut [f32],
    pub(super) marks: &'a mut Marks,
    pub(super) shared: Option<&'a mut [f32]>,
    pub(super) crew: &'a Crew<'a>,
}

impl CpuBackend {
    /// Runs slices from the queue until it is empty, a group at a time; with `shared` scratch, each by a crew. The host's code, which may
    /// use the pool, is called outside of it.
    pub(super) fn run_slices(
        &self,
        scan: &Scan<'_>,
        queue: &Queue<'_>,
        threads: usize,
        (arena, marks): (&mut [f32], &mut Marks),
        mut shared: Option<&mut [f32]>,
    ) -> Result<()> {
        let workers = if shared.is_some() { self.threads } else { 1 };
        while let Some((slices, mut mine)) = queue.next(threads, self.slice_vector) {
            let group = slices.len();
            for (slot, slice) in slices.enumerate() {
                scan.check()?;
                let input = self.arena.input();
                scan.source.write_slice(slice, &mut arena[input.clone()]);
                marks.look(self.air.as_ref(), &arena[input]);
                with_crew(workers, |crew| {
                    let mut memory = Memory { arena, marks, shared: shared.as_deref_mut(), crew };
                    for stage in 0..self.program.single {
                        self.run_stage(stage, slot, 1, &mut mine, &mut memory);
                    }
                    if slot + 1 == group {
                        for stage in self.program.single..self.program.planar {
                            self.run_stage(stage, 0, group, &mut mine, &mut memory);
                        }
                    }
                });
            }
            (0..group).for_each(|_| scan.finished());
        }
        Ok(())
    }

    /// Runs one stage for the group's images `slot..slot + count`.
    fn run_stage(&self, index: usize, slot: usize, count: usize, out: &mut Outputs<'_>, memory: &mut Memory<'_>) {
        let started = self.clocks.as_ref().map(|_| Instant::now());
        self.execute(index, slot, count, out, memory);
        if let (Some(clocks), Some(started)) = (&self.clocks, started) {
            clocks.add(index, started, count, memory.crew.workers());
        }
    }

    pub(super) fn execute(&self, index: usize, slot: usize, count: usize, out: &mut Outputs<'_>, memory: &mut Memory<'_>) {
        let stage = &self.program.stages[index];
        match &stage.op {
            Op::Dense { shape, .. } => {
                let shape = DenseShape { images: count, ..*shape };
                match self.program.element {
                    Element::Bf16(_) => self.run_dense_bf16(index, &shape, slot, memory),
                    _ => self.run_dense(index, &shape, slot, memory),
                }
            }
            Op::DenseCodes { shape, places, .. } => {
                let shape = DenseShape { images: count, ..*shape };
                self.run_dense_codes(index, (&shape, places), slot, memory);
            }
            _ => (slot..slot + count).for_each(|image| self.run_image(index, stage, image, out, memory)),
        }
    }

    fn run_dense(&self, index: usize, shape: &DenseShape, slot: usize, memory: &mut Memory<'_>) {
        let stage = &self.program.stages[index];
        let Some(weights) = self.dense_weights(&stage.op) else { return };
        let slab = self.arena.slab(stage.block, slot, shape.images);
        let marked = memory.marks.layer(&stage.op, self.known_mid(index));
        match &mut memory.shared {
            Some(scratch) => dense_layer(self.isa, shape, &weights, marked, &mut memory.arena[slab], scratch, memory.crew),
            None => {
                let [slab, scratch] = disjoint(memory.arena, [slab, self.arena.scratch(index)]);
                dense_layer(self.isa, shape, &weights, marked, slab, scratch, memory.crew);
            }
        }
    }

    fn dense_weights(&self, op: &Op) -> Option<DenseWeights<'_>> {
        let Op::Dense { scale, shift, conv1, bias1, conv2, .. } = op else { return None };
        let w = |range: &std::ops::Range<usize>| &self.packed[range.clone()];
        Some(DenseWeights { scale: w(scale), shift: w(shift), conv1: w(conv1), bias1: w(bias1), conv2: w(conv2) })
    }

    /// The map between the convolutions of a dense layer for the first image's slab, in the numbers of the precision.
    pub(super) fn mid_map(&self, index: usize, shape: &DenseShape, mid: &mut [f32], memory: &mut Memory<'_>) {
        let stage = &self.program.stages[index];
        let [slab, scratch] = disjoint(memory.arena, [self.arena.slab(stage.block, 0, 1), self.arena.scratch(index)]);
        match (&stage.op, self.program.element) {
            (Op::DenseCodes { places, .. }, _) => self.mid_map_codes((shape, places), slab, mid, scratch),
            (op, Element::Bf16(_)) => self.mid_map_bf16(op, shape, slab, mid, scratch),
            (op, _) => {
                if let Some(weights) = self.dense_weights(op) {
                    mid_map(self.isa, shape, &weights, slab, mid, scratch);
                }
            }
        }
    }

    fn run_image(&self, index: usize, stage: &Stage, image: usize, out: &mut Outputs<'_>, memory: &mut Memory<'_>) {
        let w = |range: &std::ops::Range<usize>| &self.packed[range.clone()];
        if matches!(stage.op, Op::Segmentation { .. }) && image >= out.segmentation.len() {
            return;
        }
        let bf16 = matches!(self.program.element, Element::Bf16(_));
        let slab = match bf16 {
            true => self.widened_slab(index, stage, image, memory),
            false => self.float_slab(index, stage, image, memory),
        };
        let own = self.arena.scratch(index);
        match &stage.op {
            Op::Stem { codes: Some(factors), .. } => self.run_stem_codes(index, (stage, factors), image, memory),
            Op::Transition { .. } if bf16 => self.run_transition_bf16(index, stage, image, memory),
            Op::TransitionCodes { places, .. } => self.run_transition_codes(index, places, image, memory),
            Op::Stem { shape, weights, bias, .. } => {
                let weights = (w(weights), w(bias));
                let [input, slab, own] = disjoint(memory.arena, [self.arena.input(), slab, own]);
                let scratch = memory.shared.as_deref_mut().unwrap_or(own);
                let empty = self.empty_slab(0);
                let spans = memory.marks.enter(&stage.op, empty.is_some());
                if let (Some(empty), Some(spans)) = (empty, spans) {
                    air::fill(slab, empty, shape.slab_stride / self.program.element.per_float(), spans);
                }
                let slab = if bf16 { Slab::Halves(halves_mut(slab)) } else { Slab::Floats(slab) };
                stem(self.isa, shape, weights, (input, spans), slab, scratch, memory.crew);
            }
            Op::Transition { shape, scale, shift, conv, .. } => {
                let weights = TransitionWeights { scale: w(scale), shift: w(shift), conv: w(conv) };
                let next = self.arena.slab(stage.block + 1, image, 1);
                let [slab, next, own] = disjoint(memory.arena, [slab, next, own]);
                let scratch = memory.shared.as_deref_mut().unwrap_or(own);
                let empty = self.empty_slab(stage.block + 1);
                let spans = memory.marks.enter(&stage.op, empty.is_some());
                if let (Some(empty), Some(spans)) = (empty, spans) {
                    air::fill(next, empty, shape.dst_stride, spans);
                }
                transition(self.isa, shape, &weights, (slab, spans), next, scratch, memory.crew);
            }
            Op::Segmentation { shape, head, scale, shift, conv, bias, .. } => {
                let Some(map) = out.segmentation.get_mut(image) else { return };
                let weights = SegmentationWeights { scale: w(scale), shift: w(shift), conv: w(conv), bias: w(bias) };
                let area = self.input.area();
                let dst = &mut map[head * area..(head + 1) * area];
                let [slab, own] = disjoint(memory.arena, [slab, own]);
                let scratch = memory.shared.as_deref_mut().unwrap_or(own);
                segmentation_map(self.isa, shape, &weights, slab, (dst, self.input.height, self.input.width), scratch, memory.crew);
            }
            Op::Attention { shape, channels, scale, shift, heads, bias, .. } => {
                let weights = AttentionWeights { scale: w(scale), shift: w(shift), heads: w(heads), bias: w(bias) };
                let ranges = [slab, self.arena.attention(), self.arena.pooled(), own];
                let [slab, attention, pooled, scratch] = disjoint(memory.arena, ranges);
                attention_pool(self.isa, shape, &weights, slab, attention, pooled, scratch);
                let vector = &mut out.pooled[image * self.slice_vector..][..self.slice_vector];
                let logical = self.slice_vector / shape.heads;
                for (to, from) in vector.chunks_exact_mut(logical).zip(pooled.chunks_exact(shape.channels)) {
                    to.iter_mut().enumerate().for_each(|(c, v)| *v = from[channels.physical(c)]);
                }
                if let Some(map) = out.attention.get_mut(image) {
                    map.copy_from_slice(attention);
                }
            }
            Op::Dense { .. } | Op::DenseCodes { .. } | Op::Recurrent { .. } | Op::Classifier { .. } => {}
        }
    }
}

/// Buffers that the plan keeps apart while they live.
pub(super) fn disjoint<const N: usize>(arena: &mut [f32], ranges: [std::ops::Range<usize>; N]) -> [&mut [f32]; N] {
    arena.get_disjoint_mut(ranges).unwrap_or_else(|e| unreachable!("the plan overlapped live buffers: {e}"))
}
