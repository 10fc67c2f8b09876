//! The instruction-set tiers that this build knows, and what stands against each on this machine.

use radnet_kernels::isa::{Isa, refusal};

/// One tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// "avx512", "avx2", "portable".
    pub name: &'static str,
    /// Why it cannot run here; none when it can.
    pub refusal: Option<String>,
}

/// Every tier, best first; an engine takes the first that can run unless told otherwise.
pub fn tiers() -> Vec<Tier> {
    Isa::NAMES.into_iter().map(|name| Tier { name, refusal: refusal(name) }).collect()
}
