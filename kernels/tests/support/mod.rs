//! Shared by the kernel tests: seeded numbers, the tiers to test, and the error bound of a float32 dot product.
#![allow(dead_code, missing_docs, unreachable_pub)]

use radnet_kernels::Isa;

/// Seeded xorshift numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform in [-1, 1).
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// `n` floats of which all but `used` are zero: a padded channel vector.
    pub fn padded(&mut self, used: usize, n: usize) -> Vec<f32> {
        (0..n).map(|i| if i < used { self.float() } else { 0.0 }).collect()
    }
}

/// Every tier of this machine; says aloud which ones it lacks, and fails if RADNET_REQUIRE_ISA (a comma-separated list) names one of those.
pub fn tiers() -> Vec<Isa> {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(say_what_is_missing);
    Isa::available().collect()
}

fn say_what_is_missing() {
    let required = std::env::var("RADNET_REQUIRE_ISA").unwrap_or_default();
    for name in Isa::NAMES {
        if let Some(reason) = radnet_kernels::isa::refusal(name) {
            assert!(!required.split(',').any(|r| r.trim() == name), "RADNET_REQUIRE_ISA names {name}, but {reason}");
            eprintln!("skipped: tier {name}: {reason}");
        }
    }
}

/// γ_n = n·u / (1 − n·u) with u = 2⁻²⁴.
pub fn gamma(n: usize) -> f64 {
    let nu = n as f64 * 2f64.powi(-24);
    nu / (1.0 - nu)
}

/// Runs `compute` on every tier, asserts equal bits, and returns the common result.
pub fn on_every_tier(what: &str, compute: impl Fn(Isa) -> Vec<f32>) -> Vec<f32> {
    let mut common: Option<Vec<f32>> = None;
    for isa in tiers() {
        let result = compute(isa);
        let first = common.get_or_insert_with(|| result.clone());
        let differs = first.iter().zip(&result).position(|(a, b)| a.to_bits() != b.to_bits());
        assert!(differs.is_none() && first.len() == result.len(), "{what}: {} differs at {differs:?}", isa.name());
    }
    common.unwrap()
}

/// Asserts |value − exact| ≤ bound for every item.
pub fn assert_within(what: &str, values: &[f32], exact: &[f64], bound: &[f64]) {
    assert_eq!(values.len(), exact.len());
    for (i, ((v, e), b)) in values.iter().zip(exact).zip(bound).enumerate() {
        let error = (f64::from(*v) - e).abs();
        assert!(error <= *b, "{what}: item {i} is {v}, exactly {e}: off by {error:e}, allowed {b:e}");
    }
}
