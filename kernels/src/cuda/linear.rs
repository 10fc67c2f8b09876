//! y\[m\]\[n\] = Σ x\[m\]\[k\] · w\[n\]\[k\] + b\[n\] over the slices m of a scan: the recurrence's input projections, both directions as one
//! product, and the classifier. x, b, y and the sums are float32.

use super::Element;
use super::arguments::{Geometry, Slices, address, arguments, floats, launch, narrow};
use super::gpu::{Result, Span, Stream};

/// Slices and outputs of a block's tile; its threads.
const TILE: [usize; 2] = [32, 16];
const THREADS: u32 = 256;
/// Inputs that a block takes at a time, and the floats that its shared memory has for each of them and for the reduction.
const CHUNK: usize = 256;
const CHUNK_STRIDE: usize = CHUNK + 4;

/// Shapes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// K, any number.
    pub inputs: usize,
    /// N, any number.
    pub outputs: usize,
}

/// What a product reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct LinearBuffers<'a> {
    /// From [`LinearShape::pack`].
    pub weights: Span<'a>,
    /// f32 \[outputs\].
    pub bias: Span<'a>,
    /// f32 \[slices, inputs\].
    pub x: Span<'a>,
    /// f32 \[slices, outputs\].
    pub y: Span<'a>,
}

impl LinearShape {
    /// Inputs of a packed row: whole loads of 16 bytes in every element type.
    fn padded(&self) -> usize {
        self.inputs.next_multiple_of(8)
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self, element: Element) -> usize {
        self.outputs * self.padded() * element.bytes()
    }

    /// Packs `weight(output, input)`.
    pub fn pack(&self, element: Element, weight: impl Fn(usize, usize) -> f64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.weight_bytes(element));
        for output in 0..self.outputs {
            element.encode((0..self.padded()).map(|i| if i < self.inputs { weight(output, i) } else { 0.0 }), &mut bytes);
        }
        bytes
    }

    /// Packs `bias(output)`.
    pub fn pack_bias(&self, bias: impl Fn(usize) -> f64) -> Vec<u8> {
        floats((0..self.outputs).map(bias))
    }
}

arguments! {
    /// The twin of `LinearArguments` in `linear.cu`.
    struct LinearArguments {
        weights: u64,
        bias: u64,
        x: u64,
        y: u64,
        count: u64,
        inputs: u32,
        padded: u32,
        outputs: u32,
        capacity: u32,
    }
}

/// Queues a product. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or the launch fails.
pub fn linear(
    stream: &mut dyn Stream,
    element: Element,
    shape: &LinearShape,
    buffers: &LinearBuffers<'_>,
    slices: Slices<'_>,
) -> Result<()> {
    let arguments = LinearArguments {
        weights: address(buffers.weights, shape.weight_bytes(element), "linear weights")?,
        bias: address(buffers.bias, 4 * shape.outputs, "linear bias")?,
        x: address(buffers.x, 4 * shape.inputs * slices.capacity, "linear input")?,
        y: address(buffers.y, 4 * shape.outputs * slices.capacity, "linear output")?,
        count: slices.count()?,
        inputs: narrow(shape.inputs, "linear inputs")?,
        padded: narrow(shape.padded(), "linear inputs")?,
        outputs: narrow(shape.outputs, "linear outputs")?,
        capacity: narrow(slices.capacity, "slices")?,
    };
    let [rows, columns] = TILE;
    let geometry = Geometry {
        grid: [narrow(shape.outputs.div_ceil(columns), "linear outputs")?, narrow(slices.capacity.div_ceil(rows), "slices")?, 1],
        block: THREADS,
        cluster: 1,
        shared_bytes: (4 * CHUNK_STRIDE * (rows + columns)) as u32,
    };
    // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
    unsafe { launch(stream, element.pick(["linear_f16", "linear_bf16", "linear_f32"]), geometry, &arguments) }
}
