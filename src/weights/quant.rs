//! The tensors of format 2: ranges of 8-bit codes, F32, F16 or BF16, beside the weights of format 1.
//!
//! | tensor | shape | what |
//! |---|---|---|
//! | `quant.denseblock{b}.low` | [C] | what code 0 of each channel of block b's slab stands for, entry channels first, then each layer's |
//! | `quant.denseblock{b}.high` | [C] | what code 255 stands for; not below `low` |
//! | `quant.denseblock{b}.denselayer{l}.high` | [mid] | code 255 of each channel after norm2 and ReLU; code 0 is 0, and a bound of 0 means always 0 |
//!
//! C is the channels of the block's whole output. A file has all of them or none. Under `radnet.quantisation` a JSON text says where they
//! come from. Other tensors whose names begin with `quant.` are another program's; a file of format 2 that has only those reads as format 1.

use super::names::{Named, TensorSource};
use crate::model::Network;
use crate::model::quantisation::{BlockRanges, Quantisation, Range, block_shapes};
use crate::{Error, ErrorKind, Result};

/// What the names of our tensors begin with.
pub(super) const OURS: &str = "quant.denseblock";

/// What the names of all quantisation data begin with.
pub(super) const PREFIX: &str = "quant.";

fn bound(block: usize, end: &str) -> String {
    format!("{OURS}{block}.{end}")
}

fn mid(block: usize, layer: usize) -> String {
    format!("{OURS}{block}.denselayer{layer}.high")
}

/// Takes the ranges of `network` from a file.
pub(super) fn read(network: &Network, source: &mut dyn TensorSource) -> Result<Quantisation> {
    let mut blocks = Vec::new();
    for (i, shape) in block_shapes(network).into_iter().enumerate() {
        let block = i + 1;
        let names = [bound(block, "low"), bound(block, "high")];
        let (low, high) = (source.tensor(&names[0], &[shape.channels])?, source.tensor(&names[1], &[shape.channels])?);
        let channels: Vec<Range> = low.into_iter().zip(high).map(|(low, high)| Range { low, high }).collect();
        if let Some((c, Range { low, high })) = channels.iter().enumerate().find(|(_, range)| range.low > range.high) {
            return Err(bad(format!("tensor `{}` is {low} at index {c}, above the {high} of `{}`", names[0], names[1])));
        }
        let mut mids = Vec::new();
        for (l, channels) in shape.mid.into_iter().enumerate() {
            let name = mid(block, l + 1);
            let high = source.tensor(&name, &[channels])?;
            if let Some((c, value)) = high.iter().enumerate().find(|(_, v)| **v < 0.0) {
                return Err(bad(format!("tensor `{name}` has the negative bound {value} at index {c}")));
            }
            mids.push(high);
        }
        blocks.push(BlockRanges { channels, mid: mids });
    }
    let quantisation = Quantisation { blocks };
    quantisation.check(network)?;
    Ok(quantisation)
}

/// A tensor of ours with its elements.
pub struct RangeTensor {
    /// Its name.
    pub name: String,
    /// One axis.
    pub values: Vec<f32>,
}

impl Quantisation {
    /// The tensors of these ranges, as a file of format 2 has them.
    pub fn tensors(&self) -> Vec<RangeTensor> {
        let mut tensors = Vec::new();
        for (i, ranges) in self.blocks.iter().enumerate() {
            let block = i + 1;
            let bounds = |end: &str, of: fn(&Range) -> f32| RangeTensor {
                name: bound(block, end),
                values: ranges.channels.iter().map(of).collect(),
            };
            tensors.extend([bounds("low", |r| r.low), bounds("high", |r| r.high)]);
            tensors.extend(ranges.mid.iter().enumerate().map(|(l, high)| RangeTensor { name: mid(block, l + 1), values: high.clone() }));
        }
        tensors
    }
}

impl RangeTensor {
    pub(super) fn named(&self) -> Named<'_> {
        Named { name: self.name.clone(), shape: vec![self.values.len()], values: &self.values }
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
