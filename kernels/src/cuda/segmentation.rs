//! A segmentation head: norm·ReLU·1×1 + bias to one logit per position, bilinear upsampling to the network's input (half-pixel centres,
//! clamped at the border), sigmoid. Everything after the slab's own type is float32.

use super::Element;
use super::arguments::{Geometry, Slices, address, arguments, floats, launch, narrow};
use super::gpu::{Result, Span, Stream};

const LOGIT_THREADS: u32 = 128;
const LOGIT_POSITIONS: usize = 16;
const UPSAMPLE_THREADS: u32 = 128;
/// Output pixels of a thread.
const UPSAMPLE_PIXELS: usize = 4;
/// Bytes of an entry of a tap table: two source positions and their weights.
const TAP_BYTES: usize = 16;

/// Shapes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentationShape {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Channels of the slab, padding included; a multiple of 16.
    pub slab_channels: usize,
    /// Elements from position to position of the slab.
    pub slab_stride: usize,
    /// Rows of the network's input.
    pub rows: usize,
    /// Columns of the network's input.
    pub columns: usize,
    /// Heads of the network.
    pub heads: usize,
    /// Which of them this is.
    pub head: usize,
}

/// What a head reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct SegmentationBuffers<'a> {
    /// Slab of the block.
    pub slab: Span<'a>,
    /// The norm's scale, from [`SegmentationShape::pack_channels`].
    pub scale: Span<'a>,
    /// The norm's shift, likewise.
    pub shift: Span<'a>,
    /// The 1×1 convolution, likewise.
    pub weights: Span<'a>,
    /// From [`SegmentationShape::pack_taps`].
    pub taps: Span<'a>,
    /// Scratch, f32 \[slices, height · width\].
    pub logits: Span<'a>,
    /// f32 \[slices, heads, rows, columns\].
    pub probabilities: Span<'a>,
}

impl SegmentationShape {
    /// Packs one float32 per channel of the slab; `value(p)` is that of physical channel p, none where that is padding.
    pub fn pack_channels(&self, value: impl Fn(usize) -> Option<f64>) -> Vec<u8> {
        floats((0..self.slab_channels).map(|p| value(p).unwrap_or(0.0)))
    }

    /// The taps of every output row, then those of every output column.
    pub fn pack_taps(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TAP_BYTES * (self.rows + self.columns));
        for (from, to) in [(self.height, self.rows), (self.width, self.columns)] {
            for index in 0..to {
                let at = ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
                let low = (at as usize).min(from - 1);
                let fraction = at - low as f64;
                for position in [low, (low + 1).min(from - 1)] {
                    bytes.extend_from_slice(&(position as u32).to_le_bytes());
                }
                Element::F32.encode([1.0 - fraction, fraction], &mut bytes);
            }
        }
        bytes
    }
}

arguments! {
    /// The twin of `SegmentationArguments` in `segmentation.cu`.
    struct SegmentationArguments {
        slab: u64,
        scale: u64,
        shift: u64,
        weights: u64,
        taps: u64,
        logits: u64,
        probabilities: u64,
        count: u64,
        height: u32,
        width: u32,
        slab_channels: u32,
        slab_stride: u32,
        rows: u32,
        columns: u32,
        heads: u32,
        head: u32,
        bias: f32,
        reserved: u32,
    }
}

/// Queues a head with its bias. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or a launch fails.
pub fn segmentation(
    stream: &mut dyn Stream,
    element: Element,
    shape: &SegmentationShape,
    bias: f32,
    buffers: &SegmentationBuffers<'_>,
    slices: Slices<'_>,
) -> Result<()> {
    let (channels, area) = (4 * shape.slab_channels, shape.height * shape.width);
    let pixels = shape.rows * shape.columns;
    let arguments = SegmentationArguments {
        slab: address(buffers.slab, slices.capacity * area * shape.slab_stride * element.bytes(), "segmentation slab")?,
        scale: address(buffers.scale, channels, "segmentation scale")?,
        shift: address(buffers.shift, channels, "segmentation shift")?,
        weights: address(buffers.weights, channels, "segmentation weights")?,
        taps: address(buffers.taps, TAP_BYTES * (shape.rows + shape.columns), "segmentation taps")?,
        logits: address(buffers.logits, 4 * area * slices.capacity, "segmentation logits")?,
        probabilities: address(buffers.probabilities, 4 * pixels * shape.heads * slices.capacity, "segmentation maps")?,
        count: slices.count()?,
        height: narrow(shape.height, "segmentation map")?,
        width: narrow(shape.width, "segmentation map")?,
        slab_channels: narrow(shape.slab_channels, "segmentation channels")?,
        slab_stride: narrow(shape.slab_stride, "slab stride")?,
        rows: narrow(shape.rows, "segmentation rows")?,
        columns: narrow(shape.columns, "segmentation columns")?,
        heads: narrow(shape.heads, "segmentation heads")?,
        head: narrow(shape.head.min(shape.heads.saturating_sub(1)), "segmentation heads")?,
        bias,
        reserved: 0,
    };
    let capacity = narrow(slices.capacity, "slices")?;
    let logits = element.pick(["segmentation_logits_f16", "segmentation_logits_bf16", "segmentation_logits_f32"]);
    let launches = [
        (logits, area.div_ceil(LOGIT_POSITIONS), LOGIT_THREADS),
        ("segmentation_upsample", pixels.div_ceil(UPSAMPLE_THREADS as usize * UPSAMPLE_PIXELS), UPSAMPLE_THREADS),
    ];
    for (name, blocks, block) in launches {
        let geometry = Geometry { grid: [narrow(blocks, "segmentation map")?, capacity, 1], block, cluster: 1, shared_bytes: 0 };
        // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
        unsafe { launch(stream, name, geometry, &arguments)? };
    }
    Ok(())
}
