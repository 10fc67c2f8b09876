//! The network as a list of fused steps with every shape worked out: the whole intermediate representation.

pub use crate::tensor::Extent;

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
}
