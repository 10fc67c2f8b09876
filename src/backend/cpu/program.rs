//! A network as the CPU runs it: each step with its padded shape, its place in the packed weights and its buffers.

use super::{bf16, int8};
use crate::backend::channels::Channels;
use crate::model::{Network, Step};
use radnet_kernels::cpu::attention::{AttentionShape, Weighting};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::layout::{matrix_len, pad, unaliased};
use radnet_kernels::cpu::recurrent::CellShape;
use radnet_kernels::cpu::segmentation::SegmentationShape;
use radnet_kernels::cpu::stem::StemShape;
use radnet_kernels::cpu::transition::TransitionShape;
use radnet_kernels::{Integers, Isa};
use std::ops::Range;

/// Positions of a map below which slices run together, so that a layer's weights are read once for all of them.
const SMALL_MAP: usize = 256;
/// Slices that run together on small maps.
pub(super) const GROUP: usize = 4;

/// One step; ranges name floats of the packed weights.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Stem {
        shape: StemShape,
        weights: Range<usize>,
        bias: Range<usize>,
        /// To the codes of block 1, where slabs hold codes.
        codes: Option<int8::Factors>,
        /// The stems of integers in the order in which they are tried; for slabs of codes.
        integers: Vec<int8::StemPlaces>,
    },
    Dense {
        shape: DenseShape,
        channels: Channels,
        scale: Range<usize>,
        shift: Range<usize>,
        conv1: Range<usize>,
        bias1: Range<usize>,
        conv2: Range<usize>,
    },
    DenseCodes {
        shape: DenseShape,
        channels: Channels,
        places: int8::DensePlaces,
    },
    Segmentation {
        shape: SegmentationShape,
        channels: Channels,
        head: usize,
        /// From codes, where slabs hold them.
        codes: Option<int8::Factors>,
        scale: Range<usize>,
        shift: Range<usize>,
        conv: Range<usize>,
        bias: Range<usize>,
    },
    Transition {
        shape: TransitionShape,
        channels: Channels,
        scale: Range<usize>,
        shift: Range<usize>,
        conv: Range<usize>,
    },
    TransitionCodes {
        shape: TransitionShape,
        channels: Channels,
        places: int8::TransitionPlaces,
    },
    Attention {
        shape: AttentionShape,
        channels: Channels,
        /// From codes, where slabs hold them.
        codes: Option<int8::Factors>,
        scale: Range<usize>,
        shift: Range<usize>,
        heads: Range<usize>,
        bias: Range<usize>,
    },
    Recurrent {
        shape: CellShape,
        cells: Vec<Cell>,
    },
    Classifier {
        input: usize,
        classes: usize,
        weights: Range<usize>,
        bias: Range<usize>,
    },
}

/// One direction of a recurrent layer.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) input: Range<usize>,
    pub(super) bias: Range<usize>,
    pub(super) hidden: Range<usize>,
    pub(super) hidden_bias: Range<usize>,
}

/// A step with its name, its block and its part of the packed weights.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) name: String,
    /// Index of the block whose slab it reads or, for the stem, writes.
    pub(super) block: usize,
    pub(super) op: Op,
    pub(super) packed: Range<usize>,
}

/// A block's slab for one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slab {
    pub(super) pixels: usize,
    pub(super) stride: usize,
    /// Whether slices share this block's layers `GROUP` at a time.
    pub(super) grouped: bool,
    pub(super) element: Element,
}

/// What slabs hold, and with them the arithmetic of the 2-D network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Floats.
    F32,
    /// bf16, and what multiplies them.
    Bf16(Isa),
    /// Codes of 8 bits, and what multiplies them.
    Codes(Integers),
}

impl Element {
    /// The name of the precision.
    pub(super) fn precision(self) -> &'static str {
        match self {
            Self::F32 => "fp32",
            Self::Bf16(_) => "bf16",
            Self::Codes(_) => "int8",
        }
    }

    /// How many take the room of a float.
    pub(super) fn per_float(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16(_) => 2,
            Self::Codes(_) => 4,
        }
    }
}

impl Slab {
    /// Floats that it takes.
    pub(super) fn len(self) -> usize {
        // A stride is a multiple of sixteen.
        self.pixels * self.stride / self.element.per_float()
    }
}

/// The whole program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) stages: Vec<Stage>,
    pub(super) element: Element,
    pub(super) slabs: Vec<Slab>,
    /// Stages that slices go through one at a time; the other 2-D stages take a group.
    pub(super) single: usize,
    /// Stages of the 2-D network; the rest see whole scans.
    pub(super) planar: usize,
    /// Floats of all packed weights.
    pub(super) packed_len: usize,
}

/// Hands out ranges of the packed weights, each on a cache line.
pub(super) struct Places(usize);

impl Places {
    pub(super) fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.0;
        self.0 += len.next_multiple_of(16);
        start..start + len
    }
}

impl Program {
    pub(super) fn new(network: &Network, element: Element) -> Self {
        let blocks = Channels::of_blocks(network);
        let slabs = block_slabs(network, &blocks, element);
        let mut places = Places(0);
        let mut stages = Vec::new();
        let mut heads = 0;
        for step in &network.steps {
            let start = places.0;
            let (name, block, mut op) = match element {
                Element::F32 => stage(step, &blocks, &slabs, &mut places, &mut heads),
                Element::Bf16(isa) => bf16::stage(isa, step, (&blocks, &slabs), &mut places, &mut heads),
                Element::Codes(level) => int8::stage(level, step, (&blocks, &slabs), &mut places, &mut heads),
            };
            if let (Op::Stem { shape, integers, .. }, Element::Codes(level)) = (&mut op, element) {
                *integers = int8::StemPlaces::take(level, shape, network, &mut places);
            }
            stages.push(Stage { name, block, op, packed: start..places.0 });
        }
        let is_planar = |s: &Stage| !matches!(s.op, Op::Recurrent { .. } | Op::Classifier { .. });
        let planar = stages.iter().take_while(|s| is_planar(s)).count();
        let enters_group = |s: &Stage| slabs[s.block].grouped && !matches!(s.op, Op::Stem { .. });
        let single = stages[..planar].iter().position(enters_group).unwrap_or(planar);
        Self { stages, element, slabs, single, planar, packed_len: places.0 }
    }
}

impl Program {
    /// Whether a slice of such values has the first of the stems.
    pub(super) fn reach(&self, values: &[f32]) -> bool {
        self.stages.iter().all(|stage| match &stage.op {
            Op::Stem { integers, .. } => integers.first().is_none_or(|stem| stem.reach(values)),
            _ => true,
        })
    }
}

/// The slab of every block, wide enough for its last layer.
fn block_slabs(network: &Network, blocks: &[Channels], element: Element) -> Vec<Slab> {
    let mut slabs: Vec<Slab> = Vec::new();
    for step in &network.steps {
        match *step {
            Step::Stem { out_channels: channels, output: extent, .. } | Step::Transition { out_channels: channels, output: extent, .. } => {
                // A small map makes all later ones small: the pools only shrink them.
                let grouped = extent.area() <= SMALL_MAP;
                slabs.push(Slab { pixels: extent.area(), stride: unaliased(pad(channels)), grouped, element });
            }
            Step::DenseLayer { block, in_channels, growth, .. } => {
                slabs[block - 1].stride = unaliased(blocks[block - 1].padded(in_channels + growth));
            }
            _ => {}
        }
    }
    slabs
}

/// The shape of a dense layer.
pub(super) fn dense_shape(step: &Step, blocks: &[Channels], slabs: &[Slab]) -> DenseShape {
    let Step::DenseLayer { block, in_channels, mid_channels, growth, extent, .. } = *step else { unreachable!("a dense layer's step") };
    DenseShape {
        images: 1,
        height: extent.height,
        width: extent.width,
        slab_stride: slabs[block - 1].stride,
        in_channels: blocks[block - 1].padded(in_channels),
        mid: pad(mid_channels),
        growth: pad(growth),
    }
}

/// The shape of a transition.
pub(super) fn transition_shape(step: &Step, blocks: &[Channels], slabs: &[Slab]) -> TransitionShape {
    let Step::Transition { block, in_channels, out_channels, input, .. } = *step else { unreachable!("a transition's step") };
    TransitionShape {
        height: input.height,
        width: input.width,
        in_channels: blocks[block - 1].padded(in_channels),
        src_stride: slabs[block - 1].stride,
        out_channels: pad(out_channels),
        dst_stride: slabs[block].stride,
    }
}

/// A step's name, block and operation in fp32.
pub(super) fn stage(step: &Step, blocks: &[Channels], slabs: &[Slab], places: &mut Places, heads: &mut usize) -> (String, usize, Op) {
    match *step {
        Step::Stem { in_channels, out_channels, input, .. } => {
            let shape = StemShape {
                channels: in_channels,
                height: input.height,
                width: input.width,
                out_channels: pad(out_channels),
                slab_stride: slabs[0].stride,
            };
            let weights = places.take(shape.weights_len());
            ("stem".into(), 0, Op::Stem { shape, weights, bias: places.take(shape.out_channels), codes: None, integers: Vec::new() })
        }
        Step::DenseLayer { block, layer, .. } => {
            let (index, shape, channels) = (block - 1, dense_shape(step, blocks, slabs), blocks[block - 1]);
            let (scale, shift) = (places.take(shape.in_channels), places.take(shape.in_channels));
            let conv1 = places.take(matrix_len(shape.in_channels, shape.mid));
            let (bias1, conv2) = (places.take(shape.mid), places.take(shape.conv2_len()));
            (format!("block {block} layer {layer}"), index, Op::Dense { shape, channels, scale, shift, conv1, bias1, conv2 })
        }
        Step::Segmentation { block, channels, extent } => {
            let (index, map) = (block - 1, blocks[block - 1]);
            let k = map.padded(channels);
            let shape = SegmentationShape { height: extent.height, width: extent.width, channels: k, slab_stride: slabs[index].stride };
            let (scale, shift, conv, bias) = (places.take(k), places.take(k), places.take(matrix_len(k, 1)), places.take(pad(1)));
            *heads += 1;
            let op = Op::Segmentation { shape, channels: map, head: *heads - 1, codes: None, scale, shift, conv, bias };
            (format!("segmentation {block}"), index, op)
        }
        Step::Transition { block, .. } => {
            let (index, shape, channels) = (block - 1, transition_shape(step, blocks, slabs), blocks[block - 1]);
            let (scale, shift) = (places.take(shape.in_channels), places.take(shape.in_channels));
            let conv = places.take(matrix_len(shape.in_channels, shape.out_channels));
            (format!("transition {block}"), index, Op::Transition { shape, channels, scale, shift, conv })
        }
        Step::AttentionPool { channels, heads, softmax, extent } => {
            let index = slabs.len() - 1;
            let weighting = match (heads, softmax) {
                (0, _) => Weighting::Mean,
                (_, true) => Weighting::Softmax,
                (_, false) => Weighting::Sigmoid,
            };
            let shape = AttentionShape {
                height: extent.height,
                width: extent.width,
                channels: blocks[index].padded(channels),
                slab_stride: slabs[index].stride,
                heads: heads.max(1),
                weighting,
            };
            let (scale, shift) = (places.take(shape.channels), places.take(shape.channels));
            let (heads, bias) = (places.take(matrix_len(shape.channels, heads)), places.take(pad(heads)));
            ("attention".into(), index, Op::Attention { shape, channels: blocks[index], codes: None, scale, shift, heads, bias })
        }
        Step::Recurrent { layer, input, hidden, gates, bidirectional } => {
            let shape = CellShape { input, hidden, gates };
            let outputs = shape.outputs();
            let cells = (0..1 + usize::from(bidirectional))
                .map(|_| Cell {
                    input: places.take(matrix_len(input, outputs)),
                    bias: places.take(outputs),
                    hidden: places.take(matrix_len(hidden, outputs)),
                    hidden_bias: places.take(outputs),
                })
                .collect();
            (format!("recurrent {layer}"), 0, Op::Recurrent { shape, cells })
        }
        Step::Classifier { input, classes } => {
            let (weights, bias) = (places.take(matrix_len(input, classes)), places.take(pad(classes)));
            ("classifier".into(), 0, Op::Classifier { input, classes, weights, bias })
        }
    }
}
