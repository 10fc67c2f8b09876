//! Which tensors a network has: their names and shapes (spec: model, "Arithmetic"), said once for reading, writing and generating.

use super::{BlockWeights, DenseLayerWeights, Linear, Norm, RnnCell, RnnLayer, SegmentationWeights, TransitionWeights, Weights};
use crate::model::{Network, Step};
use crate::{Error, ErrorKind, Result};

/// Where tensors come from: a file, or a generator.
pub(super) trait TensorSource {
    /// The tensor of this name, row-major, exactly the product of `shape` elements.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

/// A tensor of a model.
pub(super) struct Named<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: &'a [f32],
}

impl Weights {
    /// Takes every tensor of `network` from `source`, in the order of execution.
    pub(super) fn collect(network: &Network, source: &mut dyn TensorSource) -> Result<Self> {
        let mut weights = Self::empty();
        for step in &network.steps {
            match *step {
                Step::Stem { in_channels, out_channels, .. } => {
                    weights.conv0 = source.tensor("features.conv0.weight", &[out_channels, in_channels, 7, 7])?;
                    weights.norm0 = norm("features.norm0", out_channels, source)?;
                }
                Step::DenseLayer { block, layer, .. } => {
                    if layer == 1 {
                        weights.blocks.push(BlockWeights { layers: Vec::new(), segmentation: None, transition: None });
                    }
                    weights.blocks[block - 1].layers.push(dense_layer(step, source)?);
                }
                Step::Segmentation { block, channels, .. } => {
                    weights.blocks[block - 1].segmentation = Some(segmentation(block, channels, source)?);
                }
                Step::Transition { block, in_channels, out_channels, .. } => {
                    let name = format!("features.transition{block}");
                    let norm = norm(&format!("{name}.norm"), in_channels, source)?;
                    let conv = source.tensor(&format!("{name}.conv.weight"), &[out_channels, in_channels, 1, 1])?;
                    weights.blocks[block - 1].transition = Some(TransitionWeights { norm, conv });
                }
                Step::AttentionPool { channels, heads, .. } => {
                    weights.norm5 = norm("features.norm5", channels, source)?;
                    if heads > 0 {
                        weights.attention = Some(linear("attention", &[heads, channels, 1, 1], source)?);
                    }
                }
                Step::Recurrent { .. } => weights.rnn.push(rnn_layer(step, source)?),
                Step::Classifier { input, classes } => weights.classifier = linear("classifier", &[classes, input], source)?,
            }
        }
        Ok(weights)
    }

    /// Name and shape of every tensor of `network`, in the order of [`Weights::collect`].
    pub(super) fn wanted(network: &Network) -> Result<Vec<(String, Vec<usize>)>> {
        let mut recorder = Recorder(Vec::new());
        Self::collect(network, &mut recorder)?;
        Ok(recorder.0)
    }

    /// Every tensor with its name and shape, in the order of [`Weights::collect`].
    ///
    /// # Errors
    /// `bad_model` when these are not the tensors of `network`.
    pub(super) fn named(&self, network: &Network) -> Result<Vec<Named<'_>>> {
        let (wanted, slices) = (Self::wanted(network)?, self.slices());
        if slices.len() != wanted.len() {
            return Err(bad(format!("there are {} tensors; the network has {}", slices.len(), wanted.len())));
        }
        wanted
            .into_iter()
            .zip(slices)
            .map(|((name, shape), values)| match shape.iter().product::<usize>() == values.len() {
                true => Ok(Named { name, shape, values }),
                false => Err(bad(format!("tensor `{name}` of shape {shape:?} has {} elements", values.len()))),
            })
            .collect()
    }

    /// The elements of every tensor, in the order of [`Weights::collect`].
    fn slices(&self) -> Vec<&[f32]> {
        let mut out = vec![&self.conv0[..]];
        out.extend(self.norm0.slices());
        for block in &self.blocks {
            for DenseLayerWeights { norm1, conv1, norm2, conv2 } in &block.layers {
                out.extend(norm1.slices());
                out.push(conv1);
                out.extend(norm2.slices());
                out.push(conv2);
            }
            if let Some(SegmentationWeights { norm, conv, bias }) = &block.segmentation {
                out.extend(norm.slices());
                out.push(conv);
                out.push(std::slice::from_ref(bias));
            }
            if let Some(TransitionWeights { norm, conv }) = &block.transition {
                out.extend(norm.slices());
                out.push(conv);
            }
        }
        out.extend(self.norm5.slices());
        if let Some(Linear { weight, bias }) = &self.attention {
            out.extend([&weight[..], bias]);
        }
        for RnnLayer { forward, backward } in &self.rnn {
            for RnnCell { weight_ih, weight_hh, bias_ih, bias_hh } in std::iter::once(forward).chain(backward) {
                out.extend([&weight_ih[..], weight_hh, bias_ih, bias_hh]);
            }
        }
        out.extend([&self.classifier.weight[..], &self.classifier.bias]);
        out
    }

    fn empty() -> Self {
        let norm = || Norm { weight: Vec::new(), bias: Vec::new(), running_mean: Vec::new(), running_var: Vec::new() };
        let classifier = Linear { weight: Vec::new(), bias: Vec::new() };
        Self { conv0: Vec::new(), norm0: norm(), blocks: Vec::new(), norm5: norm(), attention: None, rnn: Vec::new(), classifier }
    }
}

impl Norm {
    fn slices(&self) -> [&[f32]; 4] {
        [&self.weight, &self.bias, &self.running_mean, &self.running_var]
    }
}

/// Notes what is asked for; what it answers is never used.
struct Recorder(Vec<(String, Vec<usize>)>);

impl TensorSource for Recorder {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.0.push((name.to_owned(), shape.to_vec()));
        Ok(vec![0.0])
    }
}

fn norm(name: &str, channels: usize, source: &mut dyn TensorSource) -> Result<Norm> {
    let mut part = |part: &str| source.tensor(&format!("{name}.{part}"), &[channels]);
    Ok(Norm { weight: part("weight")?, bias: part("bias")?, running_mean: part("running_mean")?, running_var: part("running_var")? })
}

/// A weight whose first axis is the output, with a bias of that length.
fn linear(name: &str, shape: &[usize], source: &mut dyn TensorSource) -> Result<Linear> {
    let weight = source.tensor(&format!("{name}.weight"), shape)?;
    Ok(Linear { weight, bias: source.tensor(&format!("{name}.bias"), &shape[..1])? })
}

fn dense_layer(step: &Step, source: &mut dyn TensorSource) -> Result<DenseLayerWeights> {
    let &Step::DenseLayer { block, layer, in_channels, mid_channels, growth, .. } = step else { unreachable!("matched by the caller") };
    let name = format!("features.denseblock{block}.denselayer{layer}");
    Ok(DenseLayerWeights {
        norm1: norm(&format!("{name}.norm1"), in_channels, source)?,
        conv1: source.tensor(&format!("{name}.conv1.weight"), &[mid_channels, in_channels, 1, 1])?,
        norm2: norm(&format!("{name}.norm2"), mid_channels, source)?,
        conv2: source.tensor(&format!("{name}.conv2.weight"), &[growth, mid_channels, 3, 3])?,
    })
}

fn segmentation(block: usize, channels: usize, source: &mut dyn TensorSource) -> Result<SegmentationWeights> {
    let name = format!("segmentation.{block}");
    let norm = norm(&format!("{name}.norm"), channels, source)?;
    let Linear { weight, bias } = linear(&format!("{name}.conv"), &[1, channels, 1, 1], source)?;
    Ok(SegmentationWeights { norm, conv: weight, bias: bias[0] })
}

fn rnn_layer(step: &Step, source: &mut dyn TensorSource) -> Result<RnnLayer> {
    let &Step::Recurrent { layer, input, hidden, gates, bidirectional } = step else { unreachable!("matched by the caller") };
    let rows = gates * hidden;
    let mut cell = |suffix: &str| -> Result<RnnCell> {
        let mut part = |part: &str, shape: &[usize]| source.tensor(&format!("rnn.{part}_l{layer}{suffix}"), shape);
        Ok(RnnCell {
            weight_ih: part("weight_ih", &[rows, input])?,
            weight_hh: part("weight_hh", &[rows, hidden])?,
            bias_ih: part("bias_ih", &[rows])?,
            bias_hh: part("bias_hh", &[rows])?,
        })
    };
    Ok(RnnLayer { forward: cell("")?, backward: if bidirectional { Some(cell("_reverse")?) } else { None } })
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
