//! The roofs of this machine, measured: what the stages of a scan are compared with.

use crate::{Error, ErrorKind, Result};
use radnet_kernels::Isa;
use radnet_kernels::cpu::roof::{fma_gflops, read_gbytes};
use std::time::Duration;

/// What all threads together can do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// 10⁹ floating-point operations a second, fused multiply-adds in registers.
    pub gflop_per_s: f64,
    /// 10⁹ bytes a second read from memory.
    pub gbyte_per_s: f64,
}

/// Words that a thread reads: 64 MiB, beyond the caches of one core.
const WORDS: usize = 8 << 20;
/// Time of each of the two measurements.
const TIME: Duration = Duration::from_millis(120);

impl Roof {
    /// Measures with all threads of `pool` at once on the tier `isa`, in about a quarter of a second.
    ///
    /// # Errors
    /// `device` when the tier cannot run here; `out_of_memory`.
    pub fn measure(pool: &rayon::ThreadPool, isa: &str) -> Result<Self> {
        let isa = Isa::by_name(isa).ok_or_else(|| Error::new(ErrorKind::Device, format!("the tier {isa} cannot run here")))?;
        let each = pool.broadcast(|_| {
            let mut memory: Vec<u64> = Vec::new();
            memory.try_reserve_exact(WORDS).ok()?;
            memory.resize(WORDS, 1);
            Some((fma_gflops(isa, TIME), read_gbytes(&memory, TIME)))
        });
        let mut roof = Self { gflop_per_s: 0.0, gbyte_per_s: 0.0 };
        for rates in each {
            let (flop, byte) = rates.ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "no memory to measure the memory's rate"))?;
            roof.gflop_per_s += flop;
            roof.gbyte_per_s += byte;
        }
        Ok(roof)
    }

    /// The least milliseconds for `gflop` and `mbyte`, whichever takes longer.
    pub fn least_ms(&self, gflop: f64, mbyte: f64) -> f64 {
        (gflop / self.gflop_per_s * 1e3).max(mbyte / self.gbyte_per_s)
    }
}
