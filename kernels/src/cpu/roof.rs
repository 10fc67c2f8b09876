//! What this processor can do at most: products of each precision from registers, and reading memory. The roofs that stages are compared with.

use super::Kernel;
use super::bf16::HalfKernel;
use super::bf16::lanes::HalfLanes;
use super::int8::IntKernel;
use super::int8::lanes::IntLanes;
use super::lanes::F32Lanes;
use crate::integers::Integers;
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

/// What is multiplied, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// float32.
    Floats(Isa),
    /// bf16, added up in float32.
    Halves(Isa),
    /// Codes and weights of 8 bits, added up in 32.
    Codes(Integers),
}

/// 10⁹ operations a second of one thread, multiplying and adding: the best of the runs in `time`.
pub fn product_gflops(products: Products, time: Duration) -> f64 {
    let (start, mut best) = (Instant::now(), 0.0f64);
    while start.elapsed() < time {
        let run = Instant::now();
        let operations = match products {
            Products::Floats(isa) => return fma_gflops(isa, time),
            #[cfg(target_arch = "x86_64")]
            Products::Halves(Isa::Amx(token)) => super::tiles::roof::products::<super::tiles::Half>(token, STEPS),
            #[cfg(target_arch = "x86_64")]
            Products::Codes(Integers::Amx(token)) => super::tiles::roof::products::<super::tiles::Code>(token, STEPS),
            Products::Halves(isa) => {
                let mut operations = 0;
                isa.run_halves(Pairs { operations: &mut operations });
                operations
            }
            Products::Codes(level) => {
                let mut operations = 0;
                level.run(Bytes { operations: &mut operations });
                operations
            }
        };
        best = best.max(operations as f64 / run.elapsed().as_secs_f64().max(1e-9) / 1e9);
    }
    best
}

/// Steps of pairs of bf16 from the first cache, in the largest tile of the registers.
struct Pairs<'a> {
    operations: &'a mut usize,
}

impl HalfKernel for Pairs<'_> {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        const { assert!(CHAINS.is_multiple_of(6)) };
        let (a, w) = (std::hint::black_box([0u16; 32]), std::hint::black_box([0u16; 2 * 32]));
        let mut sums = [[V::Floats::zero(); 2]; 6];
        for _ in 0..STEPS {
            // SAFETY: a pair, and two vectors of at most sixteen pairs each.
            unsafe { V::step::<6, 2>([a.as_ptr(); 6], [w.as_ptr(), w.as_ptr().add(2 * V::Floats::LANES)], &mut sums) };
        }
        let mut lanes = [0.0f32; 16];
        for row in sums {
            for sum in row {
                // SAFETY: the array has room for the most lanes of any tier.
                unsafe { sum.store(lanes.as_mut_ptr()) };
                std::hint::black_box(lanes);
            }
        }
        *self.operations = 4 * 12 * STEPS * V::Floats::LANES;
    }
}

/// Chains of sums of products of bytes, or of 16 bits where a level multiplies those.
struct Bytes<'a> {
    operations: &'a mut usize,
}

impl IntKernel for Bytes<'_> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        let numbers = std::hint::black_box([1u8; 64]);
        // SAFETY: four bytes, and as many as the widest register holds.
        let (a, w) = unsafe { (V::splat(numbers.as_ptr()), V::load(numbers.as_ptr())) };
        let mut sums = [V::zero(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = if V::QUADS { sum.madd_quads(a, w) } else { sum.madd(a, w) };
            }
        }
        let mut lanes = [0.0f32; 16];
        for sum in sums {
            // SAFETY: the array has room for the most lanes of any level.
            unsafe { sum.to_floats().store(lanes.as_mut_ptr()) };
            std::hint::black_box(lanes);
        }
        *self.operations = CHAINS * STEPS * V::LANES * if V::QUADS { 8 } else { 4 };
    }
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
        let halves = Isa::available().map(Products::Halves);
        for products in halves.chain(Integers::available().map(Products::Codes)) {
            let rate = product_gflops(products, Duration::from_millis(2));
            assert!(rate > 0.0 && rate < 100_000.0, "{products:?}: {rate}");
        }
        let rate = read_gbytes(&vec![1; 1 << 16], Duration::from_millis(2));
        assert!(rate > 0.0 && rate < 100_000.0, "{rate}");
    }
}
