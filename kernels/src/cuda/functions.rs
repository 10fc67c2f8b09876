//! exp, σ and tanh as the kernels compute them, by themselves: for tests on a device.

use super::arguments::{Geometry, address, arguments, launch, narrow};
use super::gpu::{Result, Span, Stream};

pub use crate::cpu::math::Function;

const THREADS: u32 = 256;

arguments! {
    /// The twin of `FunctionsArguments` in `functions.cu`.
    struct FunctionsArguments {
        x: u64,
        y: u64,
        count: u32,
        function: u32,
    }
}

/// Queues `y[i] = function(x[i])` of `count` float32. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or the launch fails.
pub fn functions(stream: &mut dyn Stream, function: Function, x: Span<'_>, y: Span<'_>, count: usize) -> Result<()> {
    let arguments = FunctionsArguments {
        x: address(x, 4 * count, "arguments of a function")?,
        y: address(y, 4 * count, "values of a function")?,
        count: narrow(count, "arguments of a function")?,
        function: match function {
            Function::Exp => 0,
            Function::Sigmoid => 1,
            Function::Tanh => 2,
        },
    };
    let grid = [arguments.count.div_ceil(THREADS), 1, 1];
    let geometry = Geometry { grid, block: THREADS, cluster: 1, shared_bytes: 0 };
    // SAFETY: the struct is the kernel's, and both spans were checked for what the kernel touches.
    unsafe { launch(stream, "functions", geometry, &arguments) }
}
