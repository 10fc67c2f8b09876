//! A network as a GPU runs it: each step with its shape for the kernels, its place in the packed weights, and the slabs between steps.

use super::weights::{Packed, Piece, norm, physical};
use crate::backend::channels::Channels;
use crate::model::{Extent, Network, Step};
use crate::weights::{DenseLayerWeights, RnnCell, RnnLayer, Weights};
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cpu::layout::pad;
use radnet_kernels::cuda::attention::{AttentionShape, Weighting};
use radnet_kernels::cuda::dense::{DenseLayer, DenseShape, DenseWeights};
use radnet_kernels::cuda::linear::LinearShape;
use radnet_kernels::cuda::recurrent::{Cell, RecurrentPlan, RecurrentShape};
use radnet_kernels::cuda::segmentation::SegmentationShape;
use radnet_kernels::cuda::stem::{StemShape, StemTile};
use radnet_kernels::cuda::transition::{TransitionLayer, TransitionShape};
use radnet_kernels::cuda::{Element, GpuProperties};

/// One step; the layers of a dense block are one.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Stem { shape: StemShape, tile: StemTile, weights: Piece, scale: Piece, shift: Piece },
    Dense { shape: DenseShape, layers: Vec<DenseLayer> },
    Segmentation { shape: SegmentationShape, bias: f32, scale: Piece, shift: Piece, weights: Piece, taps: Piece },
    Transition { shape: TransitionShape, layer: TransitionLayer },
    Attention { shape: AttentionShape, scale: Piece, shift: Piece, heads: Piece, bias: Piece, channel_map: Piece },
    Recurrent { projection: LinearShape, weights: Piece, bias: Piece, plan: RecurrentPlan, hidden: Piece, hidden_bias: Piece },
    Classifier { shape: LinearShape, weights: Piece, bias: Piece },
}

/// A step with its name and its block.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) name: String,
    /// Index of the block whose slab it reads or, for the stem, writes.
    pub(super) block: usize,
    pub(super) op: Op,
}

/// A block's slab for one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slab {
    pub(super) extent: Extent,
    /// Elements from position to position.
    pub(super) stride: usize,
}

impl Slab {
    pub(super) fn bytes(self, element: Element) -> usize {
        self.extent.area() * self.stride * element.bytes()
    }
}

/// The whole program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) stages: Vec<Stage>,
    pub(super) slabs: Vec<Slab>,
    /// Stages of the 2-D network; the rest see whole scans.
    pub(super) planar: usize,
    /// The blocks that segmentation heads read, counted from 1, in the order of the heads.
    pub(super) segmentation: Vec<usize>,
    /// Widest output of a recurrent layer, and widest input projection.
    pub(super) widest: (usize, usize),
}

/// What a program is made for.
pub(super) struct Target<'a> {
    pub(super) network: &'a Network,
    pub(super) weights: &'a Weights,
    pub(super) device: &'a GpuProperties,
}

impl Program {
    /// Packs the weights step by step.
    ///
    /// # Errors
    /// `device` when a weight is too large for the element type or a step does not fit the device.
    pub(super) fn new(target: &Target<'_>, packed: &mut Packed) -> Result<Self> {
        let blocks = Channels::of_blocks(target.network);
        let slabs = slabs(target.network, &blocks);
        let heads = target.network.steps.iter().filter(|s| matches!(s, Step::Segmentation { .. })).count();
        let mut program = Self { stages: Vec::new(), slabs, planar: 0, segmentation: Vec::new(), widest: (0, 0) };
        for step in &target.network.steps {
            let (name, block, op) = match *step {
                Step::Stem { .. } => ("stem".to_owned(), 0, program.stem(target, packed, step)?),
                Step::DenseLayer { block, .. } => match program.dense(target, packed, step, blocks[block - 1])? {
                    Some(op) => (format!("block {block}"), block - 1, op),
                    None => continue,
                },
                Step::Segmentation { block, .. } => {
                    let op = program.head(target, packed, (block, heads), blocks[block - 1])?;
                    (format!("segmentation {block}"), block - 1, op)
                }
                Step::Transition { block, .. } => {
                    (format!("transition {block}"), block - 1, program.transition(target, packed, step, blocks[block - 1])?)
                }
                Step::AttentionPool { .. } => {
                    let last = blocks.len() - 1;
                    ("attention".to_owned(), last, program.attention(target, packed, step, blocks[last])?)
                }
                Step::Recurrent { layer, .. } => (format!("recurrent {layer}"), 0, program.recurrent(target, packed, step)?),
                Step::Classifier { input, classes } => ("classifier".to_owned(), 0, classifier(target, packed, input, classes)?),
            };
            program.planar += usize::from(!matches!(op, Op::Recurrent { .. } | Op::Classifier { .. }));
            program.stages.push(Stage { name, block, op });
        }
        Ok(program)
    }

    fn stem(&self, target: &Target<'_>, packed: &mut Packed, step: &Step) -> Result<Op> {
        let &Step::Stem { in_channels: channels, out_channels: features, input, .. } = step else { return Err(mismatch()) };
        let shape = StemShape { channels, height: input.height, width: input.width, features, slab_stride: self.slabs[0].stride };
        let shared = target.device.shared_bytes_per_block;
        let tile = shape.tile(packed.element, shared).ok_or_else(|| too_small("the stem", shared))?;
        let w = target.weights;
        packed.check_as(StemShape::operand(packed.element), || "features.conv0.weight".to_owned(), &w.conv0)?;
        let (scale, shift) = w.norm0.scale_shift(target.network.bn_eps);
        let k = channels * 49;
        let weights = shape.pack(packed.element, |o, i| f64::from(w.conv0[o * k + i]));
        let weights = packed.put(&weights);
        let (scale, shift) = (packed.put(&shape.pack_norm(|o| scale[o])), packed.put(&shape.pack_norm(|o| shift[o])));
        Ok(Op::Stem { shape, tile, weights, scale, shift })
    }

    /// The op of a block's first layer; later layers join it.
    fn dense(&mut self, target: &Target<'_>, packed: &mut Packed, step: &Step, channels: Channels) -> Result<Option<Op>> {
        let &Step::DenseLayer { block, layer, in_channels, mid_channels, growth, extent } = step else { return Err(mismatch()) };
        let eps = target.network.bn_eps;
        let DenseLayerWeights { norm1, conv1, norm2, conv2 } = &target.weights.blocks[block - 1].layers[layer - 1];
        let name = |part: &str| format!("features.denseblock{block}.denselayer{layer}.{part}");
        packed.check(|| name("conv1.weight"), conv1)?;
        packed.check(|| name("conv2.weight"), conv2)?;
        let scale1 = packed.check_norm(|| name("norm1"), norm1, eps)?;
        let (scale2, shift2) = norm2.scale_shift(eps);
        let shape = DenseShape {
            element: packed.element,
            height: extent.height,
            width: extent.width,
            stride: self.slabs[block - 1].stride,
            mid: pad(mid_channels),
            growth: pad(growth),
        };
        let weights = DenseWeights { norm1: norm(norm1, &scale1), conv1, scale2: &scale2, shift2: &shift2, conv2 };
        let reads = channels.padded(in_channels);
        let packed_layer = shape.pack(&weights, &|p| channels.logical(p), (reads, reads), &mut packed.bytes);
        match self.stages.last_mut() {
            Some(Stage { block: at, op: Op::Dense { layers, .. }, .. }) if *at == block - 1 => {
                layers.push(packed_layer);
                Ok(None)
            }
            _ => Ok(Some(Op::Dense { shape, layers: vec![packed_layer] })),
        }
    }

    fn head(&mut self, target: &Target<'_>, packed: &mut Packed, (block, heads): (usize, usize), channels: Channels) -> Result<Op> {
        let w = target.weights.blocks[block - 1].segmentation.as_ref().ok_or_else(mismatch)?;
        let (slab, input) = (self.slabs[block - 1], target.network.input);
        let shape = SegmentationShape {
            height: slab.extent.height,
            width: slab.extent.width,
            slab_channels: channels.padded(w.conv.len()),
            slab_stride: slab.stride,
            rows: input.height,
            columns: input.width,
            heads,
            head: self.segmentation.len(),
        };
        self.segmentation.push(block);
        let (scale, shift) = w.norm.scale_shift(target.network.bn_eps);
        let mut put = |values: &dyn Fn(usize) -> f64| packed.put(&shape.pack_channels(physical(channels, values)));
        let (scale, shift) = (put(&|c| scale[c]), put(&|c| shift[c]));
        let weights = put(&|c| f64::from(w.conv[c]));
        let taps = packed.put(&shape.pack_taps());
        Ok(Op::Segmentation { shape, bias: w.bias, scale, shift, weights, taps })
    }

    fn transition(&self, target: &Target<'_>, packed: &mut Packed, step: &Step, channels: Channels) -> Result<Op> {
        let &Step::Transition { block, in_channels, out_channels, input, .. } = step else { return Err(mismatch()) };
        let w = target.weights.blocks[block - 1].transition.as_ref().ok_or_else(mismatch)?;
        packed.check(|| format!("features.transition{block}.conv.weight"), &w.conv)?;
        let (scale, _) = w.norm.scale_shift(target.network.bn_eps);
        let shape = TransitionShape {
            element: packed.element,
            height: input.height,
            width: input.width,
            in_channels: channels.padded(in_channels),
            src_stride: self.slabs[block - 1].stride,
            out_channels: pad(out_channels),
            dst_stride: self.slabs[block].stride,
        };
        let layer = shape.pack(&norm(&w.norm, &scale), &w.conv, &|p| channels.logical(p), &mut packed.bytes);
        Ok(Op::Transition { shape, layer })
    }

    fn attention(&self, target: &Target<'_>, packed: &mut Packed, step: &Step, channels: Channels) -> Result<Op> {
        let &Step::AttentionPool { channels: features, heads, softmax, extent } = step else { return Err(mismatch()) };
        let weighting = match (heads, softmax) {
            (0, _) => Weighting::Mean,
            (_, true) => Weighting::Softmax,
            (_, false) => Weighting::Sigmoid,
        };
        let shape = AttentionShape {
            area: extent.area(),
            channels: features,
            slab_channels: channels.padded(features),
            slab_stride: self.slabs[self.slabs.len() - 1].stride,
            heads: heads.max(1),
            weighting,
        };
        let (scale, shift) = target.weights.norm5.scale_shift(target.network.bn_eps);
        let scale = packed.put(&shape.pack_channels(physical(channels, |c| scale[c])));
        let shift = packed.put(&shape.pack_channels(physical(channels, |c| shift[c])));
        let mut weights = Vec::new();
        let mut bias = Vec::new();
        if let Some(attention) = &target.weights.attention {
            for head in 0..heads {
                let row = &attention.weight[head * features..][..features];
                weights.extend(shape.pack_channels(physical(channels, |c| f64::from(row[c]))));
            }
            Element::F32.encode(attention.bias.iter().map(|b| f64::from(*b)), &mut bias);
        }
        let (heads, bias) = (packed.put(&weights), packed.put(&bias));
        let channel_map = packed.put(&shape.pack_map(|p| channels.logical(p)));
        Ok(Op::Attention { shape, scale, shift, heads, bias, channel_map })
    }

    fn recurrent(&mut self, target: &Target<'_>, packed: &mut Packed, step: &Step) -> Result<Op> {
        let &Step::Recurrent { layer, input, hidden, gates, bidirectional } = step else { return Err(mismatch()) };
        let w = &target.weights.rnn[layer];
        let cells: Vec<&RnnCell> = cells(w).collect();
        for cell in &cells {
            packed.check_as(sequence_element(packed.element), || format!("rnn.weight_ih_l{layer}"), &cell.weight_ih)?;
            packed.check_as(sequence_element(packed.element), || format!("rnn.weight_hh_l{layer}"), &cell.weight_hh)?;
        }
        let cell = if gates == 4 { Cell::Lstm } else { Cell::Gru };
        let shape = RecurrentShape { cell, hidden, directions: 1 + usize::from(bidirectional) };
        let projection = LinearShape { inputs: input, outputs: shape.projected() };
        let rows = gates * hidden;
        let fine = sequence_element(packed.element);
        let weights = projection.pack(fine, |o, i| f64::from(cells[o / rows].weight_ih[o % rows * input + i]));
        let weights = packed.put(&weights);
        // GRU's n adds its hidden bias before the reset gate multiplies.
        let separate = |row: usize| gates == 3 && row / hidden == 2;
        let both = |o: usize| {
            let (cell, row) = (cells[o / rows], o % rows);
            f64::from(cell.bias_ih[row]) + if separate(row) { 0.0 } else { f64::from(cell.bias_hh[row]) }
        };
        let bias = packed.put(&projection.pack_bias(both));
        let plan = RecurrentPlan::new(shape, fine, target.device);
        let own = packed.put(&plan.pack(|d, row, k| f64::from(cells[d].weight_hh[row * hidden + k])));
        let hidden_bias = match cell {
            Cell::Lstm => Vec::new(),
            Cell::Gru => shape.pack_bias(|d, unit| f64::from(cells[d].bias_hh[2 * hidden + unit])),
        };
        let hidden_bias = packed.put(&hidden_bias);
        self.widest = (self.widest.0.max(shape.directions * hidden), self.widest.1.max(shape.projected()));
        Ok(Op::Recurrent { projection, weights, bias, plan, hidden: own, hidden_bias })
    }

    /// What runs, one line a step.
    pub(super) fn choices(&self, device: &GpuProperties, slices: usize) -> Vec<String> {
        let line = |stage: &Stage| match &stage.op {
            Op::Stem { tile, .. } => Some(format!("{}: {tile}", stage.name)),
            Op::Dense { shape, layers } => Some(format!("{}: {}", stage.name, dense_tile(shape, layers, device, slices))),
            Op::Recurrent { plan, .. } => Some(format!("{}: {plan}", stage.name)),
            _ => None,
        };
        self.stages.iter().filter_map(line).collect()
    }
}

/// The tile that a block's layers share.
pub(super) fn dense_tile(
    shape: &DenseShape,
    layers: &[DenseLayer],
    device: &GpuProperties,
    slices: usize,
) -> radnet_kernels::cuda::dense::DenseTile {
    let mean = layers.iter().map(DenseLayer::in_channels).sum::<usize>() / layers.len().max(1);
    radnet_kernels::cuda::dense::DenseTile::choose(shape, mean, device, slices)
}

fn classifier(target: &Target<'_>, packed: &mut Packed, input: usize, classes: usize) -> Result<Op> {
    let w = &target.weights.classifier;
    packed.check_as(sequence_element(packed.element), || "classifier.weight".to_owned(), &w.weight)?;
    let shape = LinearShape { inputs: input, outputs: classes };
    let weights = shape.pack(sequence_element(packed.element), |o, i| f64::from(w.weight[o * input + i]));
    let weights = packed.put(&weights);
    let bias = packed.put(&shape.pack_bias(|o| f64::from(w.bias[o])));
    Ok(Op::Classifier { shape, weights, bias })
}

/// How the weights of recurrence and classifier are stored. Their activations are float32 in any case, and their weights are small numbers,
/// of which fp16 keeps three more bits than bf16.
pub(super) fn sequence_element(element: Element) -> Element {
    match element {
        Element::Bf16 => Element::F16,
        other => other,
    }
}

fn cells(layer: &RnnLayer) -> impl Iterator<Item = &RnnCell> {
    std::iter::once(&layer.forward).chain(&layer.backward)
}

fn slabs(network: &Network, blocks: &[Channels]) -> Vec<Slab> {
    let mut slabs: Vec<Slab> = Vec::new();
    for step in &network.steps {
        match *step {
            Step::Stem { out_channels, output: extent, .. } | Step::Transition { out_channels, output: extent, .. } => {
                slabs.push(Slab { extent, stride: pad(out_channels) });
            }
            Step::DenseLayer { block, in_channels, growth, .. } => {
                slabs[block - 1].stride = blocks[block - 1].padded(in_channels + growth);
            }
            _ => {}
        }
    }
    slabs
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Device, "the weights are not this network's")
}

fn too_small(step: &str, shared: u32) -> Error {
    Error::new(ErrorKind::Device, format!("{step} does not fit into {shared} bytes of shared memory; use --device cpu"))
}
