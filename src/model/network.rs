//! The network as a list of fused steps with every shape worked out: the whole intermediate representation.

pub use crate::tensor::Extent;

use crate::model::config::{Attention, Backbone, Config, Rnn, RnnShape};
use crate::{Error, ErrorKind, Result};

/// One fused step. Blocks count from 1 and layers from 1, as in tensor names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// conv 7×7/2 pad 3, norm, ReLU, maxpool 3×3/2 pad 1.
    Stem {
        /// Input channels.
        in_channels: usize,
        /// Output channels.
        out_channels: usize,
        /// Network input.
        input: Extent,
        /// After the convolution.
        conv: Extent,
        /// After the pool: the extent of block 1.
        output: Extent,
    },
    /// norm1·ReLU·1×1 → norm2·ReLU·3×3, appended to the block's slab at channel `in_channels`.
    DenseLayer {
        /// Block.
        block: usize,
        /// Layer in the block.
        layer: usize,
        /// Channels already in the slab.
        in_channels: usize,
        /// Channels between the two convolutions.
        mid_channels: usize,
        /// Channels appended.
        growth: usize,
        /// Map.
        extent: Extent,
    },
    /// norm·ReLU·1×1 → one logit per position, upsampled to the input size, sigmoid. Only run when maps are asked for.
    Segmentation {
        /// Block whose full slab it reads, before the transition.
        block: usize,
        /// Channels of that slab.
        channels: usize,
        /// Map.
        extent: Extent,
    },
    /// norm·ReLU, average pool 2×2/2, 1×1 (the pool commutes with the convolution and goes first).
    Transition {
        /// Block it follows.
        block: usize,
        /// Channels in.
        in_channels: usize,
        /// Channels out.
        out_channels: usize,
        /// Map before the pool.
        input: Extent,
        /// Map after the pool.
        output: Extent,
    },
    /// norm5·ReLU and attention pooling: the slice vector of `max(heads, 1) · channels`.
    AttentionPool {
        /// Channels of the feature map F.
        channels: usize,
        /// Attention heads; 0 for the plain mean.
        heads: usize,
        /// Whether the weights are a softmax over positions, not sigmoids.
        softmax: bool,
        /// Map.
        extent: Extent,
    },
    /// One layer of LSTM or GRU over the slices of a scan.
    Recurrent {
        /// Layer, from 0 as in tensor names.
        layer: usize,
        /// Width of its input.
        input: usize,
        /// Hidden units per direction.
        hidden: usize,
        /// 4 for LSTM, 3 for GRU.
        gates: usize,
        /// Whether it runs both ways.
        bidirectional: bool,
    },
    /// Logits of every class for every slice.
    Classifier {
        /// Width of its input.
        input: usize,
        /// Number of classes.
        classes: usize,
    },
}

/// The steps of one model, in order, with the widths that sessions need.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// In order of execution; `Segmentation` follows the last dense layer of its block.
    pub steps: Vec<Step>,
    /// Input channels.
    pub channels: usize,
    /// Input [height, width].
    pub input: Extent,
    /// Length of a slice vector v.
    pub slice_vector: usize,
    /// Number of classes.
    pub classes: usize,
    /// Epsilon of every batch norm.
    pub bn_eps: f64,
    /// Largest |x| that windowing and normalising a scan gives.
    pub largest_input: f32,
}

/// Most elements in one feature map (channels · positions): 1 GiB of float32.
const LARGEST_MAP: usize = 1 << 28;

impl Network {
    /// Works out every step and shape.
    ///
    /// # Errors
    /// `bad_model` when the configuration is out of range, when a map would be empty, or when a map would exceed 2²⁸ elements.
    pub fn new(config: &Config) -> Result<Self> {
        config.validate()?;
        let [height, width] = config.input.size;
        let input = Extent { height, width };
        let channels = config.input.channels.len();
        let Backbone::Densenet { bn_eps, .. } = config.backbone;
        let mut steps = Vec::new();
        let (features, extent) = backbone(config, channels, input, &mut steps)?;

        let heads = config.attention.heads();
        let softmax = matches!(config.attention, Attention::Softmax { .. });
        steps.push(Step::AttentionPool { channels: features, heads, softmax, extent });
        let slice_vector = features * heads.max(1);
        let classes = config.classes.len();
        let judged = recurrence(config.rnn, slice_vector, &mut steps);
        steps.push(Step::Classifier { input: judged, classes });
        Ok(Self { steps, channels, input, slice_vector, classes, bn_eps, largest_input: largest_input(config) })
    }
}

/// A windowed value is one of [0, 1] before it is normalised.
fn largest_input(config: &Config) -> f32 {
    let normalised = |(mean, std): (&f64, &f64)| [0.0, 1.0].map(|v| ((v - mean) / std).abs() as f32);
    config.input.mean.iter().zip(&config.input.std).flat_map(normalised).fold(0.0, f32::max)
}

/// Pushes the steps up to the last block; returns the channels and extent of F. The configuration's limits keep every
/// sum of channels far below overflow.
fn backbone(config: &Config, in_channels: usize, input: Extent, steps: &mut Vec<Step>) -> Result<(usize, Extent)> {
    let Backbone::Densenet { init_features, growth_rate, ref block_config, bn_size, .. } = config.backbone;
    let halved = |e: Extent| Extent { height: e.height.div_ceil(2), width: e.width.div_ceil(2) };
    let conv = halved(input);
    let mut extent = halved(conv);
    bounded("the stem", init_features, conv)?;
    steps.push(Step::Stem { in_channels, out_channels: init_features, input, conv, output: extent });

    let mut channels = init_features;
    let mid_channels = bn_size * growth_rate;
    for (index, &layers) in block_config.iter().enumerate() {
        let block = index + 1;
        if extent.area() == 0 {
            let Extent { height, width } = input;
            return Err(bad(format!("input.size [{height}, {width}] leaves an empty map in block {block}")));
        }
        bounded(&format!("block {block}"), (channels + layers * growth_rate).max(mid_channels), extent)?;
        for layer in 1..=layers {
            steps.push(Step::DenseLayer { block, layer, in_channels: channels, mid_channels, growth: growth_rate, extent });
            channels += growth_rate;
        }
        if config.segmentation.contains(&block) {
            steps.push(Step::Segmentation { block, channels, extent });
        }
        if block < block_config.len() {
            let output = Extent { height: extent.height / 2, width: extent.width / 2 };
            steps.push(Step::Transition { block, in_channels: channels, out_channels: channels / 2, input: extent, output });
            channels /= 2;
            extent = output;
        }
    }
    Ok((channels, extent))
}

/// Pushes the recurrent layers; returns the width that the classifier reads.
fn recurrence(rnn: Rnn, slice_vector: usize, steps: &mut Vec<Step>) -> usize {
    let gates = if matches!(rnn, Rnn::Lstm(_)) { 4 } else { 3 };
    let mut input = slice_vector;
    if let Some(RnnShape { hidden, layers, bidirectional }) = rnn.shape() {
        for layer in 0..layers {
            steps.push(Step::Recurrent { layer, input, hidden, gates, bidirectional });
            input = hidden * (1 + usize::from(bidirectional));
        }
    }
    input
}

fn bounded(name: &str, channels: usize, extent: Extent) -> Result<()> {
    match channels.checked_mul(extent.area()) {
        Some(elements) if elements <= LARGEST_MAP => Ok(()),
        _ => {
            let Extent { height, width } = extent;
            Err(bad(format!("{name} has a map of {channels} channels of {height}×{width}, more than {LARGEST_MAP} elements")))
        }
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(size: [usize; 2], blocks: &[usize]) -> Config {
        let mut config = Config::densenet(blocks);
        config.input.size = size;
        config
    }

    #[test]
    fn densenet121_has_the_shapes_of_torchvision() {
        let network = Network::new(&Config::densenet121()).unwrap();
        let extent = |n| Extent { height: n, width: n };
        assert_eq!(
            network.steps[0],
            Step::Stem { in_channels: 3, out_channels: 64, input: extent(256), conv: extent(128), output: extent(64) }
        );
        let transitions: Vec<_> = network
            .steps
            .iter()
            .filter_map(|s| match s {
                Step::Transition { in_channels, out_channels, output, .. } => Some((*in_channels, *out_channels, output.width)),
                _ => None,
            })
            .collect();
        assert_eq!(transitions, [(256, 128, 32), (512, 256, 16), (1024, 512, 8)]);
        assert_eq!(network.slice_vector, 1024);
        assert_eq!(network.steps.last(), Some(&Step::Classifier { input: 512, classes: 1 }));
        assert_eq!(network.steps.len(), 1 + 58 + 3 + 3 + 1 + 1 + 1);
    }

    #[test]
    fn odd_sizes_round_as_pytorch_rounds() {
        // conv 7×7/2 pad 3 and maxpool 3×3/2 pad 1 round up, avgpool 2×2/2 rounds down.
        let network = Network::new(&config([33, 71], &[1, 1])).unwrap();
        let Step::Stem { conv, output, .. } = network.steps[0] else { panic!() };
        assert_eq!((conv, output), (Extent { height: 17, width: 36 }, Extent { height: 9, width: 18 }));
        let Some(Step::AttentionPool { extent, .. }) = network.steps.iter().find(|s| matches!(s, Step::AttentionPool { .. })) else {
            panic!()
        };
        assert_eq!(*extent, Extent { height: 4, width: 9 });
    }

    #[test]
    fn a_segmentation_head_follows_the_last_layer_of_its_block_whatever_the_order_named() {
        let mut config = config([64, 64], &[2, 1, 1]);
        config.segmentation = vec![3, 1];
        let network = Network::new(&config).unwrap();
        let at: Vec<_> = network.steps.iter().enumerate().filter(|(_, s)| matches!(s, Step::Segmentation { .. })).map(|(i, _)| i).collect();
        assert_eq!(at, [3, 8]);
        assert!(matches!(network.steps[3], Step::Segmentation { block: 1, channels: 128, .. }));
        assert!(matches!(network.steps[4], Step::Transition { block: 1, .. }));
    }

    #[test]
    fn an_empty_map_is_an_error() {
        Network::new(&config([32, 32], &[1, 1, 1, 1])).unwrap();
        let error = Network::new(&config([32, 64], &[1, 1, 1, 1, 1])).unwrap_err();
        assert_eq!(error.message(), "input.size [32, 64] leaves an empty map in block 5");
    }

    #[test]
    fn a_huge_map_is_an_error_and_a_large_one_is_not() {
        Network::new(&config([4096, 4096], &[6, 12, 48, 32])).unwrap();
        let mut huge = config([4096, 4096], &[256]);
        let Backbone::Densenet { growth_rate, .. } = &mut huge.backbone;
        *growth_rate = 1024;
        let error = Network::new(&huge).unwrap_err();
        assert!(error.message().starts_with("block 1 has a map of 262208 channels of 1024×1024"), "{error}");
    }

    #[test]
    fn a_configuration_built_by_hand_is_validated() {
        let error = Network::new(&config([16, 256], &[1])).unwrap_err();
        assert!(error.message().contains("input.size[0] is 16"), "{error}");
    }

    #[test]
    fn recurrence_widens_its_next_layer() {
        let mut config = config([64, 64], &[1]);
        config.attention = Attention::Softmax { heads: 2 };
        config.rnn = Rnn::Gru(RnnShape { hidden: 40, layers: 2, bidirectional: true });
        let network = Network::new(&config).unwrap();
        let n = network.steps.len();
        assert_eq!(network.slice_vector, 192);
        assert_eq!(network.steps[n - 3], Step::Recurrent { layer: 0, input: 192, hidden: 40, gates: 3, bidirectional: true });
        assert_eq!(network.steps[n - 2], Step::Recurrent { layer: 1, input: 80, hidden: 40, gates: 3, bidirectional: true });
        assert_eq!(network.steps[n - 1], Step::Classifier { input: 80, classes: 1 });
    }
}
