//! Dense layers on a device: norm1·ReLU·1×1 → norm2·ReLU·3×3, whose new channels are appended in place to the block's slab.
//!
//! Layouts, per layer, in [`Element`]: norm1 `scale[K]`, `shift[K]`; conv1 `[mid][K]`; norm2 float32 `scale[mid]`, `shift[mid]`; conv2
//! `[9][growth][mid]`. K are the physical input channels of the slab; all channel counts are multiples of 16 and padding is zero.
//! f16 and bf16 weights lie there a second time, as the stages that the kernels of compute capability 9.0 copy (`dense_sm90.cu`).
//! A block of threads makes one tile of one slice; [`DenseTile::choose`] cuts the map. Where the tiles of a slice fit into one cluster, one
//! launch runs several layers of a block, with a barrier of the cluster between them.

mod stages;
mod tile;

pub use tile::{DenseTile, Family, Split};

use super::arguments::{Geometry, Slices, address, arguments, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};
use super::packing::{ChannelMap, Norm, begin, finite, pad};
use super::{Element, GpuProperties};

/// Most layers of one launch: their places travel in the kernel's arguments.
pub const LAYERS_PER_LAUNCH: usize = 32;

/// What the layers of a block have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseShape {
    /// How activations and weights are stored.
    pub element: Element,
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Elements from pixel to pixel of the slab, a multiple of 16.
    pub stride: usize,
    /// Channels between the convolutions, padded to 16.
    pub mid: usize,
    /// Channels that a layer appends, padded to 16.
    pub growth: usize,
}

/// The logical weights of a layer.
#[derive(Clone, Copy, Debug)]
pub struct DenseWeights<'a> {
    /// Over the logical input channels.
    pub norm1: Norm<'a>,
    /// \[mid, inputs\].
    pub conv1: &'a [f32],
    /// norm2 as y = scale · x + shift.
    pub scale2: &'a [f64],
    /// See `scale2`.
    pub shift2: &'a [f64],
    /// \[growth, mid, 3, 3\].
    pub conv2: &'a [f32],
}

/// Where a packed layer lies in the weights, and the channels that it reads and writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DenseLayer {
    norm1: u32,
    conv1: u32,
    norm2: u32,
    conv2: u32,
    stages: u32,
    in_channels: u32,
    out_offset: u32,
}

impl DenseLayer {
    /// Physical channels that it reads.
    pub fn in_channels(&self) -> usize {
        self.in_channels as usize
    }
}

arguments! {
    /// The twin of `DenseArguments` in `dense.cu`.
    struct DenseArguments {
        slab: u64,
        weights: u64,
        count: u64,
        height: u32,
        width: u32,
        stride: u32,
        mid: u32,
        growth: u32,
        tile_rows: u32,
        tile_columns: u32,
        layers: u32,
        layer: [DenseLayer; LAYERS_PER_LAUNCH],
    }
}

/// The device memory of a launch.
#[derive(Clone, Copy, Debug)]
pub struct DenseBuffers<'a> {
    /// \[slices\]\[height · width\]\[stride\].
    pub slab: Span<'a>,
    /// The packed weights.
    pub weights: Span<'a>,
    /// Slices of the slab.
    pub slices: Slices<'a>,
}

impl DenseShape {
    /// Appends a layer that reads the physical channels 0..`in_channels` and writes from `out_offset` on; `channels` says which logical channel
    /// lies where. The offsets in the result count from the beginning of `to`.
    ///
    /// # Panics
    /// When the weights do not fit to the shape.
    pub fn pack(
        &self,
        weights: &DenseWeights<'_>,
        channels: ChannelMap<'_>,
        (in_channels, out_offset): (usize, usize),
        to: &mut Vec<u8>,
    ) -> DenseLayer {
        let (mid, inputs) = (weights.scale2.len(), weights.norm1.scale.len());
        let growth = weights.conv2.len() / (9 * mid);
        assert!(pad(mid) == self.mid && pad(growth) == self.growth && weights.conv1.len() == mid * inputs);
        let element = self.element;
        let norm1 = weights.norm1.pack(element, in_channels, channels, to);
        let conv1 = begin(to);
        for n in 0..self.mid {
            let row = weights.conv1.get(n * inputs..(n + 1) * inputs);
            let weight = |p| row.and_then(|row| channels(p).map(|c| f64::from(row[c]))).unwrap_or(0.0);
            element.encode((0..in_channels).map(|p| finite(element, weight(p))), to);
        }
        let norm2 = begin(to);
        for terms in [weights.scale2, weights.shift2] {
            let term = |n: usize| finite(Element::F32, terms.get(n).copied().unwrap_or(0.0));
            Element::F32.encode((0..self.mid).map(term), to);
        }
        let conv2 = begin(to);
        for tap in 0..9 {
            for n in 0..self.growth {
                let weight = |i: usize| if n < growth && i < mid { f64::from(weights.conv2[(n * mid + i) * 9 + tap]) } else { 0.0 };
                element.encode((0..self.mid).map(|i| finite(element, weight(i))), to);
            }
        }
        let stages = begin(to);
        let layer = DenseLayer { norm1, conv1, norm2, conv2, stages, in_channels: in_channels as u32, out_offset: out_offset as u32 };
        if element != Element::F32 {
            stages::pack(self, &layer, to);
        }
        layer
    }

    /// Multiply-adds times two of a layer on one slice.
    pub fn flop(&self, layer: &DenseLayer) -> u64 {
        2 * (self.height * self.width) as u64 * (self.mid * (layer.in_channels as usize + 9 * self.growth)) as u64
    }

    /// Bytes that a layer must at least move through global memory on one slice: the slab once in, the new channels once out.
    pub fn bytes(&self, layer: &DenseLayer) -> u64 {
        (self.height * self.width * (layer.in_channels as usize + self.growth) * self.element.bytes()) as u64
    }

    /// Whether `layer` lies inside `weights` bytes and inside the slab.
    fn holds(&self, layer: &DenseLayer, weights: usize) -> bool {
        let (k, bytes) = (layer.in_channels as usize, self.element.bytes());
        let inside = |at: u32, len: usize| at.is_multiple_of(16) && at as usize + len <= weights;
        let channels = k > 0 && k.is_multiple_of(16) && (layer.out_offset as usize).is_multiple_of(16);
        channels
            && k <= layer.out_offset as usize
            && layer.out_offset as usize + self.growth <= self.stride
            && inside(layer.norm1, 2 * k * bytes)
            && inside(layer.conv1, self.mid * k * bytes)
            && inside(layer.norm2, 2 * self.mid * 4)
            && inside(layer.conv2, 9 * self.growth * self.mid * bytes)
            && (self.element == Element::F32 || inside(layer.stages, stages::bytes(self, k)))
    }

    /// Queues `layers`, one launch for as many as `tile` allows.
    ///
    /// # Errors
    /// `Failed` when a buffer is too small for the shape, or from the launch.
    pub fn launch(&self, stream: &mut dyn Stream, tile: &DenseTile, layers: &[DenseLayer], buffers: &DenseBuffers<'_>) -> Result<()> {
        self.check(tile, layers, buffers)?;
        let slices = buffers.slices.capacity;
        let slab = slices.saturating_mul(self.height * self.width * self.stride * self.element.bytes());
        for layers in layers.chunks(tile.layers) {
            let mut arguments = DenseArguments {
                slab: address(buffers.slab, slab, "the slab of dense layers")?,
                weights: buffers.weights.address(),
                count: buffers.slices.count()?,
                height: narrow(self.height, "rows")?,
                width: narrow(self.width, "columns")?,
                stride: narrow(self.stride, "channels")?,
                mid: narrow(self.mid, "channels between convolutions")?,
                growth: narrow(self.growth, "growth")?,
                tile_rows: narrow(tile.rows, "rows of a tile")?,
                tile_columns: narrow(tile.columns, "columns of a tile")?,
                layers: narrow(layers.len(), "layers")?,
                layer: [DenseLayer::default(); LAYERS_PER_LAUNCH],
            };
            arguments.layer[..layers.len()].copy_from_slice(layers);
            let tiles = narrow(tile.tiles(self), "tiles")?;
            let blocks = narrow((tile.tiles(self).saturating_mul(slices)).next_multiple_of(tile.cluster), "tiles of all slices")?;
            let geometry = Geometry {
                grid: if tile.family == Family::Sm90 { [blocks, 1, 1] } else { [tiles, narrow(slices, "slices")?, 1] },
                block: tile.threads(),
                cluster: tile.cluster as u32,
                shared_bytes: narrow(tile.shared_bytes(self.element), "shared memory")?,
            };
            // SAFETY: the slab, the weights of every layer and the count lie inside their spans; the kernel reads and writes nothing else, and
            // the spans' owner keeps them until the stream is done.
            unsafe { launch(stream, tile.kernel(self.element), geometry, &arguments)? };
        }
        Ok(())
    }

    fn check(&self, tile: &DenseTile, layers: &[DenseLayer], buffers: &DenseBuffers<'_>) -> Result<()> {
        let refuse = |what: &str| Err(GpuError::new(GpuErrorKind::Failed, format!("dense layers: {what}")));
        let counts = [self.mid, self.growth, self.stride];
        if self.height == 0 || self.width == 0 || counts.iter().any(|c| *c == 0 || !c.is_multiple_of(16)) {
            return refuse("a channel count is no multiple of 16, or the map is empty");
        }
        narrow(self.height * self.width, "positions of a map")?;
        if layers.iter().any(|layer| !self.holds(layer, buffers.weights.bytes())) {
            return refuse("a layer reaches past the weights or the slab");
        }
        if !tile.fits(self) {
            return refuse("the tile does not fit to the map");
        }
        Ok(())
    }
}
