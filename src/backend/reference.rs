//! The oracle: the network of the model format in float64, written as plainly as the format's text and sharing nothing with the fast
//! backends; and the oracle of the same network in 8-bit integers, which shares the integers alone. Every test of theirs ends here. Slow: one slice of DenseNet-121 takes seconds.

mod quantised;
mod session;
mod winograd;

use crate::model::Step;
use crate::tensor::Extent;
use crate::weights::{DenseLayerWeights, Linear, Model, Norm, RnnCell, SegmentationWeights, TransitionWeights};
use std::sync::Arc;

/// A named intermediate result of one slice or one scan, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// `stem`, `block{b}`, `segmentation{b}`, `transition{b}`, `features`, `attention`, `pooled`, `rnn`, `logits`.
    pub name: String,
    /// `[channels, height, width]` for maps, `[length]` for the slice vector, `[slices, length]` for what follows it.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f64>,
}

/// The float64 oracle of one model.
#[derive(Clone, Debug)]
pub struct Reference {
    model: Arc<Model>,
    /// The integers of the oracle of the 8-bit network.
    codes: Option<quantised::NetworkCodes>,
}

impl Reference {
    /// The oracle of `model`.
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, codes: None }
    }

    /// The 2-D network over one slice [channels, height, width]; the last stage is `pooled`.
    ///
    /// # Panics
    /// When the slice is not of the network's size.
    pub fn slice_stages(&self, slice: &[f64]) -> Vec<Stage> {
        let Model { network, weights, .. } = &*self.model;
        let eps = network.bn_eps;
        let mut x = Map { channels: network.channels, extent: network.input, values: slice.to_vec() };
        assert_eq!(x.values.len(), network.channels * network.input.area(), "a slice of the network's size");
        if let Some(codes) = &self.codes {
            return self.quantised_stages(x, codes);
        }
        let mut stages = Vec::new();
        for (i, step) in network.steps.iter().enumerate() {
            match *step {
                Step::Stem { out_channels, .. } => {
                    x = max_pool(&norm_relu(&conv(&x, &weights.conv0, out_channels, (7, 2, 3)), &weights.norm0, eps));
                    stages.push(x.stage("stem".to_owned()));
                }
                Step::DenseLayer { block, layer, growth, mid_channels, .. } => {
                    let DenseLayerWeights { norm1, conv1, norm2, conv2 } = &weights.blocks[block - 1].layers[layer - 1];
                    let mid = conv(&norm_relu(&x, norm1, eps), conv1, mid_channels, (1, 1, 0));
                    let new = conv(&norm_relu(&mid, norm2, eps), conv2, growth, (3, 1, 1));
                    x.channels += growth;
                    x.values.extend(new.values);
                    if !matches!(network.steps[i + 1], Step::DenseLayer { .. }) {
                        stages.push(x.stage(format!("block{block}")));
                    }
                }
                Step::Segmentation { block, .. } => {
                    let head = weights.blocks[block - 1].segmentation.as_ref().expect("validated");
                    stages.push(segmentation(&x, head, eps, network.input).stage(format!("segmentation{block}")));
                }
                Step::Transition { block, out_channels, .. } => {
                    let TransitionWeights { norm, conv: weight } = weights.blocks[block - 1].transition.as_ref().expect("validated");
                    x = average_pool(&conv(&norm_relu(&x, norm, eps), weight, out_channels, (1, 1, 0)));
                    stages.push(x.stage(format!("transition{block}")));
                }
                Step::AttentionPool { softmax, .. } => {
                    x = norm_relu(&x, &weights.norm5, eps);
                    stages.push(x.stage("features".to_owned()));
                    attention_pool(&x, weights.attention.as_ref(), softmax, &mut stages);
                }
                Step::Recurrent { .. } | Step::Classifier { .. } => {}
            }
        }
        stages
    }

    /// Recurrence and classifier over the slice vectors [slices, slice_vector] of a scan; the last stage is `logits`.
    pub fn scan_stages(&self, pooled: &[f64]) -> Vec<Stage> {
        let Model { network, weights, .. } = &*self.model;
        let slices = pooled.len() / network.slice_vector;
        let mut y: Vec<Vec<f64>> = pooled.chunks_exact(network.slice_vector).map(<[f64]>::to_vec).collect();
        let mut stages = Vec::new();
        for step in &network.steps {
            let &Step::Recurrent { layer, hidden, gates, .. } = step else { continue };
            let order: Vec<usize> = (0..slices).collect();
            let mut next = recur(&weights.rnn[layer].forward, &y, &order, hidden, gates);
            if let Some(cell) = &weights.rnn[layer].backward {
                let order: Vec<usize> = (0..slices).rev().collect();
                let backward = recur(cell, &y, &order, hidden, gates);
                next.iter_mut().zip(backward).for_each(|(forward, backward)| forward.extend(backward));
            }
            y = next;
        }
        if !weights.rnn.is_empty() {
            stages.push(Stage { name: "rnn".to_owned(), shape: vec![slices, y[0].len()], values: y.concat() });
        }
        let z: Vec<f64> = y.iter().flat_map(|y| affine(&weights.classifier.weight, &weights.classifier.bias, y)).collect();
        stages.push(Stage { name: "logits".to_owned(), shape: vec![slices, network.classes], values: z });
        stages
    }
}

/// Channels of a map, each row-major.
struct Map {
    channels: usize,
    extent: Extent,
    values: Vec<f64>,
}

impl Map {
    fn zeros(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, extent: Extent { height, width }, values: vec![0.0; channels * height * width] }
    }

    fn channel(&self, c: usize) -> &[f64] {
        &self.values[c * self.extent.area()..][..self.extent.area()]
    }

    fn stage(&self, name: String) -> Stage {
        Stage { name, shape: vec![self.channels, self.extent.height, self.extent.width], values: self.values.clone() }
    }
}

/// Convolution without bias; `(kernel, stride, padding)` are square.
fn conv(x: &Map, weight: &[f32], out: usize, (kernel, stride, padding): (usize, usize, usize)) -> Map {
    let Extent { height, width } = x.extent;
    let side = |n: usize| (n + 2 * padding - kernel) / stride + 1;
    let mut y = Map::zeros(out, side(height), side(width));
    let Extent { height: rows, width: cols } = y.extent;
    for (o, plane) in y.values.chunks_exact_mut(rows * cols).enumerate() {
        for c in 0..x.channels {
            let source = x.channel(c);
            for (ky, kx) in (0..kernel * kernel).map(|k| (k / kernel, k % kernel)) {
                let w = f64::from(weight[((o * x.channels + c) * kernel + ky) * kernel + kx]);
                for row in 0..rows {
                    let Some(sy) = (row * stride + ky).checked_sub(padding).filter(|sy| *sy < height) else { continue };
                    // Columns whose tap lies inside the map; the others see padding, which is zero.
                    let first = padding.saturating_sub(kx).div_ceil(stride);
                    let taps = source[sy * width..][..width].iter().skip(first * stride + kx - padding).step_by(stride);
                    plane[row * cols..][..cols].iter_mut().skip(first).zip(taps).for_each(|(sum, x)| *sum += w * x);
                }
            }
        }
    }
    y
}

fn norm_relu(x: &Map, norm: &Norm, eps: f64) -> Map {
    let mut y = Map::zeros(x.channels, x.extent.height, x.extent.width);
    for (c, out) in y.values.chunks_exact_mut(x.extent.area()).enumerate() {
        let [weight, bias, mean, var] = [&norm.weight, &norm.bias, &norm.running_mean, &norm.running_var].map(|v| f64::from(v[c]));
        for (y, x) in out.iter_mut().zip(x.channel(c)) {
            *y = ((x - mean) / (var + eps).sqrt() * weight + bias).max(0.0);
        }
    }
    y
}

/// 3×3, stride 2, padding 1 with minus infinity.
fn max_pool(x: &Map) -> Map {
    let Extent { height, width } = x.extent;
    pooled(x, height.div_ceil(2), width.div_ceil(2), |channel, row, col| {
        let (rows, cols) = ((2 * row).saturating_sub(1)..(2 * row + 2).min(height), (2 * col).saturating_sub(1)..(2 * col + 2).min(width));
        rows.flat_map(|r| &channel[r * width..][cols.clone()]).copied().fold(f64::NEG_INFINITY, f64::max)
    })
}

/// 2×2, stride 2; an odd last row or column is left out.
fn average_pool(x: &Map) -> Map {
    let Extent { height, width } = x.extent;
    pooled(x, height / 2, width / 2, |channel, row, col| {
        let at = |r, c| channel[(2 * row + r) * width + 2 * col + c];
        (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0
    })
}

fn pooled(x: &Map, height: usize, width: usize, pool: impl Fn(&[f64], usize, usize) -> f64) -> Map {
    let values = (0..x.channels).flat_map(|c| (0..height * width).map(move |i| (c, i / width, i % width)));
    let values = values.map(|(c, row, col)| pool(x.channel(c), row, col)).collect();
    Map { channels: x.channels, extent: Extent { height, width }, values }
}

/// One logit per position, interpolated bilinearly between pixel centres to `size`, sigmoid.
fn segmentation(x: &Map, head: &SegmentationWeights, eps: f64, size: Extent) -> Map {
    let logits = conv(&norm_relu(x, &head.norm, eps), &head.conv, 1, (1, 1, 0));
    let Extent { height, width } = logits.extent;
    let taps = |i: usize, from: usize, to: usize| {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let low = (at as usize).min(from - 1);
        (low, (low + 1).min(from - 1), at - low as f64)
    };
    pooled(&Map { channels: 1, ..logits }, size.height, size.width, |e, row, col| {
        let ((y0, y1, fy), (x0, x1, fx)) = (taps(row, height, size.height), taps(col, width, size.width));
        let line = |y: usize| (1.0 - fx) * e[y * width + x0] + fx * e[y * width + x1];
        sigmoid((1.0 - fy) * line(y0) + fy * line(y1) + f64::from(head.bias))
    })
}

/// Pushes `attention` (unless it is the plain mean) and `pooled`.
fn attention_pool(x: &Map, attention: Option<&Linear>, softmax: bool, stages: &mut Vec<Stage>) {
    let weighted = |a: &[f64]| -> Vec<f64> { (0..x.channels).map(|c| dot(a, x.channel(c))).collect() };
    let area = x.extent.area();
    let mut v = Vec::new();
    if let Some(Linear { weight, bias }) = attention {
        let mut maps = conv(x, weight, bias.len(), (1, 1, 0));
        for (e, bias) in maps.values.chunks_exact_mut(area).zip(bias) {
            e.iter_mut().for_each(|e| *e += f64::from(*bias));
            let largest = e.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            e.iter_mut().for_each(|e| *e = if softmax { (*e - largest).exp() } else { sigmoid(*e) });
            let sum: f64 = e.iter().sum();
            if softmax {
                e.iter_mut().for_each(|a| *a /= sum);
                v.extend(weighted(e));
            } else {
                v.extend(weighted(e).iter().map(|pooled| pooled / (sum + 1e-6)));
            }
        }
        stages.push(maps.stage("attention".to_owned()));
    } else {
        v = weighted(&vec![1.0 / area as f64; area]);
    }
    stages.push(Stage { name: "pooled".to_owned(), shape: vec![v.len()], values: v });
}

/// One direction of `torch.nn.LSTM` (gates i, f, g, o) or `torch.nn.GRU` (r, z, n): the hidden state at every slice.
fn recur(cell: &RnnCell, x: &[Vec<f64>], order: &[usize], hidden: usize, gates: usize) -> Vec<Vec<f64>> {
    let mut outputs = vec![Vec::new(); x.len()];
    let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
    for &t in order {
        let from_input = affine(&cell.weight_ih, &cell.bias_ih, &x[t]);
        let from_state = affine(&cell.weight_hh, &cell.bias_hh, &h);
        for j in 0..hidden {
            let gate = |g: usize| (from_input[g * hidden + j], from_state[g * hidden + j]);
            let sum = |g: usize| gate(g).0 + gate(g).1;
            if gates == 4 {
                c[j] = sigmoid(sum(1)) * c[j] + sigmoid(sum(0)) * sum(2).tanh();
                h[j] = sigmoid(sum(3)) * c[j].tanh();
            } else {
                let (update, new) = (sigmoid(sum(1)), (gate(2).0 + sigmoid(sum(0)) * gate(2).1).tanh());
                h[j] = (1.0 - update) * new + update * h[j];
            }
        }
        outputs[t].clone_from(&h);
    }
    outputs
}

fn affine(weight: &[f32], bias: &[f32], x: &[f64]) -> Vec<f64> {
    let row = |w: &[f32]| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
    weight.chunks_exact(x.len()).zip(bias).map(|(w, b)| row(w) + f64::from(*b)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
