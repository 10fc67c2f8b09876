//! The ranges that 8-bit codes stand for: what the int8 engine needs beyond the weights, whether it comes from the model's norms, from scans
//! or from a file.
//!
//! A block's slab holds a code of 8 bits per channel and position: x ≈ low + step · q with q = round((x − low) / step) saturated to 0…255
//! and step = (high − low) / 255. The outputs of a dense layer's 1×1 convolution, after norm2 and ReLU, are codes of [0, high].

use crate::model::{Network, Step};
use crate::{Error, ErrorKind, Result};

/// Largest code.
pub const CODES: f64 = 255.0;

/// What the codes of one channel stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// Of code 0.
    pub low: f32,
    /// Of code 255; not below `low`. A channel whose bounds are equal is a constant, whatever it is measured to be.
    pub high: f32,
}

impl Range {
    /// The distance between two codes.
    pub fn step(self) -> f64 {
        (f64::from(self.high) - f64::from(self.low)) / CODES
    }

    /// Whether both are numbers, in order, with a distance that is a float32 too.
    fn is_sound(self) -> bool {
        self.low.is_finite() && self.high.is_finite() && self.low <= self.high && (self.high - self.low).is_finite()
    }
}

/// The ranges of one dense block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockRanges {
    /// Of every logical channel of the block's slab: those that enter it, then those of each layer.
    pub channels: Vec<Range>,
    /// Per layer, the upper bound of each channel between its two convolutions, after norm2 and ReLU; the lower one is 0. A channel whose
    /// bound is 0 is always 0.
    pub mid: Vec<Vec<f32>>,
}

/// The ranges of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantisation {
    /// In order.
    pub blocks: Vec<BlockRanges>,
}

impl Quantisation {
    /// Whether these are ranges for `network`, number for number.
    ///
    /// # Errors
    /// `bad_model`, naming the block, the layer and the channel.
    pub fn check(&self, network: &Network) -> Result<()> {
        let shapes = block_shapes(network);
        if shapes.len() != self.blocks.len() {
            return Err(bad(format!("there are ranges for {} blocks; the network has {}", self.blocks.len(), shapes.len())));
        }
        self.blocks.iter().zip(&shapes).enumerate().try_for_each(|(i, (ranges, shape))| ranges.check(i + 1, shape))
    }
}

impl BlockRanges {
    fn check(&self, block: usize, shape: &BlockShape) -> Result<()> {
        let layers: Vec<usize> = self.mid.iter().map(Vec::len).collect();
        if self.channels.len() != shape.channels || layers != shape.mid {
            let have = (self.channels.len(), layers);
            let message = format!("the ranges of block {block} are {have:?}; the network has {:?}", (shape.channels, &shape.mid));
            return Err(bad(message));
        }
        if let Some((c, range)) = self.channels.iter().enumerate().find(|(_, range)| !range.is_sound()) {
            return Err(bad(format!("the range of channel {c} of block {block} is {} to {}", range.low, range.high)));
        }
        for (layer, mid) in self.mid.iter().enumerate() {
            if let Some((c, high)) = mid.iter().enumerate().find(|(_, high)| !(high.is_finite() && **high >= 0.0)) {
                return Err(bad(format!("the upper bound of mid channel {c} of block {block} layer {} is {high}", layer + 1)));
            }
        }
        Ok(())
    }
}

/// How many ranges a block has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockShape {
    /// Logical channels of the slab when the block is done.
    pub channels: usize,
    /// Mid channels of each layer.
    pub mid: Vec<usize>,
}

/// How many ranges each block of `network` has.
pub fn block_shapes(network: &Network) -> Vec<BlockShape> {
    let mut blocks: Vec<BlockShape> = Vec::new();
    for step in &network.steps {
        match *step {
            Step::Stem { out_channels: channels, .. } | Step::Transition { out_channels: channels, .. } => {
                blocks.push(BlockShape { channels, mid: Vec::new() })
            }
            Step::DenseLayer { block, in_channels, mid_channels, growth, .. } => {
                blocks[block - 1].channels = in_channels + growth;
                blocks[block - 1].mid.push(mid_channels);
            }
            _ => {}
        }
    }
    blocks
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;

    fn ranges(network: &Network) -> Quantisation {
        let blocks = block_shapes(network).into_iter().map(|shape| BlockRanges {
            channels: vec![Range { low: -1.0, high: 1.0 }; shape.channels],
            mid: shape.mid.iter().map(|n| vec![1.0; *n]).collect(),
        });
        Quantisation { blocks: blocks.collect() }
    }

    #[test]
    fn a_block_has_the_channels_of_its_last_layer() {
        let network = Network::new(&Config::densenet(&[1, 3])).unwrap();
        let shapes = block_shapes(&network);
        assert_eq!(shapes[0], BlockShape { channels: 96, mid: vec![128] });
        assert_eq!(shapes[1], BlockShape { channels: 48 + 96, mid: vec![128; 3] });
        ranges(&network).check(&network).unwrap();
    }

    #[test]
    fn unsound_ranges_are_named() {
        let network = Network::new(&Config::densenet(&[1, 3])).unwrap();
        let refusal = |change: &dyn Fn(&mut Quantisation)| {
            let mut ranges = ranges(&network);
            change(&mut ranges);
            ranges.check(&network).unwrap_err().message().to_owned()
        };
        assert_eq!(refusal(&|q| drop(q.blocks.pop())), "there are ranges for 1 blocks; the network has 2");
        assert_eq!(refusal(&|q| q.blocks[0].channels.truncate(95)), "the ranges of block 1 are (95, [128]); the network has (96, [128])");
        assert!(refusal(&|q| drop(q.blocks[1].mid.pop())).starts_with("the ranges of block 2 are (144, [128, 128])"));
        for (low, high) in [(2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY), (-3e38, 3e38)] {
            let message = refusal(&|q| q.blocks[1].channels[7] = Range { low, high });
            assert_eq!(message, format!("the range of channel 7 of block 2 is {low} to {high}"));
        }
        for high in [-0.5, f32::NAN] {
            let message = refusal(&|q| q.blocks[1].mid[2][5] = high);
            assert_eq!(message, format!("the upper bound of mid channel 5 of block 2 layer 3 is {high}"));
        }
        let mut constant = ranges(&network);
        (constant.blocks[0].channels[0], constant.blocks[0].mid[0][0]) = (Range { low: 3.0, high: 3.0 }, 0.0);
        constant.check(&network).unwrap();
    }
}
