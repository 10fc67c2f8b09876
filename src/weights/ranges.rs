//! Ranges without a scan: a norm's running mean and variance are the statistics of the channel that it reads.

use super::{BlockWeights, DenseLayerWeights, Norm, Weights};
use crate::model::quantisation::{BlockRanges, Quantisation, Range, block_shapes};
use crate::model::{Network, Step};

/// Standard deviations on either side of the mean that a range of [`Quantisation::from_norms`] reaches.
pub const DEVIATIONS: f64 = 12.0;

/// Standard deviations that a range of [`Quantisation::from_bounds`] reaches at the least: a few scans do not show how far others go.
pub const SEEN_DEVIATIONS: f64 = 4.0;

/// Bounds beyond this leave no room for the arithmetic with them in float32.
const LARGEST: f64 = f32::MAX as f64 / 4.0;

impl Quantisation {
    /// Ranges from the norms alone, for weights that were validated against `network`.
    ///
    /// A slab's channel reaches from the mean minus to the mean plus [`DEVIATIONS`] standard deviations, over all norms that read it. What
    /// every reader's ReLU makes zero needs no codes: where all scales are positive, the range begins at the lowest value that any of them
    /// lets through, and where all are negative it ends at the highest. The stem's outputs are never negative. A mid channel reaches to
    /// β + [`DEVIATIONS`] · |γ| of its norm2.
    pub fn from_norms(network: &Network, weights: &Weights) -> Self {
        let mid = |weights: &BlockWeights| weights.layers.iter().map(|layer| upper_bounds(&layer.norm2, DEVIATIONS)).collect();
        let blocks = readings(network, weights, DEVIATIONS).into_iter().zip(&weights.blocks);
        Self { blocks: blocks.map(|(channels, weights)| BlockRanges { channels: ranges(channels), mid: mid(weights) }).collect() }
    }

    /// Ranges from what activations were seen to reach: to `margin` of that distance beyond, and at the least as far as
    /// [`SEEN_DEVIATIONS`]; as in [`Quantisation::from_norms`] without what every reader's ReLU makes zero. `bounds` are those of `network`.
    pub fn from_bounds(network: &Network, weights: &Weights, bounds: &Self, margin: f64) -> Self {
        let blocks = readings(network, weights, SEEN_DEVIATIONS).into_iter().zip(&bounds.blocks).zip(&weights.blocks);
        let blocks = blocks.map(|((mut channels, seen), weights)| {
            for (channel, seen) in channels.iter_mut().zip(&seen.channels) {
                let (low, high) = (f64::from(seen.low), f64::from(seen.high));
                let beyond = margin * (high - low);
                (channel.low, channel.high) = (channel.low.min(low - beyond), channel.high.max(high + beyond));
            }
            let mid = |(highs, layer): (&Vec<f32>, &DenseLayerWeights)| {
                let seen = highs.iter().map(|high| (f64::from(*high) * (1.0 + margin)).clamp(0.0, LARGEST) as f32);
                seen.zip(upper_bounds(&layer.norm2, SEEN_DEVIATIONS)).map(|(seen, least)| seen.max(least)).collect()
            };
            BlockRanges { channels: ranges(channels), mid: seen.mid.iter().zip(&weights.layers).map(mid).collect() }
        });
        Self { blocks: blocks.collect() }
    }
}

fn ranges(channels: Vec<Channel>) -> Vec<Range> {
    channels.into_iter().map(Channel::range).collect()
}

/// What the norms say of every channel of every block's slab.
fn readings(network: &Network, weights: &Weights, deviations: f64) -> Vec<Vec<Channel>> {
    let mut blocks: Vec<Vec<Channel>> = block_shapes(network).iter().map(|shape| vec![Channel::UNREAD; shape.channels]).collect();
    let eps = network.bn_eps;
    for step in &network.steps {
        let (block, norm) = match *step {
            Step::Stem { out_channels, .. } => {
                blocks[0].iter_mut().take(out_channels).for_each(|channel| channel.floor = 0.0);
                continue;
            }
            Step::DenseLayer { block, layer, .. } => (block, Some(&weights.blocks[block - 1].layers[layer - 1].norm1)),
            Step::Segmentation { block, .. } => (block, weights.blocks[block - 1].segmentation.as_ref().map(|head| &head.norm)),
            Step::Transition { block, .. } => (block, weights.blocks[block - 1].transition.as_ref().map(|t| &t.norm)),
            Step::AttentionPool { .. } => (blocks.len(), Some(&weights.norm5)),
            _ => continue,
        };
        if let Some(norm) = norm {
            let (scale, shift) = norm.scale_shift(eps);
            for (c, channel) in blocks[block - 1].iter_mut().take(scale.len()).enumerate() {
                let (mean, reach) = (f64::from(norm.running_mean[c]), deviations * (f64::from(norm.running_var[c]) + eps).sqrt());
                channel.read([mean - reach, mean + reach], (scale[c], shift[c]));
            }
        }
    }
    blocks
}

/// What the norms that read a channel say of it.
#[derive(Clone, Copy)]
struct Channel {
    low: f64,
    high: f64,
    /// The lowest and the highest zero of a reader.
    zeros: (f64, f64),
    /// Whether a reader has a positive, and whether one has a negative scale.
    signs: (bool, bool),
    /// No value is lower.
    floor: f64,
}

impl Channel {
    const UNREAD: Self = Self {
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
        zeros: (f64::INFINITY, f64::NEG_INFINITY),
        signs: (false, false),
        floor: f64::NEG_INFINITY,
    };

    fn read(&mut self, [low, high]: [f64; 2], (scale, shift): (f64, f64)) {
        self.low = self.low.min(low);
        self.high = self.high.max(high);
        // A reader with scale 0 sees a constant.
        if scale != 0.0 {
            let zero = -shift / scale;
            self.zeros = (self.zeros.0.min(zero), self.zeros.1.max(zero));
            self.signs = (self.signs.0 || scale > 0.0, self.signs.1 || scale < 0.0);
        }
    }

    fn range(self) -> Range {
        let (mut low, mut high) = (self.low.max(self.floor), self.high.max(self.floor));
        match self.signs {
            (true, false) => low = low.max(self.zeros.0).min(high),
            (false, true) => high = high.min(self.zeros.1).max(low),
            (true, true) => {}
            // Nobody looks.
            (false, false) => high = low,
        }
        let float = |v: f64| if v.is_nan() { 0.0 } else { v.clamp(-LARGEST, LARGEST) as f32 };
        Range { low: float(low), high: float(high) }
    }
}

fn upper_bounds(norm2: &Norm, deviations: f64) -> Vec<f32> {
    let bound = |(beta, gamma): (&f32, &f32)| (f64::from(*beta) + deviations * f64::from(gamma.abs())).clamp(0.0, LARGEST) as f32;
    norm2.bias.iter().zip(&norm2.weight).map(bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::weights::synthetic;

    /// One block of one layer: norm1 and norm5 read the stem's channels, norm5 alone the layer's.
    fn model(change: impl FnOnce(&mut Weights)) -> Quantisation {
        let mut config = Config::densenet(&[1]);
        config.segmentation.clear();
        let mut model = synthetic(&config, 1).unwrap();
        change(&mut model.weights);
        let ranges = Quantisation::from_norms(&model.network, &model.weights);
        ranges.check(&model.network).unwrap();
        ranges
    }

    fn set(norm: &mut Norm, c: usize, [weight, bias, mean, var]: [f32; 4]) {
        (norm.weight[c], norm.bias[c], norm.running_mean[c], norm.running_var[c]) = (weight, bias, mean, var);
    }

    fn close(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() <= 1e-3 * b.abs().max(1.0)
    }

    #[test]
    fn a_range_spans_all_its_readers() {
        let k = DEVIATIONS;
        let q = model(|w| {
            set(&mut w.norm5, 64, [1.0, 100.0, 0.5, 4.0]);
            // Readers of both signs hide nothing; the stem cannot be negative.
            set(&mut w.blocks[0].layers[0].norm1, 0, [1.0, 0.0, 3.0, 1.0]);
            set(&mut w.norm5, 0, [-1.0, 0.0, 5.0, 4.0]);
        });
        let [layer, stem] = [64, 0].map(|c| q.blocks[0].channels[c]);
        assert!(close(layer.low, 0.5 - 2.0 * k) && close(layer.high, 0.5 + 2.0 * k), "{layer:?}");
        assert!(stem.low == 0.0 && close(stem.high, 5.0 + 2.0 * k), "{stem:?}");
    }

    /// relu(scale · x + shift) is zero on one side of −shift / scale.
    #[test]
    fn what_no_reader_sees_has_no_codes() {
        let k = DEVIATIONS;
        let q = model(|w| {
            set(&mut w.norm5, 64, [2.0, 1.0, 0.5, 4.0]);
            set(&mut w.norm5, 65, [-2.0, 1.0, 0.5, 4.0]);
            set(&mut w.norm5, 66, [1.0, -100.0, 0.0, 1.0]);
            set(&mut w.norm5, 67, [0.0, 1.0, 0.5, 4.0]);
        });
        let [positive, negative, dead, constant] = [64, 65, 66, 67].map(|c| q.blocks[0].channels[c]);
        assert!(close(positive.low, -0.5) && close(positive.high, 0.5 + 2.0 * k), "{positive:?}");
        assert!(close(negative.low, 0.5 - 2.0 * k) && close(negative.high, 1.5), "{negative:?}");
        assert!(dead.low == dead.high && close(dead.high, k), "{dead:?}");
        assert_eq!(constant.low, constant.high);
    }

    #[test]
    fn a_mid_channel_reaches_as_far_as_its_norm() {
        let k = DEVIATIONS;
        let q = model(|w| {
            let norm2 = &mut w.blocks[0].layers[0].norm2;
            set(norm2, 0, [-0.5, 0.25, 9.0, 9.0]);
            set(norm2, 1, [0.5, -0.5 * k as f32 - 1.0, 0.0, 1.0]);
        });
        assert!(close(q.blocks[0].mid[0][0], 0.25 + 0.5 * k));
        assert_eq!(q.blocks[0].mid[0][1], 0.0);
    }

    /// A tenth beyond what was seen, as far as the norms say at the least, and nothing below zero from the stem or below what the reader lets through.
    #[test]
    fn seen_bounds_make_ranges() {
        let mut config = Config::densenet(&[1]);
        config.segmentation.clear();
        let mut model = synthetic(&config, 1).unwrap();
        set(&mut model.weights.norm5, 64, [2.0, 1.0, 0.5, 4.0]);
        set(&mut model.weights.norm5, 65, [-2.0, 1.0, 0.5, 4.0]);
        set(&mut model.weights.norm5, 66, [2.0, 1.0, 0.5, 100.0]);
        set(&mut model.weights.blocks[0].layers[0].norm2, 7, [0.125, 0.0, 0.0, 1.0]);
        set(&mut model.weights.blocks[0].layers[0].norm2, 8, [2.0, 0.0, 0.0, 1.0]);
        set(&mut model.weights.norm5, 0, [-1.0, 0.0, 0.0, 4.0]);
        set(&mut model.weights.blocks[0].layers[0].norm1, 0, [1.0, 0.0, 3.0, 1.0]);
        let seen = Range { low: -10.0, high: 30.0 };
        let bounds = Quantisation { blocks: vec![BlockRanges { channels: vec![seen; 96], mid: vec![vec![2.0; 128]] }] };
        let ranges = Quantisation::from_bounds(&model.network, &model.weights, &bounds, 0.1);
        ranges.check(&model.network).unwrap();
        let [positive, negative, wide, stem] = [64, 65, 66, 0].map(|c| ranges.blocks[0].channels[c]);
        assert!(close(positive.low, -0.5) && close(positive.high, 34.0), "{positive:?}");
        assert!(close(negative.low, -14.0) && close(negative.high, 1.5), "{negative:?}");
        assert!(close(wide.high, 0.5 + 10.0 * SEEN_DEVIATIONS), "{wide:?}");
        assert!(stem.low == 0.0 && close(stem.high, 34.0), "{stem:?}");
        assert!(close(ranges.blocks[0].mid[0][7], 2.2) && close(ranges.blocks[0].mid[0][8], 2.0 * SEEN_DEVIATIONS));
    }

    /// Tensors at the edge of float32 make ranges that are sound.
    #[test]
    fn huge_statistics_stay_finite() {
        let q = model(|w| {
            set(&mut w.norm5, 64, [1.0, 0.0, f32::MAX, f32::MAX]);
            set(&mut w.norm5, 65, [1.0, 0.0, -f32::MAX, f32::MAX]);
            w.blocks[0].layers[0].norm2.weight[0] = f32::MIN;
        });
        assert!(q.blocks[0].mid[0][0].is_finite());
    }
}
