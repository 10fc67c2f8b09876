//! The stem in one pass: conv 7×7/2 pad 3, norm0, ReLU, maxpool 3×3/2 pad 1, from planes to the first channels of block 1's slab.
//!
//! The planes are either windowed already, or in HU: then every channel is cut from the plane at its slice offset on the way in, equal to
//! (clip((hu − low) / width, 0, 1) − mean) / std in float64 to float32 rounding.

use super::Element;
use super::arguments::{Geometry, Slices, address, arguments, floats, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};
use std::fmt;

/// Threads of a block; positions of a tile after the convolution, at most: a warp has three fragments of 16.
const THREADS: u32 = 224;
const MOST_POSITIONS: usize = THREADS as usize / 32 * 3 * 16;
/// Elements of the packed weights for each input channel: 7 rows of 7, padded to 8.
const TAPS: usize = 56;
/// Most input channels.
const MOST_CHANNELS: usize = 16;
/// Bytes of a channel's entry in the window table.
const WINDOW_BYTES: usize = 32;

/// Shapes of a stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StemShape {
    /// Input channels, 1 to 16.
    pub channels: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Output channels.
    pub features: usize,
    /// Elements from position to position of the slab.
    pub slab_stride: usize,
}

/// How a channel is cut from HU: x = (clip((hu − low) / width, 0, 1) − mean) / std of the slice at an offset, clamped to the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HuWindow {
    /// Slices towards superior.
    pub slice_offset: i64,
    /// Lower edge, in HU.
    pub low: f64,
    /// Width, in HU.
    pub width: f64,
    /// Subtracted from the clipped value.
    pub mean: f64,
    /// Divides the rest.
    pub std: f64,
}

/// What a stem reads.
#[derive(Clone, Copy, Debug)]
pub enum StemInput<'a> {
    /// f32 \[slices, channels, height, width\].
    Windowed(Span<'a>),
    /// HU, f32 \[planes, height, width\].
    Hu {
        /// The planes of a series.
        planes: Span<'a>,
        /// From [`pack_windows`].
        windows: Span<'a>,
        /// Two u32: the plane of this launch's first slice, and the planes of the series.
        position: Span<'a>,
    },
}

/// The weights and the slab of a stem.
#[derive(Clone, Copy, Debug)]
pub struct StemBuffers<'a> {
    /// From [`StemShape::pack`].
    pub weights: Span<'a>,
    /// norm0's scale, from [`StemShape::pack_norm`].
    pub scale: Span<'a>,
    /// norm0's shift, likewise.
    pub shift: Span<'a>,
    /// Slab of block 1.
    pub slab: Span<'a>,
}

/// The tile of a block. Results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StemTile {
    /// Rows after the pool.
    pub rows: usize,
    /// Columns after the pool.
    pub columns: usize,
    /// Output channels at a time.
    pub features: usize,
    /// Shared memory of a block.
    pub shared_bytes: usize,
}

impl fmt::Display for StemTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{} positions, {} channels at a time, {} KiB", self.rows, self.columns, self.features, self.shared_bytes / 1024)
    }
}

fn halved(n: usize) -> usize {
    n.div_ceil(2)
}

impl StemShape {
    /// Rows and columns after the pool.
    pub fn output(&self) -> (usize, usize) {
        (halved(halved(self.height)), halved(halved(self.width)))
    }

    fn padded_features(&self) -> usize {
        self.features.next_multiple_of(16)
    }

    /// Elements of a packed row of weights.
    fn taps(&self) -> usize {
        (TAPS * self.channels).next_multiple_of(16)
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self, element: Element) -> usize {
        self.padded_features() * self.taps() * element.bytes()
    }

    /// How input and weights are multiplied where activations are `element`: bf16 would cost the input three bits for a range that a window
    /// does not need.
    pub fn operand(element: Element) -> Element {
        match element {
            Element::Bf16 => Element::F16,
            other => other,
        }
    }

    /// Packs `weight(output, (channel · 7 + row) · 7 + column)`.
    pub fn pack(&self, element: Element, weight: impl Fn(usize, usize) -> f64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.weight_bytes(element));
        for output in 0..self.padded_features() {
            let taps = (0..self.taps()).map(|tap| {
                let (row, column) = (tap / 8, tap % 8);
                let real = output < self.features && row < 7 * self.channels && column < 7;
                if real { weight(output, row * 7 + column) } else { 0.0 }
            });
            Self::operand(element).encode(taps, &mut bytes);
        }
        bytes
    }

    /// Packs one float32 for each output channel.
    pub fn pack_norm(&self, value: impl Fn(usize) -> f64) -> Vec<u8> {
        floats((0..self.padded_features()).map(|o| if o < self.features { value(o) } else { 0.0 }))
    }

    /// The largest tile whose block leaves a multiprocessor room for others, or at least fits; none when not even the smallest does.
    pub fn tile(&self, element: Element, shared_bytes_per_block: u32) -> Option<StemTile> {
        let limit = shared_bytes_per_block as usize;
        let tiles = [(4, 16), (2, 16), (2, 8), (1, 8), (1, 4), (1, 2), (1, 1)];
        let features = [64, 32, 16].map(|n: usize| n.min(self.padded_features()));
        let candidates = tiles.iter().flat_map(|&(rows, columns)| features.map(|features| self.tile_of(element, rows, columns, features)));
        let candidates: Vec<_> = candidates.filter(|tile| tile.shared_bytes <= limit).collect();
        let roomy = candidates.iter().find(|tile| tile.shared_bytes <= MOST_SHARED);
        roomy.or(candidates.first()).copied()
    }

    fn tile_of(&self, element: Element, rows: usize, columns: usize, features: usize) -> StemTile {
        StemTile { rows, columns, features, shared_bytes: self.layout(element, rows, columns, features).end }
    }

    fn layout(&self, element: Element, rows: usize, columns: usize, features: usize) -> Layout {
        let (patch_rows, patch_columns) = (4 * rows + 7, 4 * columns + 8);
        let positions = (2 * rows + 1) * (2 * columns + 1);
        let aligned = |elements: usize| (elements * element.bytes()).next_multiple_of(16);
        let conv_at = aligned(self.channels * patch_rows * patch_columns);
        let weights_at = conv_at + aligned(positions * (features + 8));
        // Float32 reads its weights where they are.
        let weights = if element == Element::F32 { 0 } else { features * (self.taps() + 8) };
        Layout { patch_rows, patch_columns, positions, conv_at, weights_at, end: weights_at + aligned(weights) }
    }
}

/// A block's shared memory: the input patch, the outputs of the convolution, the weights.
#[derive(Clone, Copy, Debug)]
struct Layout {
    patch_rows: usize,
    patch_columns: usize,
    positions: usize,
    conv_at: usize,
    weights_at: usize,
    end: usize,
}

/// Shared memory of a block that still lets two of them share a multiprocessor of the largest kind.
const MOST_SHARED: usize = 113 * 1024;

/// Packs the windows of all channels: slice offset, the double-float factor and constant of hu ↦ x, and the bounds that clip becomes.
pub fn pack_windows(windows: &[HuWindow]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(WINDOW_BYTES * windows.len());
    for window in windows {
        let offset = window.slice_offset.clamp(-(1 << 30), 1 << 30) as i32;
        bytes.extend_from_slice(&offset.to_le_bytes());
        let factor = 1.0 / (window.width * window.std);
        let constant = (-window.low / window.width - window.mean) / window.std;
        let bounds = [(0.0 - window.mean) / window.std, (1.0 - window.mean) / window.std];
        let split = |x: f64| [f64::from(x as f32), x - f64::from(x as f32)];
        let [[factor, factor_rest], [constant, constant_rest]] = [split(factor), split(constant)];
        let [low, high] = [bounds[0].min(bounds[1]), bounds[0].max(bounds[1])];
        Element::F32.encode([factor, factor_rest, constant, constant_rest, low, high], &mut bytes);
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

arguments! {
    /// The twin of `StemArguments` in `stem.cu`.
    struct StemArguments {
        planes: u64,
        windows: u64,
        position: u64,
        weights: u64,
        scale: u64,
        shift: u64,
        slab: u64,
        count: u64,
        channels: u32,
        height: u32,
        width: u32,
        features: u32,
        slab_stride: u32,
        plane_capacity: u32,
        tile_rows: u32,
        tile_columns: u32,
        tile_features: u32,
        tiles_across: u32,
        conv_rows: u32,
        conv_columns: u32,
        pooled_rows: u32,
        pooled_columns: u32,
        taps: u32,
        patch_rows: u32,
        patch_columns: u32,
        positions_across: u32,
        positions: u32,
        pitch: u32,
        conv_at: u32,
        weights_at: u32,
    }
}

/// Queues a stem. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short, there are no or more than 16 channels, or the launch fails.
pub fn stem(
    stream: &mut dyn Stream,
    element: Element,
    (shape, tile): (&StemShape, &StemTile),
    buffers: &StemBuffers<'_>,
    input: StemInput<'_>,
    slices: Slices<'_>,
) -> Result<()> {
    if !(1..=MOST_CHANNELS).contains(&shape.channels) || shape.slab_stride < shape.padded_features() {
        let message = format!("a stem of {} channels into a slab of stride {}", shape.channels, shape.slab_stride);
        return Err(GpuError::new(GpuErrorKind::Failed, message));
    }
    let layout = shape.layout(element, tile.rows, tile.columns, tile.features);
    if layout.positions > MOST_POSITIONS || !tile.features.is_multiple_of(16) || !(16..=64).contains(&tile.features) {
        return Err(GpuError::new(GpuErrorKind::Failed, format!("a stem cannot have tiles of {tile}")));
    }
    let plane = 4 * shape.height * shape.width;
    let (planes, windows, position, plane_capacity) = match input {
        StemInput::Windowed(planes) => (address(planes, plane * shape.channels * slices.capacity, "stem input")?, 0, 0, 0),
        StemInput::Hu { planes, windows, position } => (
            address(planes, plane, "HU planes")?,
            address(windows, WINDOW_BYTES * shape.channels, "HU windows")?,
            address(position, 8, "position in the series")?,
            planes.bytes() / plane.max(1),
        ),
    };
    let (rows, columns) = shape.output();
    let norm = 4 * shape.padded_features();
    let arguments = StemArguments {
        planes,
        windows,
        position,
        weights: address(buffers.weights, shape.weight_bytes(element), "stem weights")?,
        scale: address(buffers.scale, norm, "stem scale")?,
        shift: address(buffers.shift, norm, "stem shift")?,
        slab: address(buffers.slab, slices.capacity * rows * columns * shape.slab_stride * element.bytes(), "stem slab")?,
        count: slices.count()?,
        channels: shape.channels as u32,
        height: narrow(shape.height, "stem rows")?,
        width: narrow(shape.width, "stem columns")?,
        features: narrow(shape.padded_features(), "stem features")?,
        slab_stride: narrow(shape.slab_stride, "slab stride")?,
        plane_capacity: narrow(plane_capacity, "HU planes")?,
        tile_rows: narrow(tile.rows, "stem tile")?,
        tile_columns: narrow(tile.columns, "stem tile")?,
        tile_features: narrow(tile.features, "stem tile")?,
        tiles_across: narrow(columns.div_ceil(tile.columns), "stem tile")?,
        conv_rows: narrow(halved(shape.height), "stem rows")?,
        conv_columns: narrow(halved(shape.width), "stem columns")?,
        pooled_rows: narrow(rows, "stem rows")?,
        pooled_columns: narrow(columns, "stem columns")?,
        taps: narrow(shape.taps(), "stem taps")?,
        patch_rows: narrow(layout.patch_rows, "stem tile")?,
        patch_columns: narrow(layout.patch_columns, "stem tile")?,
        positions_across: narrow(2 * tile.columns + 1, "stem tile")?,
        positions: narrow(layout.positions, "stem tile")?,
        pitch: narrow(tile.features + 8, "stem tile")?,
        conv_at: narrow(layout.conv_at, "stem tile")?,
        weights_at: narrow(layout.weights_at, "stem tile")?,
    };
    let tiles = rows.div_ceil(tile.rows) * columns.div_ceil(tile.columns);
    let geometry = Geometry {
        grid: [narrow(tiles, "stem tiles")?, narrow(slices.capacity, "slices")?, 1],
        block: THREADS,
        cluster: 1,
        shared_bytes: narrow(layout.end, "stem tile")?,
    };
    let names = match input {
        StemInput::Windowed(_) => ["stem_windowed_f16", "stem_windowed_bf16", "stem_windowed_f32"],
        StemInput::Hu { .. } => ["stem_hu_f16", "stem_hu_bf16", "stem_hu_f32"],
    };
    // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
    unsafe { launch(stream, element.pick(names), geometry, &arguments) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shape of the model format has a tile on every device, and the kernel's own limits hold for it.
    #[test]
    fn every_shape_has_a_tile() {
        for limit in [99 * 1024, 163 * 1024, 227 * 1024] {
            for channels in [1, 3, 16] {
                for features in [1, 24, 64, 100, 4096] {
                    for element in Element::ALL {
                        let shape = StemShape { channels, height: 32, width: 32, features, slab_stride: 4096 };
                        let tile = shape.tile(element, limit).expect("a tile");
                        let layout = shape.layout(element, tile.rows, tile.columns, tile.features);
                        assert!(tile.shared_bytes <= limit as usize && tile.shared_bytes == layout.end, "{tile}");
                        assert!(layout.positions <= MOST_POSITIONS && tile.features.is_multiple_of(16) && tile.features <= 64, "{tile}");
                    }
                }
            }
        }
    }

    /// The window that the device applies in double floats is the host's, in float64 here; its clip is exact.
    #[test]
    fn windows_are_the_hosts() {
        let window = HuWindow { slice_offset: i64::MIN, low: -20.1, width: 200.3, mean: 0.45, std: 0.225 };
        let bytes = pack_windows(&[window]);
        assert_eq!(bytes.len(), WINDOW_BYTES);
        assert_eq!(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), -(1 << 30));
        let [factor, factor_rest, constant, constant_rest, low, high] = Element::F32.decode(&bytes[4..28])[..] else {
            panic!("six floats")
        };
        for hu in [-1024.0f32, -20.5, 0.0, 33.3, 180.25, 3071.0] {
            let x = f64::from(hu) * (f64::from(factor) + f64::from(factor_rest)) + f64::from(constant) + f64::from(constant_rest);
            let x = x.clamp(f64::from(low), f64::from(high)) as f32;
            let v = ((f64::from(hu) - window.low) / window.width).clamp(0.0, 1.0);
            assert_eq!(x, ((v - window.mean) / window.std) as f32, "{hu} HU");
        }
    }
}
