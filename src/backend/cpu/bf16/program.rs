//! Steps over bf16: their shapes, and where their weights lie. Ranges name floats of the packed weights, whatever lies in them.

use crate::backend::channels::Channels;
use crate::backend::cpu::program::{self, Op, Places, Slab, dense_shape, transition_shape};
use crate::model::Step;
use radnet_kernels::Isa;
use radnet_kernels::cpu::bf16::dense::{conv1_len, conv2_len};
use radnet_kernels::cpu::bf16::layout::{floats_of_words, inputs};
use radnet_kernels::cpu::bf16::transition::conv_len;

/// A step's name, block and operation over bf16 on a tier.
pub(in crate::backend::cpu) fn stage(
    isa: Isa,
    step: &Step,
    (blocks, slabs): (&[Channels], &[Slab]),
    places: &mut Places,
    heads: &mut usize,
) -> (String, usize, Op) {
    match *step {
        Step::DenseLayer { block, layer, .. } => {
            let (shape, channels) = (dense_shape(step, blocks, slabs), blocks[block - 1]);
            let (scale, shift) = (places.take(inputs(isa, shape.in_channels)), places.take(inputs(isa, shape.in_channels)));
            let conv1 = places.take(floats_of_words(conv1_len(isa, &shape)));
            let (bias1, conv2) = (places.take(shape.mid), places.take(floats_of_words(conv2_len(isa, &shape))));
            (format!("block {block} layer {layer}"), block - 1, Op::Dense { shape, channels, scale, shift, conv1, bias1, conv2 })
        }
        Step::Transition { block, .. } => {
            let (shape, channels) = (transition_shape(step, blocks, slabs), blocks[block - 1]);
            let (scale, shift) = (places.take(inputs(isa, shape.in_channels)), places.take(inputs(isa, shape.in_channels)));
            let conv = places.take(floats_of_words(conv_len(isa, &shape)));
            (format!("transition {block}"), block - 1, Op::Transition { shape, channels, scale, shift, conv })
        }
        _ => {
            let (name, index, mut op) = program::stage(step, blocks, slabs, places, heads);
            // The fp32 steps at the end work on maps of floats of their own, without gaps.
            match &mut op {
                Op::Segmentation { shape, .. } => shape.slab_stride = shape.channels,
                Op::Attention { shape, .. } => shape.slab_stride = shape.channels,
                _ => {}
            }
            (name, index, op)
        }
    }
}
