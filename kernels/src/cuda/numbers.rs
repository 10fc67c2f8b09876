//! The arithmetic of f16 and bf16 pairs by itself, for tests on a device.

use super::Element;
use super::arguments::{Geometry, address, arguments, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};

const THREADS: u32 = 256;

/// What is computed of pairs, two elements in a word; see `numbers.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Pairs to twice as many float32.
    Widen,
    /// Float32 to half as many pairs.
    Narrow,
    /// The same of their ReLU.
    NarrowRelu,
    /// relu(x·y + z), rounded once.
    AffineRelu,
    /// The larger of x and y.
    Max,
}

arguments! {
    /// The twin of `NumbersArguments` in `numbers.cu`.
    struct NumbersArguments {
        x: u64,
        y: u64,
        z: u64,
        out: u64,
        count: u32,
        operation: u32,
    }
}

/// Queues `operation` of `count` pairs; operands that it does not have may be any span. The memory behind the spans must live until the stream
/// is done.
///
/// # Errors
/// `Failed` when a span is too short, for float32 elements, or from the launch.
pub fn numbers(
    stream: &mut dyn Stream,
    element: Element,
    operation: Operation,
    operands: [Span<'_>; 3],
    out: Span<'_>,
    count: usize,
) -> Result<()> {
    let kernel = match element {
        Element::F16 => "numbers_f16",
        Element::Bf16 => "numbers_bf16",
        Element::F32 => return Err(GpuError::new(GpuErrorKind::Failed, "pairs are of f16 or bf16")),
    };
    let words = match operation {
        Operation::Widen => [1, 0, 0, 2],
        Operation::Narrow | Operation::NarrowRelu => [2, 0, 0, 1],
        Operation::AffineRelu => [1, 1, 1, 1],
        Operation::Max => [1, 1, 0, 1],
    };
    let need = |span, words: usize| address(span, 4 * words * count, "numbers");
    let arguments = NumbersArguments {
        x: need(operands[0], words[0])?,
        y: need(operands[1], words[1])?,
        z: need(operands[2], words[2])?,
        out: need(out, words[3])?,
        count: narrow(2 * count, "numbers")? / 2,
        operation: operation as u32,
    };
    let geometry = Geometry { grid: [arguments.count.div_ceil(THREADS), 1, 1], block: THREADS, cluster: 1, shared_bytes: 0 };
    // SAFETY: the struct is the kernel's, and every span was checked for what the operation touches.
    unsafe { launch(stream, kernel, geometry, &arguments) }
}
