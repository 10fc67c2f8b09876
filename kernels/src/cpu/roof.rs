//! What this processor can do at most: fused multiply-adds from registers, and reading memory. The roofs that stages are compared with.

use super::Kernel;
use super::lanes::F32Lanes;
use crate::isa::Isa;
use std::time::{Duration, Instant};

/// Independent chains: more than latency × throughput of any fused multiply-add unit, few enough for 16 registers.
const CHAINS: usize = 12;
/// Steps of a chain between two looks at the clock.
const STEPS: usize = 20_000;

/// Runs of [`STEPS`] steps of [`CHAINS`] chains; returns their sum so that none is left out.
struct Chains {
    factor: f32,
}

impl Kernel for Chains {
    type Output = (f32, usize);

    #[inline(always)]
    fn run<V: F32Lanes>(self) -> Self::Output {
        let (a, negative) = (V::splat(self.factor), V::splat(-self.factor));
        let mut sums = [V::splat(1.0); CHAINS];
        // Each chain is the sum, as in a product: instructions that overwrite their addend, NEON's, then copy nothing.
        for _ in 0..STEPS / 2 {
            for b in [a, negative] {
                for sum in &mut sums {
                    *sum = a.mul_add(b, *sum);
                }
            }
        }
        let mut total = V::zero();
        for sum in sums {
            total = total.add(sum);
        }
        let mut lanes = [0.0f32; 16];
        // SAFETY: the array has room for the most lanes of any tier.
        unsafe { total.store(lanes.as_mut_ptr()) };
        (lanes.iter().sum(), V::LANES)
    }
}

/// 10⁹ floating-point operations a second of one thread of `isa`, multiplying and adding in registers: the best of the runs in `time`.
pub fn fma_gflops(isa: Isa, time: Duration) -> f64 {
    let (start, mut best) = (Instant::now(), 0.0f64);
    while start.elapsed() < time {
        let run = Instant::now();
        let (sum, lanes) = isa.run(Chains { factor: std::hint::black_box(0.5) });
        let seconds = run.elapsed().as_secs_f64();
        std::hint::black_box(sum);
        best = best.max((2 * CHAINS * STEPS * lanes) as f64 / seconds.max(1e-9) / 1e9);
    }
    best
}

/// 10⁹ bytes a second that one thread reads from `memory`, which should be larger than the caches: the best of the passes in `time`.
pub fn read_gbytes(memory: &[u64], time: Duration) -> f64 {
    let (start, mut best) = (Instant::now(), 0.0f64);
    while start.elapsed() < time {
        let pass = Instant::now();
        // Eight sums of their own, so that the additions do not wait for one another.
        let mut sums = [0u64; 8];
        for words in memory.as_chunks::<8>().0 {
            sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
        }
        let seconds = pass.elapsed().as_secs_f64();
        std::hint::black_box(sums);
        best = best.max(size_of_val(memory) as f64 / seconds.max(1e-9) / 1e9);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tier reports a rate that no processor exceeds, and the chains come back to where they start.
    #[test]
    fn rates_are_plausible() {
        for isa in Isa::available() {
            let rate = fma_gflops(isa, Duration::from_millis(2));
            assert!(rate > 0.0 && rate < 10_000.0, "{}: {rate}", isa.name());
            let (sum, lanes) = isa.run(Chains { factor: 0.5 });
            assert_eq!(sum, (CHAINS * lanes) as f32);
        }
        let rate = read_gbytes(&vec![1; 1 << 16], Duration::from_millis(2));
        assert!(rate > 0.0 && rate < 100_000.0, "{rate}");
    }
}
