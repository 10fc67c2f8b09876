//! The `radnet.config` JSON of a model file (spec: model, "Config"), as types.
//!
//! Every key is required, a key that is not part of the format is an error, and so is a key given twice. Under a kind `none`
//! the other keys of the object are optional and ignored.

pub mod limits;
mod parse;

use crate::{Error, ErrorKind, Result};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeMap;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
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

impl Config {
    /// Parses and validates the JSON text of a model file.
    ///
    /// # Errors
    /// `bad_model`, naming the key by its path (`input.channels[2].window.width`) and the value.
    pub fn from_json(text: &str) -> Result<Self> {
        let config = parse::config(text)?;
        config.validate()?;
        Ok(config)
    }

    /// The JSON text that [`Config::from_json`] reads back to an equal value.
    ///
    /// # Errors
    /// `bad_model` when a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        self.validate()?;
        serde_json::to_string(self).map_err(|e| Error::new(ErrorKind::BadModel, "the configuration cannot be written as JSON").caused_by(e))
    }

    /// Whether every value lies within [`limits`] and the parts agree with each other.
    ///
    /// # Errors
    /// `bad_model`, naming the key and the value.
    pub fn validate(&self) -> Result<()> {
        limits::check(self)
    }

    /// The standard network with this many layers per block: 256×256, brain, subdural and bone windows, growth 32, segmentation
    /// heads on the first three blocks (as many as there are), one sigmoid attention head, a bidirectional LSTM of 256 units.
    /// The paper does not give these constants; they are choices of this project.
    pub fn densenet(block_config: &[usize]) -> Self {
        let channel = |level, width| Channel { slice_offset: 0, window: Window { level, width } };
        Self {
            input: Input {
                size: [256, 256],
                spacing_mm: None,
                outside_hu: -1000.0,
                channels: vec![channel(40.0, 80.0), channel(80.0, 200.0), channel(600.0, 2800.0)],
                mean: vec![0.0; 3],
                std: vec![1.0; 3],
            },
            backbone: Backbone::Densenet {
                init_features: 64,
                growth_rate: 32,
                block_config: block_config.to_vec(),
                bn_size: 4,
                bn_eps: 1e-5,
            },
            segmentation: (1..=block_config.len().min(3)).collect(),
            attention: Attention::Sigmoid { heads: 1 },
            rnn: Rnn::Lstm(RnnShape { hidden: 256, layers: 1, bidirectional: true }),
            classes: vec!["any".to_owned()],
            scan: ScanRule::Consecutive { n: 3 },
            thresholds: BTreeMap::from([("any".to_owned(), 0.5)]),
        }
    }

    /// The standard network on DenseNet-121.
    pub fn densenet121() -> Self {
        Self::densenet(&[6, 12, 24, 16])
    }

    /// The standard network on DenseNet-169.
    pub fn densenet169() -> Self {
        Self::densenet(&[6, 12, 32, 32])
    }

    /// The standard network on DenseNet-201.
    pub fn densenet201() -> Self {
        Self::densenet(&[6, 12, 48, 32])
    }

    /// The standard network by the name of its backbone: `densenet121`, `densenet169` or `densenet201`.
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "densenet121" => Some(Self::densenet121()),
            "densenet169" => Some(Self::densenet169()),
            "densenet201" => Some(Self::densenet201()),
            _ => None,
        }
    }
}

/// Input geometry and channels.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Input {
    /// [height, width] in pixels.
    pub size: [usize; 2],
    /// Isotropic pixel spacing in mm to resample to, or null: resize the whole slice to `size`.
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
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Channel {
    /// Slices towards superior; clamped to the series.
    pub slice_offset: i64,
    /// The window.
    pub window: Window,
}

/// Window level and width in HU.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Window {
    /// Centre.
    pub level: f64,
    /// Full width.
    pub width: f64,
}

/// torchvision's DenseNet family.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Attention {
    /// Number of attention maps; 0 for the plain mean.
    pub fn heads(self) -> usize {
        match self {
            Self::None => 0,
            Self::Sigmoid { heads } | Self::Softmax { heads } => heads,
        }
    }
}

impl Serialize for Attention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, heads) = match *self {
            Self::None => ("none", None),
            Self::Sigmoid { heads } => ("sigmoid", Some(heads)),
            Self::Softmax { heads } => ("softmax", Some(heads)),
        };
        let mut object = serializer.serialize_struct("Attention", 2)?;
        object.serialize_field("kind", kind)?;
        if let Some(heads) = heads {
            object.serialize_field("heads", &heads)?;
        }
        object.end()
    }
}

/// Recurrence over slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rnn {
    /// Slices are judged alone.
    None,
    /// `torch.nn.LSTM`.
    Lstm(RnnShape),
    /// `torch.nn.GRU`.
    Gru(RnnShape),
}

impl Rnn {
    /// The shape of the stack, none without recurrence.
    pub fn shape(self) -> Option<RnnShape> {
        match self {
            Self::None => None,
            Self::Lstm(shape) | Self::Gru(shape) => Some(shape),
        }
    }
}

impl Serialize for Rnn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::None => "none",
            Self::Lstm(_) => "lstm",
            Self::Gru(_) => "gru",
        };
        let mut object = serializer.serialize_struct("Rnn", 4)?;
        object.serialize_field("kind", kind)?;
        if let Some(shape) = self.shape() {
            object.serialize_field("hidden", &shape.hidden)?;
            object.serialize_field("layers", &shape.layers)?;
            object.serialize_field("bidirectional", &shape.bidirectional)?;
        }
        object.end()
    }
}

/// Shape of a recurrent stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RnnShape {
    /// Hidden units per direction.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Whether each layer also runs from superior to inferior.
    pub bidirectional: bool,
}

/// Aggregation of slice probabilities to a scan's score, per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
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

#[cfg(test)]
mod tests;
