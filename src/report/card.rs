//! A model's card: what is in a model file, counted from its steps.

use super::result::ModelInfo;
use crate::model::{Config, Network, Step};
use crate::tensor::Extent;

/// What a model is, for `radnet inspect` and for reports.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Card {
    /// Name, version, hash, intended use.
    #[serde(flatten)]
    pub model: ModelInfo,
    /// The configuration, as in the file.
    pub config: Config,
    /// How the model was calibrated, oldest first; empty when it never was.
    pub calibration: Vec<serde_json::Value>,
    /// Where the ranges of 8-bit codes come from; none when the file has none.
    pub quantisation: Option<serde_json::Value>,
    /// Convolutions, recurrent layers and the classifier.
    pub layers: usize,
    /// Trained values: weights, biases, γ and β; running statistics are not counted.
    pub parameters: u64,
    /// 10⁹ floating-point operations per slice (a multiply-add is two), from windowed slice to logits, without segmentation heads.
    pub gflop_per_slice: f64,
    /// The same for the segmentation heads, which run only when maps are asked for.
    pub gflop_per_slice_maps: f64,
    /// One line per group of steps.
    pub steps: Vec<CardStep>,
}

/// One group of steps.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CardStep {
    /// "stem", "block 1", "transition 1", "segmentation 1", "attention", "rnn 0", "classifier".
    pub name: String,
    /// "256×64×64": channels × height × width at its end, or a vector's length.
    pub output: String,
    /// Convolutions, recurrent layers or linear maps.
    pub layers: usize,
    /// Trained values.
    pub parameters: u64,
    /// 10⁹ floating-point operations per slice.
    pub gflop: f64,
    #[serde(skip)]
    maps_only: bool,
}

impl Card {
    /// Counts a model.
    pub fn new(model: ModelInfo, config: &Config, network: &Network) -> Self {
        let mut steps: Vec<CardStep> = Vec::new();
        for step in network.steps.iter().map(count) {
            match steps.last_mut().filter(|last| last.name == step.name) {
                Some(last) => {
                    last.output = step.output;
                    last.layers += step.layers;
                    last.parameters += step.parameters;
                    last.gflop += step.gflop;
                }
                None => steps.push(step),
            }
        }
        let gflop = |maps: bool| steps.iter().filter(|s| s.maps_only == maps).map(|s| s.gflop).sum();
        Self {
            model,
            config: config.clone(),
            calibration: Vec::new(),
            quantisation: None,
            layers: steps.iter().map(|s| s.layers).sum(),
            parameters: steps.iter().map(|s| s.parameters).sum(),
            gflop_per_slice: gflop(false),
            gflop_per_slice_maps: gflop(true),
            steps,
        }
    }
}

impl Card {
    /// Takes in `radnet.calibration`; text that is no list of records stands for itself.
    #[must_use]
    pub fn with_calibration(mut self, text: &str) -> Self {
        self.calibration = match serde_json::from_str(text) {
            Ok(serde_json::Value::Array(records)) => records,
            Ok(other) => vec![other],
            Err(_) if text.is_empty() => Vec::new(),
            Err(_) => vec![serde_json::Value::String(text.to_owned())],
        };
        self
    }

    /// Takes in `radnet.quantisation` of a model that has ranges; text that is no record stands for itself.
    #[must_use]
    pub fn with_quantisation(mut self, has_ranges: bool, text: &str) -> Self {
        let record = || serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()));
        self.quantisation = has_ranges.then(record);
        self
    }
}

/// The operations of one step on one slice, counted as the specification writes it (a transition's convolution before its pool).
pub fn step_gflop(step: &Step) -> f64 {
    count(step).gflop
}

fn count(step: &Step) -> CardStep {
    let map = |channels: usize, e: Extent| format!("{channels}×{}×{}", e.height, e.width);
    let row = |name: String, output: String, layers: usize, parameters: usize, macs: f64| CardStep {
        name,
        output,
        layers,
        parameters: parameters as u64,
        gflop: 2e-9 * macs,
        maps_only: false,
    };
    match *step {
        Step::Stem { in_channels, out_channels, conv, output, .. } => {
            let weights = out_channels * in_channels * 49;
            row("stem".into(), map(out_channels, output), 1, weights + 2 * out_channels, macs(weights, conv.area()))
        }
        Step::DenseLayer { block, in_channels, mid_channels, growth, extent, .. } => {
            let weights = mid_channels * in_channels + growth * mid_channels * 9;
            let parameters = weights + 2 * in_channels + 2 * mid_channels;
            row(format!("block {block}"), map(in_channels + growth, extent), 2, parameters, macs(weights, extent.area()))
        }
        Step::Segmentation { block, channels, extent } => {
            let parameters = 3 * channels + 1;
            let step = row(format!("segmentation {block}"), map(1, extent), 1, parameters, macs(channels, extent.area()));
            CardStep { maps_only: true, ..step }
        }
        Step::Transition { block, in_channels, out_channels, input, output } => {
            let weights = in_channels * out_channels;
            let parameters = weights + 2 * in_channels;
            row(format!("transition {block}"), map(out_channels, output), 1, parameters, macs(weights, input.area()))
        }
        Step::AttentionPool { channels, heads, extent, .. } => {
            let parameters = heads * (channels + 1) + 2 * channels;
            let work = macs((heads + heads.max(1)) * channels, extent.area());
            row("attention".into(), (heads.max(1) * channels).to_string(), usize::from(heads > 0), parameters, work)
        }
        Step::Recurrent { layer, input, hidden, gates, bidirectional } => {
            let directions = 1 + usize::from(bidirectional);
            let weights = directions * gates * hidden * (input + hidden);
            let parameters = weights + directions * 2 * gates * hidden;
            row(format!("rnn {layer}"), (directions * hidden).to_string(), 1, parameters, weights as f64)
        }
        Step::Classifier { input, classes } => {
            row("classifier".into(), classes.to_string(), 1, classes * (input + 1), (classes * input) as f64)
        }
    }
}

fn macs(weights: usize, positions: usize) -> f64 {
    weights as f64 * positions as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DenseNet-121's second layer of block 1 at 64×64: 128·96 + 32·128·9 weights, and two norms.
    #[test]
    fn a_dense_layer_is_counted_by_hand() {
        let extent = Extent { height: 64, width: 64 };
        let step = Step::DenseLayer { block: 1, layer: 2, in_channels: 96, mid_channels: 128, growth: 32, extent };
        let counted = count(&step);
        assert_eq!(counted.parameters, 128 * 96 + 32 * 128 * 9 + 2 * 96 + 2 * 128);
        assert_eq!(counted.gflop, 2e-9 * f64::from((128 * 96 + 32 * 128 * 9) * 4096));
        assert_eq!(counted.output, "128×64×64");
    }

    /// torch.nn.LSTM(1024, 256, bidirectional=True): two directions of [4·256, 1024] and [4·256, 256] with two biases each.
    #[test]
    fn a_recurrent_layer_is_counted_as_in_pytorch() {
        let step = Step::Recurrent { layer: 0, input: 1024, hidden: 256, gates: 4, bidirectional: true };
        assert_eq!(count(&step).parameters, 2 * (1024 * 1024 + 1024 * 256 + 2 * 1024));
    }
}
