//! A transition on a device: norm·ReLU, average pool 2×2/2, 1×1, from one block's slab to the first channels of the next.
//!
//! The pool commutes with the convolution and goes first. Norm, ReLU and pool are float32; the pooled value is rounded to the element once.
//! Layouts: norm float32 `scale[K]`, `shift[K]`; conv `[N][K]` in [`Element`]; K and N are physical channels, multiples of 16, padding is zero.

use super::arguments::{Geometry, Slices, address, arguments, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};
use super::packing::{ChannelMap, Norm, begin, finite, pad};
use super::{Element, packing};

/// Output positions and output channels of a block of threads.
const POSITIONS: usize = 64;
const OUTPUTS: usize = 128;
const THREADS: u32 = 256;
/// Dynamic shared memory: three stages of four slab rows for each position, the rows of the weights and their norm; the pooled tile.
const SHARED: usize = 3 * ((4 * POSITIONS + OUTPUTS) * 64 + 256) + POSITIONS * 64;

/// Shapes of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionShape {
    /// How activations and weights are stored.
    pub element: Element,
    /// Rows before the pool, at least 2.
    pub height: usize,
    /// Columns before the pool, at least 2.
    pub width: usize,
    /// Physical channels read.
    pub in_channels: usize,
    /// Elements from pixel to pixel of the slab read.
    pub src_stride: usize,
    /// Channels written, padded to 16.
    pub out_channels: usize,
    /// Elements from pixel to pixel of the slab written.
    pub dst_stride: usize,
}

/// Where a packed transition lies in the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionLayer {
    norm: u32,
    conv: u32,
}

arguments! {
    /// The twin of `TransitionArguments` in `transition.cu`.
    struct TransitionArguments {
        src: u64,
        dst: u64,
        weights: u64,
        count: u64,
        norm: u32,
        conv: u32,
        height: u32,
        width: u32,
        in_channels: u32,
        src_stride: u32,
        out_channels: u32,
        dst_stride: u32,
    }
}

/// The device memory of a launch.
#[derive(Clone, Copy, Debug)]
pub struct TransitionBuffers<'a> {
    /// \[slices\]\[height · width\]\[src_stride\].
    pub src: Span<'a>,
    /// \[slices\]\[(height / 2) · (width / 2)\]\[dst_stride\].
    pub dst: Span<'a>,
    /// The packed weights.
    pub weights: Span<'a>,
    /// Slices of both slabs.
    pub slices: Slices<'a>,
}

impl TransitionShape {
    /// Appends the weights; `conv` is \[outputs, inputs\] over logical channels, which `channels` places.
    ///
    /// # Panics
    /// When the weights do not fit to the shape.
    pub fn pack(&self, norm: &Norm<'_>, conv: &[f32], channels: ChannelMap<'_>, to: &mut Vec<u8>) -> TransitionLayer {
        let inputs = norm.scale.len();
        assert!(conv.len().is_multiple_of(inputs) && pad(conv.len() / inputs) == self.out_channels);
        let norm = norm.pack(Element::F32, self.in_channels, channels, to);
        let at = begin(to);
        for n in 0..self.out_channels {
            let row = conv.get(n * inputs..(n + 1) * inputs);
            let weight = |p| row.and_then(|row| channels(p).map(|c| f64::from(row[c]))).unwrap_or(0.0);
            self.element.encode((0..self.in_channels).map(|p| finite(self.element, weight(p))), to);
        }
        begin(to);
        TransitionLayer { norm, conv: at }
    }

    /// Positions after the pool.
    pub fn positions(&self) -> usize {
        (self.height / 2) * (self.width / 2)
    }

    /// Multiply-adds times two on one slice.
    pub fn flop(&self) -> u64 {
        2 * (self.positions() * self.in_channels * self.out_channels) as u64
    }

    /// Queues the transition.
    ///
    /// # Errors
    /// `Failed` when a buffer is too small for the shape, or from the launch.
    pub fn launch(&self, stream: &mut dyn Stream, layer: &TransitionLayer, buffers: &TransitionBuffers<'_>) -> Result<()> {
        self.check(layer, buffers.weights.bytes())?;
        let slices = buffers.slices.capacity;
        let (before, after) = (slices.saturating_mul(self.height * self.width), slices.saturating_mul(self.positions()));
        narrow(before, "positions before a transition")?;
        let bytes = |positions: usize, stride: usize| positions.saturating_mul(stride * self.element.bytes());
        let arguments = TransitionArguments {
            src: address(buffers.src, bytes(before, self.src_stride), "the slab before a transition")?,
            dst: address(buffers.dst, bytes(after, self.dst_stride), "the slab after a transition")?,
            weights: buffers.weights.address(),
            count: buffers.slices.count()?,
            norm: layer.norm,
            conv: layer.conv,
            height: narrow(self.height, "rows")?,
            width: narrow(self.width, "columns")?,
            in_channels: narrow(self.in_channels, "channels")?,
            src_stride: narrow(self.src_stride, "channels")?,
            out_channels: narrow(self.out_channels, "channels")?,
            dst_stride: narrow(self.dst_stride, "channels")?,
        };
        let kernel = match self.element {
            Element::F16 => "transition_f16",
            Element::Bf16 => "transition_bf16",
            Element::F32 => "transition_f32",
        };
        let outputs = narrow(self.out_channels.div_ceil(OUTPUTS), "channels")?;
        let geometry = Geometry {
            grid: [narrow(after.div_ceil(POSITIONS), "positions")?, outputs, 1],
            block: THREADS,
            cluster: 1,
            shared_bytes: SHARED as u32,
        };
        // SAFETY: both slabs, the weights and the count lie inside their spans; the kernel touches nothing else, and the spans' owner keeps
        // them until the stream is done.
        unsafe { launch(stream, kernel, geometry, &arguments) }
    }

    fn check(&self, layer: &TransitionLayer, weights: usize) -> Result<()> {
        let refuse = |what: &str| Err(GpuError::new(GpuErrorKind::Failed, format!("transition: {what}")));
        let counts = [self.in_channels, self.src_stride, self.out_channels, self.dst_stride];
        let strides = self.in_channels <= self.src_stride && self.out_channels <= self.dst_stride;
        if self.height < 2 || self.width < 2 || !strides || counts.iter().any(|c| *c == 0 || !c.is_multiple_of(packing::CHANNELS)) {
            return refuse("a channel count is no multiple of 16, or the map is too small");
        }
        let inside = |at: u32, len: usize| at.is_multiple_of(16) && at as usize + len <= weights;
        let conv = self.out_channels * self.in_channels * self.element.bytes();
        if !inside(layer.norm, 2 * self.in_channels * 4) || !inside(layer.conv, conv) {
            return refuse("the weights reach past their buffer");
        }
        Ok(())
    }
}
