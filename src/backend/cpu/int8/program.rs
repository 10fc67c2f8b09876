//! Steps over codes: their shapes, and where their weights lie. Ranges name floats of the packed weights, whatever lies in them.

use crate::backend::channels::Channels;
use crate::backend::cpu::program::{self, Op, Places, Slab};
use crate::model::Step;
use radnet_kernels::Integers;
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::int8::dense::{conv1_len, conv2_len};
use radnet_kernels::cpu::int8::layout::floats_of_codes;
use radnet_kernels::cpu::int8::transition::conv_len;
use radnet_kernels::cpu::layout::pad;
use radnet_kernels::cpu::transition::TransitionShape;
use std::ops::Range;

/// A fused multiply-add per channel.
#[derive(Clone, Debug)]
pub(in crate::backend::cpu) struct Factors {
    pub(in crate::backend::cpu) scale: Range<usize>,
    pub(in crate::backend::cpu) shift: Range<usize>,
}

impl Factors {
    pub(in crate::backend::cpu) fn take(places: &mut Places, channels: usize) -> Self {
        Self { scale: places.take(channels), shift: places.take(channels) }
    }
}

/// The weights of a dense layer.
#[derive(Clone, Debug)]
pub(in crate::backend::cpu) struct DensePlaces {
    pub(in crate::backend::cpu) level: Integers,
    pub(in crate::backend::cpu) low: Range<usize>,
    pub(in crate::backend::cpu) high: Range<usize>,
    pub(in crate::backend::cpu) conv1: Range<usize>,
    pub(in crate::backend::cpu) mid: Factors,
    pub(in crate::backend::cpu) conv2: Range<usize>,
    pub(in crate::backend::cpu) out: Factors,
}

/// The weights of a transition.
#[derive(Clone, Debug)]
pub(in crate::backend::cpu) struct TransitionPlaces {
    pub(in crate::backend::cpu) level: Integers,
    pub(in crate::backend::cpu) low: Range<usize>,
    pub(in crate::backend::cpu) high: Range<usize>,
    pub(in crate::backend::cpu) conv: Range<usize>,
    pub(in crate::backend::cpu) out: Factors,
}

/// A step's name, block and operation over codes, for a level.
pub(in crate::backend::cpu) fn stage(
    level: Integers,
    step: &Step,
    (blocks, slabs): (&[Channels], &[Slab]),
    places: &mut Places,
    heads: &mut usize,
) -> (String, usize, Op) {
    match *step {
        Step::DenseLayer { block, layer, in_channels, mid_channels, growth, extent } => {
            let (index, channels) = (block - 1, blocks[block - 1]);
            let shape = DenseShape {
                images: 1,
                height: extent.height,
                width: extent.width,
                slab_stride: slabs[index].stride,
                in_channels: channels.padded(in_channels),
                mid: pad(mid_channels),
                growth: pad(growth),
            };
            let bounds = floats_of_codes(shape.in_channels);
            let places = DensePlaces {
                level,
                low: places.take(bounds),
                high: places.take(bounds),
                conv1: places.take(floats_of_codes(conv1_len(level, &shape))),
                mid: Factors::take(places, shape.mid),
                conv2: places.take(floats_of_codes(conv2_len(level, &shape))),
                out: Factors::take(places, shape.growth),
            };
            (format!("block {block} layer {layer}"), index, Op::DenseCodes { shape, channels, places })
        }
        Step::Transition { block, in_channels, out_channels, input, .. } => {
            let (index, channels) = (block - 1, blocks[block - 1]);
            let shape = TransitionShape {
                height: input.height,
                width: input.width,
                in_channels: channels.padded(in_channels),
                src_stride: slabs[index].stride,
                out_channels: pad(out_channels),
                dst_stride: slabs[block].stride,
            };
            let bounds = floats_of_codes(shape.in_channels);
            let places = TransitionPlaces {
                level,
                low: places.take(bounds),
                high: places.take(bounds),
                conv: places.take(floats_of_codes(conv_len(level, &shape))),
                out: Factors::take(places, shape.out_channels),
            };
            (format!("transition {block}"), index, Op::TransitionCodes { shape, channels, places })
        }
        _ => {
            let (name, index, mut op) = program::stage(step, blocks, slabs, places, heads);
            convert(&mut op, places);
            (name, index, op)
        }
    }
}

/// Gives an fp32 step at either end of the codes a map of floats of its own, without gaps, and the factors that convert it.
fn convert(op: &mut Op, places: &mut Places) {
    match op {
        Op::Stem { shape, codes, .. } => {
            shape.slab_stride = shape.out_channels;
            *codes = Some(Factors::take(places, shape.out_channels));
        }
        Op::Segmentation { shape, codes, .. } => {
            shape.slab_stride = shape.channels;
            *codes = Some(Factors::take(places, shape.channels));
        }
        Op::Attention { shape, codes, .. } => {
            shape.slab_stride = shape.channels;
            *codes = Some(Factors::take(places, shape.channels));
        }
        _ => {}
    }
}
