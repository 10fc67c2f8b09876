//! Steps → launches: what a graph records, or what a measured run queues one by one.

use super::feed::ScannedMemory;
use super::memory::{GroupMemory, SequenceMemory};
use super::program::{Op, Program, Stage, dense_tile, sequence_element};
use super::weights::piece;
use crate::Result;
use radnet_kernels::cuda::attention::{AttentionBuffers, attention};
use radnet_kernels::cuda::dense::DenseBuffers;
use radnet_kernels::cuda::linear::{LinearBuffers, LinearShape, linear};
use radnet_kernels::cuda::recurrent::{RecurrentBuffers, recurrent};
use radnet_kernels::cuda::segmentation::{SegmentationBuffers, segmentation};
use radnet_kernels::cuda::stem::{StemBuffers, StemInput, stem};
use radnet_kernels::cuda::transition::TransitionBuffers;
use radnet_kernels::cuda::{DeviceMemory, Element, GpuProperties, Queue, Slices, Span};

/// What every step needs.
pub(super) struct Context<'a> {
    pub(super) program: &'a Program,
    pub(super) element: Element,
    pub(super) device: &'a GpuProperties,
    pub(super) weights: &'a DeviceMemory,
    /// The channel windows, when the input is HU.
    pub(super) windows: Option<&'a DeviceMemory>,
    /// What resamples, when the input is slices as they were stored.
    pub(super) scanned: Option<&'a ScannedMemory>,
}

/// A group of slices on its way through the 2-D network.
pub(super) struct Group<'a> {
    pub(super) memory: &'a GroupMemory,
    /// Slices of the launches; the device's count may be smaller.
    pub(super) slices: usize,
    /// Where the slice vectors go, f32 [slices, slice_vector].
    pub(super) pooled: Span<'a>,
    pub(super) maps: bool,
}

impl Context<'_> {
    /// Queues the 2-D network. `after` is called when a step has been queued, with its index.
    pub(super) fn planar(
        &self,
        queue: &mut Queue,
        group: &Group<'_>,
        after: &mut dyn FnMut(&mut Queue, usize) -> Result<()>,
    ) -> Result<()> {
        if let Some(scanned) = self.scanned {
            let position = group.memory.position()?;
            scanned.enqueue(queue, group.memory.input()?, position, group.slices)?;
        }
        let mut scratch = 0;
        for (index, stage) in self.program.stages[..self.program.planar].iter().enumerate() {
            let mine = scratch;
            scratch += usize::from(matches!(stage.op, Op::Segmentation { .. } | Op::Attention { .. }));
            if matches!(stage.op, Op::Segmentation { .. }) && !group.maps {
                continue;
            }
            self.planar_step(queue, stage, group, mine)?;
            after(queue, index)?;
        }
        Ok(())
    }

    fn planar_step(&self, queue: &mut Queue, stage: &Stage, group: &Group<'_>, scratch: usize) -> Result<()> {
        let memory = group.memory;
        let capacity = group.slices;
        let count = memory.control.all();
        let slices = Slices { count, capacity };
        let weights = |p: &super::weights::Piece| piece(self.weights, p);
        let stream = queue.stream();
        let launched = match &stage.op {
            Op::Stem { shape, tile, weights: w, scale, shift } => {
                let slab = memory.slab(0)?;
                let buffers = StemBuffers { weights: weights(w)?, scale: weights(scale)?, shift: weights(shift)?, slab };
                let input = match self.windows {
                    None => StemInput::Windowed(memory.input()?),
                    Some(windows) => StemInput::Hu { planes: memory.input()?, windows: windows.all(), position: memory.position()? },
                };
                stem(stream, self.element, (shape, tile), &buffers, input, slices)
            }
            Op::Dense { shape, layers } => {
                let buffers = DenseBuffers { slab: memory.slab(stage.block)?, weights: self.weights.all(), slices };
                shape.launch(stream, &dense_tile(shape, layers, self.device, capacity), layers, &buffers)
            }
            Op::Transition { shape, layer } => {
                let (src, dst) = (memory.slab(stage.block)?, memory.slab(stage.block + 1)?);
                shape.launch(stream, layer, &TransitionBuffers { src, dst, weights: self.weights.all(), slices })
            }
            Op::Segmentation { shape, bias, scale, shift, weights: w, taps } => {
                let buffers = SegmentationBuffers {
                    slab: memory.slab(stage.block)?,
                    scale: weights(scale)?,
                    shift: weights(shift)?,
                    weights: weights(w)?,
                    taps: weights(taps)?,
                    logits: memory.scores(scratch)?,
                    probabilities: memory.segmentation.as_ref().map_or(memory.attention.all(), |m| m.all()),
                };
                segmentation(stream, self.element, shape, *bias, &buffers, slices)
            }
            Op::Attention { shape, scale, shift, heads, bias, channel_map } => {
                let buffers = AttentionBuffers {
                    slab: memory.slab(stage.block)?,
                    scale: weights(scale)?,
                    shift: weights(shift)?,
                    heads: weights(heads)?,
                    bias: weights(bias)?,
                    channel_map: weights(channel_map)?,
                    scores: memory.scores(scratch)?,
                    maps: memory.attention.all(),
                    pooled: group.pooled,
                };
                attention(stream, self.element, shape, &buffers, slices)
            }
            Op::Recurrent { .. } | Op::Classifier { .. } => Ok(()),
        };
        launched.map_err(|e| super::error(e, &stage.name))
    }

    /// Queues recurrence and classifier over `capacity` slices, whose number on the device is `count`.
    pub(super) fn sequence(
        &self,
        queue: &mut Queue,
        memory: &SequenceMemory,
        slices: Slices<'_>,
        after: &mut dyn FnMut(&mut Queue, usize) -> Result<()>,
    ) -> Result<()> {
        let mut x = memory.pooled.all();
        let mut turn = 0;
        for (index, stage) in self.program.stages.iter().enumerate().skip(self.program.planar) {
            let launched = match &stage.op {
                Op::Recurrent { projection, weights, bias, plan, hidden, hidden_bias } => {
                    let projections = memory.projections.all();
                    self.linear(queue, projection, (weights, bias), (x, projections), slices)?;
                    let outputs = memory.outputs[turn].all();
                    turn = 1 - turn;
                    x = outputs;
                    let (hidden, hidden_bias) = (piece(self.weights, hidden)?, piece(self.weights, hidden_bias)?);
                    let buffers = RecurrentBuffers { weights: hidden, bias: hidden_bias, projections, outputs };
                    recurrent(queue.stream(), plan, &buffers, slices).map_err(|e| super::error(e, &stage.name))
                }
                Op::Classifier { shape, weights, bias } => self.linear(queue, shape, (weights, bias), (x, memory.logits.all()), slices),
                _ => Ok(()),
            };
            launched?;
            after(queue, index)?;
        }
        Ok(())
    }

    fn linear(
        &self,
        queue: &mut Queue,
        shape: &LinearShape,
        (weights, bias): (&super::weights::Piece, &super::weights::Piece),
        (x, y): (Span<'_>, Span<'_>),
        slices: Slices<'_>,
    ) -> Result<()> {
        let buffers = LinearBuffers { weights: piece(self.weights, weights)?, bias: piece(self.weights, bias)?, x, y };
        linear(queue.stream(), sequence_element(self.element), shape, &buffers, slices).map_err(|e| super::error(e, "a linear step"))
    }
}
