//! The instruction-set tiers that this build knows, and what stands against each on this machine.

use radnet_kernels::Integers;
use radnet_kernels::isa::{Isa, refusal};
use radnet_kernels::select;

/// One tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// "amx", "avx512-bf16", "avx512", "avx2", "neon-bf16", "neon", "portable".
    pub name: &'static str,
    /// Why it cannot run here; none when it can.
    pub refusal: Option<String>,
}

/// Every tier, best first; an engine takes the first that can run unless told otherwise.
pub fn tiers() -> Vec<Tier> {
    Isa::NAMES.into_iter().map(|name| Tier { name, refusal: refusal(name) }).collect()
}

/// The kernels that the tier of that name runs, or without a name this machine, a line each, with the reason against every better one; empty for a
/// tier that cannot run.
pub fn kernels(tier: Option<&str>) -> Vec<String> {
    let chosen = match tier {
        Some(name) => Isa::by_name(name).map(|isa| (isa, Integers::of(isa))),
        None => Some((Isa::detect(), Integers::detect())),
    };
    chosen.map_or_else(Vec::new, |(isa, level)| select::choices(isa, level).iter().map(ToString::to_string).collect())
}
