//! norm5·ReLU and attention pooling: F = max(s·x + t, 0), e = w·F + b per head, a = σ(e) or softmax(e) over the positions, pooled = Σ a·F
//! divided by Σ a + 1e-6 (sigmoid), 1 (softmax) or the number of positions (mean). Everything after the slab's own type is float32.

use super::Element;
use super::arguments::{Geometry, Slices, address, arguments, floats, launch, narrow};
use super::gpu::{Result, Span, Stream};

pub use crate::cpu::attention::Weighting;

/// Threads of both kernels; positions of a block of the scores; channels of a block of the sums.
const SCORE_THREADS: u32 = 128;
const SCORE_POSITIONS: usize = 8;
const POOL_THREADS: u32 = 256;
const POOL_CHANNELS: usize = 64;
/// Heads that a block of the sums takes at a time, and positions whose weights it keeps at a time.
const POOL_HEADS: usize = 4;
const POOL_POSITIONS: usize = 512;

/// Shapes of attention pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Positions of the map.
    pub area: usize,
    /// C, the channels of F.
    pub channels: usize,
    /// Channels of the slab, padding included; a multiple of 16.
    pub slab_channels: usize,
    /// Elements from position to position of the slab.
    pub slab_stride: usize,
    /// Heads, 1 to 16; 1 for `Mean`.
    pub heads: usize,
    /// How positions are weighted.
    pub weighting: Weighting,
}

/// What attention pooling reads and writes. `heads`, `bias` and `scores` are not touched for `Mean`.
#[derive(Clone, Copy, Debug)]
pub struct AttentionBuffers<'a> {
    /// Slab of the last block.
    pub slab: Span<'a>,
    /// norm5's scale, from [`AttentionShape::pack_channels`].
    pub scale: Span<'a>,
    /// norm5's shift, likewise.
    pub shift: Span<'a>,
    /// From [`AttentionShape::pack_channels`], one head after the other.
    pub heads: Span<'a>,
    /// f32 \[heads\].
    pub bias: Span<'a>,
    /// From [`AttentionShape::pack_map`].
    pub channel_map: Span<'a>,
    /// Scratch, f32 \[slices, heads, area\].
    pub scores: Span<'a>,
    /// The weights a, f32 \[slices, heads, area\].
    pub maps: Span<'a>,
    /// f32 \[slices, heads · channels\].
    pub pooled: Span<'a>,
}

impl AttentionShape {
    /// Packs one float32 per channel of the slab; `value(p)` is that of physical channel p, none where that is padding.
    pub fn pack_channels(&self, value: impl Fn(usize) -> Option<f64>) -> Vec<u8> {
        floats((0..self.slab_channels).map(|p| value(p).unwrap_or(0.0)))
    }

    /// Packs the logical channel of every physical one.
    pub fn pack_map(&self, logical: impl Fn(usize) -> Option<usize>) -> Vec<u8> {
        (0..self.slab_channels).flat_map(|p| logical(p).map_or(u32::MAX, |c| c as u32).to_le_bytes()).collect()
    }
}

arguments! {
    /// The twin of `AttentionArguments` in `attention.cu`.
    struct AttentionArguments {
        slab: u64,
        scale: u64,
        shift: u64,
        heads: u64,
        bias: u64,
        channel_map: u64,
        scores: u64,
        maps: u64,
        pooled: u64,
        count: u64,
        area: u32,
        channels: u32,
        slab_channels: u32,
        slab_stride: u32,
        head_count: u32,
        weighting: u32,
    }
}

/// Queues attention pooling. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or a launch fails.
pub fn attention(
    stream: &mut dyn Stream,
    element: Element,
    shape: &AttentionShape,
    buffers: &AttentionBuffers<'_>,
    slices: Slices<'_>,
) -> Result<()> {
    let (channels, map) = (4 * shape.slab_channels, 4 * shape.area * shape.heads * slices.capacity);
    let weighted = if shape.weighting == Weighting::Mean { 0 } else { 1 };
    let arguments = AttentionArguments {
        slab: address(buffers.slab, slices.capacity * shape.area * shape.slab_stride * element.bytes(), "attention slab")?,
        scale: address(buffers.scale, channels, "attention scale")?,
        shift: address(buffers.shift, channels, "attention shift")?,
        heads: address(buffers.heads, weighted * shape.heads * channels, "attention heads")?,
        bias: address(buffers.bias, weighted * 4 * shape.heads, "attention bias")?,
        channel_map: address(buffers.channel_map, channels, "attention channel map")?,
        scores: address(buffers.scores, weighted * map, "attention scores")?,
        maps: address(buffers.maps, map, "attention maps")?,
        pooled: address(buffers.pooled, 4 * shape.heads * shape.channels * slices.capacity, "pooled vectors")?,
        count: slices.count()?,
        area: narrow(shape.area, "attention map")?,
        channels: narrow(shape.channels, "attention channels")?,
        slab_channels: narrow(shape.slab_channels, "attention channels")?,
        slab_stride: narrow(shape.slab_stride, "slab stride")?,
        head_count: narrow(shape.heads, "attention heads")?,
        weighting: match shape.weighting {
            Weighting::Mean => 0,
            Weighting::Sigmoid => 1,
            Weighting::Softmax => 2,
        },
    };
    let rows = narrow(slices.capacity, "slices")?;
    if shape.weighting != Weighting::Mean {
        let grid = [narrow(shape.area.div_ceil(SCORE_POSITIONS), "attention map")?, rows, 1];
        let geometry = Geometry { grid, block: SCORE_THREADS, cluster: 1, shared_bytes: 0 };
        let name = element.pick(["attention_scores_f16", "attention_scores_bf16", "attention_scores_f32"]);
        // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
        unsafe { launch(stream, name, geometry, &arguments)? };
    }
    let geometry = Geometry {
        grid: [narrow(shape.slab_channels.div_ceil(POOL_CHANNELS), "attention channels")?, rows, 1],
        block: POOL_THREADS,
        cluster: 1,
        shared_bytes: pool_shared_bytes(),
    };
    let name = element.pick(["attention_pool_f16", "attention_pool_bf16", "attention_pool_f32"]);
    // SAFETY: as above.
    unsafe { launch(stream, name, geometry, &arguments) }
}

/// The weights of some positions, the partial sums of every group of eight channels, and what a block reduces.
fn pool_shared_bytes() -> u32 {
    let floats = POOL_HEADS * POOL_POSITIONS + POOL_HEADS * POOL_CHANNELS * (POOL_THREADS as usize / 32) + POOL_HEADS * 32;
    4 * floats as u32
}
