//! The `radnet.config` JSON of a model file (spec: model, "Config"), as types. Every key is required and unknown keys are errors.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How a scan becomes the network's input.
    pub input: Input,
    /// The 2-D network.
    pub backbone: Backbone,
    /// Blocks (from 1) whose concatenated output carries an auxiliary segmentation head.
    pub segmentation: Vec<usize>,
    /// How a feature map becomes a slice vector.
    pub attention: Attention,
    /// How slices exchange context.
    pub rnn: Rnn,
    /// Names of the outputs.
    pub classes: Vec<String>,
    /// How slice probabilities become a scan's score.
    pub scan: ScanRule,
    /// Decision threshold of each class.
    pub thresholds: BTreeMap<String, f64>,
}

/// Input geometry and channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// [height, width] in pixels.
    pub size: [usize; 2],
    /// Isotropic pixel spacing in mm to resample to, or null: resize the whole slice to `size`.
    #[serde(deserialize_with = "required_nullable")]
    pub spacing_mm: Option<f64>,
    /// HU of padding outside the slice.
    pub outside_hu: f64,
    /// 1 to 16 channels.
    pub channels: Vec<Channel>,
    /// Per channel, after windowing.
    pub mean: Vec<f64>,
    /// Per channel, after windowing.
    pub std: Vec<f64>,
}

/// One input channel: a window on this slice or on a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Slices towards superior; clamped to the series.
    pub slice_offset: i64,
    /// The window.
    pub window: Window,
}

/// Window level and width in HU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Centre.
    pub level: f64,
    /// Full width.
    pub width: f64,
}

/// torchvision's DenseNet family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Backbone {
    /// DenseNet-BC.
    Densenet {
        /// Channels after the stem.
        init_features: usize,
        /// New channels per dense layer.
        growth_rate: usize,
        /// Layers per block.
        block_config: Vec<usize>,
        /// The 1×1 convolution makes `bn_size · growth_rate` channels.
        bn_size: usize,
        /// Epsilon of every batch norm.
        bn_eps: f64,
    },
}

/// Attention pooling over a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attention {
    /// Mean over positions.
    None,
    /// Σ a F / (Σ a + 1e-6) with a = σ(e), per head.
    Sigmoid {
        /// Number of heads.
        heads: usize,
    },
    /// Σ a F with a = softmax of e over positions, per head.
    Softmax {
        /// Number of heads.
        heads: usize,
    },
}

/// Recurrence over slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rnn {
    /// Slices are judged alone.
    None,
    /// `torch.nn.LSTM`.
    Lstm(RnnShape),
    /// `torch.nn.GRU`.
    Gru(RnnShape),
}

/// Shape of a recurrent stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RnnShape {
    /// Hidden units per direction.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Whether each layer also runs from superior to inferior.
    pub bidirectional: bool,
}

/// Aggregation of slice probabilities to a scan's score, per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScanRule {
    /// Maximum over runs of `n` slices of the minimum in the run.
    Consecutive {
        /// Run length, at least 1.
        n: usize,
    },
    /// Mean of the `k` largest.
    MeanTopK {
        /// At least 1.
        k: usize,
    },
    /// 1 − Π(1 − p).
    NoisyOr {},
}

fn required_nullable<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    Option::deserialize(d)
}
