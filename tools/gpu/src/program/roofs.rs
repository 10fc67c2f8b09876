//! How fast this device copies and multiplies, measured before anything is judged by it.

use radnet_kernels::cuda::roofs::{Multiplication, copy, multiply};
use radnet_kernels::cuda::{DeviceMemory, Element, Gpu, Queue};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a device can do at most.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Roofs {
    /// Bytes read and written a second, in 10⁹, by a kernel that copies far more than the caches hold.
    pub(crate) copy_gbs: f64,
    /// 10¹² FLOP a second in fp16 on tensor cores: by `wgmma` on compute capability 9.0, elsewhere by `mma.sync` from registers.
    pub(crate) tensor_tflops: f64,
}

const COPIED: usize = 1 << 30;
const ITERATIONS: u32 = 4_000;
const REPETITIONS: usize = 10;

impl Roofs {
    /// Measures, best of several.
    pub(crate) fn measure(gpu: &Arc<dyn Gpu>) -> Result<Self, String> {
        let words = |error: radnet_kernels::cuda::GpuError| error.message;
        let mut queue = Queue::new(gpu).map_err(words)?;
        let (from, to) = (DeviceMemory::new(gpu, COPIED).map_err(words)?, DeviceMemory::new(gpu, COPIED).map_err(words)?);
        queue.clear(from.all()).map_err(words)?;
        let copy_ms = best(&mut queue, |queue| copy(queue.stream(), from.all(), to.all()).map_err(words))?;
        let work = Multiplication::filling(gpu.properties(), Element::F16, ITERATIONS);
        let out = DeviceMemory::new(gpu, work.bytes()).map_err(words)?;
        let multiply_ms = best(&mut queue, |queue| multiply(queue.stream(), &work, out.all()).map_err(words))?;
        Ok(Self { copy_gbs: 2.0 * COPIED as f64 / copy_ms / 1e6, tensor_tflops: work.flop() as f64 / multiply_ms / 1e9 })
    }

    /// The least milliseconds for this much work, whichever roof is lower.
    pub(crate) fn floor_ms(&self, flop: f64, bytes: f64) -> f64 {
        (flop / self.tensor_tflops / 1e9).max(bytes / self.copy_gbs / 1e6)
    }
}

fn best(queue: &mut Queue, mut work: impl FnMut(&mut Queue) -> Result<(), String>) -> Result<f64, String> {
    let words = |error: radnet_kernels::cuda::GpuError| error.message;
    let mut least = f64::INFINITY;
    for _ in 0..REPETITIONS {
        let from = queue.mark().map_err(words)?;
        work(queue)?;
        let to = queue.mark().map_err(words)?;
        queue.finish().map_err(words)?;
        let spent = queue.elapsed_ms(from, to).map_err(words)?.ok_or("this device has no clock")?;
        least = least.min(spent);
    }
    Ok(least)
}
