//! The work of dense layers and transitions in the order in which it is done, whatever numbers are multiplied.

pub(crate) mod dense;
pub(crate) mod transition;

use super::layout::{self, PANEL};
use super::strips::BLOCK_PIXELS;

/// What a step multiplies: its numbers, and its weights.
pub(crate) trait Arithmetic: Copy + Sync {
    /// Numbers of slabs.
    type Slab: Copy + Send + Sync;
    /// Numbers of packed pixels, of the mid map and of transformed patches.
    type Number: Copy;

    /// How many numbers take the room of a float.
    const PER_FLOAT: usize = size_of::<f32>() / size_of::<Self::Number>();
    /// Numbers of a cache line, which keep apart what would share cache sets.
    const LINE: usize = PANEL * Self::PER_FLOAT;
}

/// Numbers of packed pixels in one block of a dense layer.
const LAYER_BLOCK: usize = 24 * 1024;
/// Of a transition, which goes over more weights: in a DenseNet-121 up to four times those of a dense layer's 1×1, 2 MB of floats.
const TRANSITION_BLOCK: usize = 80 * 1024;

/// A stride in numbers of at least `stride` that is not a multiple of 4096 bytes.
fn unaliased<A: Arithmetic>(stride: usize) -> usize {
    layout::unaliased(stride.div_ceil(A::PER_FLOAT)) * A::PER_FLOAT
}

/// Pixels of `stride` numbers that are packed before they are multiplied, in a block of so many numbers.
fn block_pixels(numbers: usize, stride: usize) -> usize {
    (numbers / stride / 12 * 12).clamp(12, BLOCK_PIXELS)
}

/// Floats that so many numbers take, in whole cache lines.
fn floats_of<A: Arithmetic>(numbers: usize) -> usize {
    (numbers / A::PER_FLOAT).next_multiple_of(PANEL)
}
