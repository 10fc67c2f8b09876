//! The tensors of a model, validated against its network and widened to float32; shapes as in the PyTorch state dict, row-major.

mod amend;
mod container;
mod file;
mod names;
mod quant;
mod ranges;
mod synthetic;
mod writer;

pub use amend::{Amendment, amend};
pub use container::{Container, Dtype, TensorView};
pub use file::Model;
pub use quant::RangeTensor;
pub use ranges::{DEVIATIONS, SEEN_DEVIATIONS};
pub use synthetic::synthetic;
pub use writer::{Extras, Storage, model_bytes, write_model};

/// One batch norm, inference mode: y = (x − running_mean) / √(running_var + ε) · weight + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// γ.
    pub weight: Vec<f32>,
    /// β.
    pub bias: Vec<f32>,
    /// μ.
    pub running_mean: Vec<f32>,
    /// σ², not negative.
    pub running_var: Vec<f32>,
}

impl Norm {
    /// The norm as y = scale · x + shift per channel, in float64.
    pub fn scale_shift(&self, eps: f64) -> (Vec<f64>, Vec<f64>) {
        let moments = self.running_mean.iter().zip(&self.running_var);
        let affine = self.weight.iter().zip(&self.bias);
        moments
            .zip(affine)
            .map(|((&mean, &var), (&weight, &bias))| {
                let scale = f64::from(weight) / (f64::from(var) + eps).sqrt();
                (scale, f64::from(bias) - f64::from(mean) * scale)
            })
            .unzip()
    }
}

/// A dense layer.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseLayerWeights {
    /// Over the slab's channels so far.
    pub norm1: Norm,
    /// [mid, in, 1, 1].
    pub conv1: Vec<f32>,
    /// Over mid channels.
    pub norm2: Norm,
    /// [growth, mid, 3, 3].
    pub conv2: Vec<f32>,
}

/// A transition.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitionWeights {
    /// Over the block's channels.
    pub norm: Norm,
    /// [⌊C/2⌋, C, 1, 1].
    pub conv: Vec<f32>,
}

/// A dense block with what follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockWeights {
    /// In order.
    pub layers: Vec<DenseLayerWeights>,
    /// The auxiliary segmentation head on the block's output.
    pub segmentation: Option<SegmentationWeights>,
    /// None after the last block.
    pub transition: Option<TransitionWeights>,
}

/// A segmentation head.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentationWeights {
    /// Over the block's channels.
    pub norm: Norm,
    /// [1, C, 1, 1].
    pub conv: Vec<f32>,
    /// The bias.
    pub bias: f32,
}

/// A linear map, or a 1×1 convolution with bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// [out, in].
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// One direction of one recurrent layer; gate order as in PyTorch (LSTM i, f, g, o; GRU r, z, n).
#[derive(Clone, Debug, PartialEq)]
pub struct RnnCell {
    /// [gates · hidden, input].
    pub weight_ih: Vec<f32>,
    /// [gates · hidden, hidden].
    pub weight_hh: Vec<f32>,
    /// `[gates · hidden]`.
    pub bias_ih: Vec<f32>,
    /// `[gates · hidden]`.
    pub bias_hh: Vec<f32>,
}

/// One recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub struct RnnLayer {
    /// From inferior to superior.
    pub forward: RnnCell,
    /// From superior to inferior.
    pub backward: Option<RnnCell>,
}

/// All tensors of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// [init, channels, 7, 7].
    pub conv0: Vec<f32>,
    /// After conv0.
    pub norm0: Norm,
    /// In order.
    pub blocks: Vec<BlockWeights>,
    /// After the last block.
    pub norm5: Norm,
    /// [heads, C]; none for mean pooling.
    pub attention: Option<Linear>,
    /// In order, empty without recurrence.
    pub rnn: Vec<RnnLayer>,
    /// `[classes, D]`.
    pub classifier: Linear,
}

#[cfg(test)]
mod tests;
