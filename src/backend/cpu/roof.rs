//! The roofs of this machine, measured: what the stages of a scan are compared with.

use crate::{Error, ErrorKind, Result};
use radnet_kernels::cpu::roof::{Products, fma_gflops, product_gflops, read_gbytes};
use radnet_kernels::{Integers, Isa};
use std::time::Duration;

/// What all threads together can do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// 10⁹ floating-point operations a second, fused multiply-adds of float32 in registers.
    pub gflop_per_s: f64,
    /// The same of what the precision multiplies in dense layers and transitions: pairs of bf16, groups of bytes, tiles of either.
    pub product_gflop_per_s: f64,
    /// 10⁹ bytes a second read from memory.
    pub gbyte_per_s: f64,
}

/// Words that a thread reads: 64 MiB, beyond the caches of one core.
const WORDS: usize = 8 << 20;
/// Time of each of the two measurements.
const TIME: Duration = Duration::from_millis(120);

impl Roof {
    /// Measures with all threads of `pool` at once on the tier `isa` and for a precision by name, in about a third of a second.
    ///
    /// # Errors
    /// `device` when the tier cannot run here; `out_of_memory`.
    pub fn measure(pool: &rayon::ThreadPool, isa: &str, precision: &str) -> Result<Self> {
        let isa = Isa::by_name(isa).ok_or_else(|| Error::new(ErrorKind::Device, format!("the tier {isa} cannot run here")))?;
        let products = match precision {
            "bf16" => Products::Halves(isa),
            "int8" if isa == Isa::detect() => Products::Codes(Integers::detect()),
            "int8" => Products::Codes(Integers::of(isa)),
            _ => Products::Floats(isa),
        };
        let each = pool.broadcast(|_| {
            let mut memory: Vec<u64> = Vec::new();
            memory.try_reserve_exact(WORDS).ok()?;
            memory.resize(WORDS, 1);
            Some((fma_gflops(isa, TIME), product_gflops(products, TIME), read_gbytes(&memory, TIME)))
        });
        let mut roof = Self { gflop_per_s: 0.0, product_gflop_per_s: 0.0, gbyte_per_s: 0.0 };
        for rates in each {
            let (flop, product, byte) =
                rates.ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "no memory to measure the memory's rate"))?;
            roof.gflop_per_s += flop;
            roof.product_gflop_per_s += product;
            roof.gbyte_per_s += byte;
        }
        Ok(roof)
    }

    /// The least milliseconds of a stage by name for `gflop` and `mbyte`, whichever takes longer. Only dense layers and transitions are compared with what
    /// the precision multiplies.
    pub fn least_ms(&self, stage: &str, gflop: f64, mbyte: f64) -> f64 {
        let reduced = stage.starts_with("block") || stage.starts_with("transition");
        let rate = if reduced { self.product_gflop_per_s } else { self.gflop_per_s };
        (gflop / rate * 1e3).max(mbyte / self.gbyte_per_s)
    }
}
