//! What a [`Config`] may say: the ranges of the format, and upper bounds that keep every later product small enough to compute.

use super::{Attention, Backbone, Config, Input, Rnn, ScanRule};
use crate::model::json::printable;
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Height or width of the input in pixels.
pub const SIDE: RangeInclusive<usize> = 32..=4096;
/// Input channels.
pub const CHANNELS: RangeInclusive<usize> = 1..=16;
/// Distance of a channel's slice.
pub const SLICE_OFFSET: RangeInclusive<i64> = -4096..=4096;
/// Window width in HU; the lower end keeps its reciprocal finite in float32.
pub const WINDOW_WIDTH: RangeInclusive<f64> = 1e-6..=1e9;
/// Window level, outside HU and channel mean.
pub const OFFSET: RangeInclusive<f64> = -1e9..=1e9;
/// Channel standard deviation.
pub const STD: RangeInclusive<f64> = 1e-9..=1e9;
/// Pixel spacing in mm.
pub const SPACING_MM: RangeInclusive<f64> = 1e-2..=1e2;
/// Channels after the stem.
pub const INIT_FEATURES: RangeInclusive<usize> = 1..=4096;
/// Channels per dense layer.
pub const GROWTH_RATE: RangeInclusive<usize> = 1..=1024;
/// Width of the 1×1 convolution in growth rates.
pub const BN_SIZE: RangeInclusive<usize> = 1..=64;
/// Epsilon of the batch norms.
pub const BN_EPS: RangeInclusive<f64> = 1e-12..=1.0;
/// Dense blocks.
pub const BLOCKS: RangeInclusive<usize> = 1..=6;
/// Layers of a block.
pub const BLOCK_LAYERS: RangeInclusive<usize> = 1..=256;
/// Attention heads.
pub const HEADS: RangeInclusive<usize> = 1..=64;
/// Recurrent units per direction.
pub const HIDDEN: RangeInclusive<usize> = 1..=8192;
/// Recurrent layers.
pub const RNN_LAYERS: RangeInclusive<usize> = 1..=16;
/// Classes.
pub const CLASSES: RangeInclusive<usize> = 1..=1024;
/// Bytes of a class name.
pub const CLASS_NAME: RangeInclusive<usize> = 1..=256;
/// Run length or count of a scan rule.
pub const SCAN_COUNT: RangeInclusive<usize> = 1..=usize::MAX;

pub(super) fn check(config: &Config) -> Result<()> {
    input(&config.input)?;
    backbone(config)?;
    context(config)?;
    classes(config)
}

fn input(input: &Input) -> Result<()> {
    for (i, side) in input.size.iter().enumerate() {
        within(&format!("input.size[{i}]"), *side, SIDE)?;
    }
    if let Some(spacing) = input.spacing_mm {
        within("input.spacing_mm", spacing, SPACING_MM)?;
    }
    within("input.outside_hu", input.outside_hu, OFFSET)?;
    within("input.channels: the number of channels", input.channels.len(), CHANNELS)?;
    for (i, channel) in input.channels.iter().enumerate() {
        within(&format!("input.channels[{i}].slice_offset"), channel.slice_offset, SLICE_OFFSET)?;
        within(&format!("input.channels[{i}].window.level"), channel.window.level, OFFSET)?;
        within(&format!("input.channels[{i}].window.width"), channel.window.width, WINDOW_WIDTH)?;
    }
    for (name, values, range) in [("mean", &input.mean, OFFSET), ("std", &input.std, STD)] {
        if values.len() != input.channels.len() {
            return Err(bad(format!("input.{name} has {} values for {} channels", values.len(), input.channels.len())));
        }
        for (i, value) in values.iter().enumerate() {
            within(&format!("input.{name}[{i}]"), *value, range.clone())?;
        }
    }
    Ok(())
}

fn backbone(config: &Config) -> Result<()> {
    let Backbone::Densenet { init_features, growth_rate, block_config, bn_size, bn_eps } = &config.backbone;
    within("backbone.init_features", *init_features, INIT_FEATURES)?;
    within("backbone.growth_rate", *growth_rate, GROWTH_RATE)?;
    within("backbone.bn_size", *bn_size, BN_SIZE)?;
    within("backbone.bn_eps", *bn_eps, BN_EPS)?;
    within("backbone.block_config: the number of blocks", block_config.len(), BLOCKS)?;
    for (i, layers) in block_config.iter().enumerate() {
        within(&format!("backbone.block_config[{i}]"), *layers, BLOCK_LAYERS)?;
    }
    let mut seen = BTreeSet::new();
    for (i, block) in config.segmentation.iter().enumerate() {
        within(&format!("segmentation[{i}]"), *block, 1..=block_config.len())?;
        if !seen.insert(block) {
            return Err(bad(format!("segmentation names block {block} twice")));
        }
    }
    Ok(())
}

fn context(config: &Config) -> Result<()> {
    match config.attention {
        Attention::None => {}
        Attention::Sigmoid { heads } | Attention::Softmax { heads } => within("attention.heads", heads, HEADS)?,
    }
    match config.rnn {
        Rnn::None => {}
        Rnn::Lstm(shape) | Rnn::Gru(shape) => {
            within("rnn.hidden", shape.hidden, HIDDEN)?;
            within("rnn.layers", shape.layers, RNN_LAYERS)?;
        }
    }
    match config.scan {
        ScanRule::Consecutive { n } => within("scan.n", n, SCAN_COUNT),
        ScanRule::MeanTopK { k } => within("scan.k", k, SCAN_COUNT),
        ScanRule::NoisyOr {} => Ok(()),
    }
}

fn classes(config: &Config) -> Result<()> {
    within("classes: the number of classes", config.classes.len(), CLASSES)?;
    let mut seen = BTreeSet::new();
    for (i, class) in config.classes.iter().enumerate() {
        within(&format!("classes[{i}]: the length of the name"), class.len(), CLASS_NAME)?;
        if !seen.insert(class) {
            return Err(bad(format!("classes names `{}` twice", printable(class))));
        }
        match config.thresholds.get(class) {
            Some(threshold) => within(&format!("thresholds.{}", printable(class)), *threshold, 0.0..=1.0)?,
            None => return Err(bad(format!("thresholds lacks the class `{}`", printable(class)))),
        }
    }
    match config.thresholds.keys().find(|class| !seen.contains(class)) {
        Some(class) => Err(bad(format!("thresholds names `{}`, which is not a class", printable(class)))),
        None => Ok(()),
    }
}

/// NaN lies in no range.
fn within<T: PartialOrd + Display>(name: &str, value: T, range: RangeInclusive<T>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(bad(format!("{name} is {value}, outside {} to {}", range.start(), range.end())))
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
