//! Levels of integer arithmetic as proof tokens, found apart from the tiers of [`crate::isa`]: some processors multiply and add integers in one
//! instruction and have no AVX-512, others have AVX-512 and not that.

use crate::isa::{Amx, Avx2, Isa, Neon, Portable, lacking, tiles};

/// Proof that AVX-512F, BW, VL and VNNI, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Vnni(());

/// Proof that AVX-512F, BW and VL, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Bw(());

/// Proof that AVX-VNNI, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvxVnni(());

/// Proof that NEON and I8MM are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonI8mm(());

/// Proof that NEON and its dot products are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonDotprod(());

const AVX512_VNNI: &[&str] = &["avx512vnni", "avx512bw", "avx512vl", "avx512f", "avx2", "fma"];
const AVX512_BW: &[&str] = &["avx512bw", "avx512vl", "avx512f", "avx2", "fma"];
const AVX_VNNI: &[&str] = &["avxvnni", "avx2", "fma"];
const NEON_I8MM: &[&str] = &["i8mm", "neon"];
const NEON_DOTPROD: &[&str] = &["dotprod", "neon"];

impl Avx512Vnni {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        lacking(AVX512_VNNI).is_none().then_some(Self(()))
    }
}

impl Avx512Bw {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        lacking(AVX512_BW).is_none().then_some(Self(()))
    }
}

impl AvxVnni {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        lacking(AVX_VNNI).is_none().then_some(Self(()))
    }
}

impl NeonI8mm {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        lacking(NEON_I8MM).is_none().then_some(Self(()))
    }
}

impl NeonDotprod {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        lacking(NEON_DOTPROD).is_none().then_some(Self(()))
    }
}

/// A level that this machine can run. Of each of the two ways of the 3×3 ([`Self::directly`]) the results of all levels are equal to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integers {
    /// Tiles of 16 × 16 sums; the 3×3 goes directly.
    Amx(Amx),
    /// 16 sums, products added in one instruction.
    Avx512Vnni(Avx512Vnni),
    /// 16 sums.
    Avx512Bw(Avx512Bw),
    /// 8 sums, products added in one instruction.
    AvxVnni(AvxVnni),
    /// 8 sums.
    Avx2(Avx2),
    /// 8 sums in two registers, four products of bytes added in one instruction.
    NeonI8mm(NeonI8mm),
    /// The same of signed bytes: codes less 128.
    NeonDotprod(NeonDotprod),
    /// 8 sums in two registers.
    Neon(Neon),
    /// Arrays.
    Portable(Portable),
    /// Arrays; the 3×3 goes directly, which is slow: what a machine with tiles computes, on any machine.
    PortableDirect(Portable),
}

impl Integers {
    /// Every name there is, best first.
    pub const NAMES: [&'static str; 10] =
        ["amx", "avx512-vnni", "avx512-bw", "avx-vnni", "avx2", "neon-i8mm", "neon-dotprod", "neon", "portable", "portable-direct"];

    /// The best level of this machine.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Portable(Portable))
    }

    /// The level of a tier that was asked for: the best one with 512 bits for a tier with 512 bits, the best one of NEON for a tier of NEON with more than
    /// that, and what its name says for any other.
    pub fn of(isa: Isa) -> Self {
        let neon = || NeonI8mm::new().map(Self::NeonI8mm).or_else(|| NeonDotprod::new().map(Self::NeonDotprod));
        let wide = || Avx512Vnni::new().map(Self::Avx512Vnni).or_else(|| Avx512Bw::new().map(Self::Avx512Bw));
        match isa {
            Isa::Amx(token) => Some(Self::Amx(token)),
            Isa::Avx512Bf16(_) | Isa::Avx512(_) => wide().or_else(|| Avx2::new().map(Self::Avx2)),
            Isa::Avx2(token) => Some(Self::Avx2(token)),
            Isa::NeonBf16(_) => neon().or_else(|| Neon::new().map(Self::Neon)),
            Isa::Neon(token) => Some(Self::Neon(token)),
            Isa::Portable(_) => None,
        }
        .unwrap_or(Self::Portable(Portable))
    }

    /// Every level of this machine, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().filter_map(Self::by_name)
    }

    /// The level of that name, if this machine has it.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "amx" => Amx::new().map(Self::Amx),
            "avx512-vnni" => Avx512Vnni::new().map(Self::Avx512Vnni),
            "avx512-bw" => Avx512Bw::new().map(Self::Avx512Bw),
            "avx-vnni" => AvxVnni::new().map(Self::AvxVnni),
            "avx2" => Avx2::new().map(Self::Avx2),
            "neon-i8mm" => NeonI8mm::new().map(Self::NeonI8mm),
            "neon-dotprod" => NeonDotprod::new().map(Self::NeonDotprod),
            "neon" => Neon::new().map(Self::Neon),
            "portable" => Some(Self::Portable(Portable)),
            "portable-direct" => Some(Self::PortableDirect(Portable)),
            _ => None,
        }
    }

    /// The name in cache keys and tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx(_) => "amx",
            Self::Avx512Vnni(_) => "avx512-vnni",
            Self::Avx512Bw(_) => "avx512-bw",
            Self::AvxVnni(_) => "avx-vnni",
            Self::Avx2(_) => "avx2",
            Self::NeonI8mm(_) => "neon-i8mm",
            Self::NeonDotprod(_) => "neon-dotprod",
            Self::Neon(_) => "neon",
            Self::Portable(_) => "portable",
            Self::PortableDirect(_) => "portable-direct",
        }
    }

    /// Whether every 3×3 goes directly, with weights of 8 bits, rather than by an integer Winograd where that pays: multiplying is nearly free in tiles, and
    /// transforms are not. The two ways round weights differently, so that codes differ by one here and there.
    pub fn directly(self) -> bool {
        matches!(self, Self::Amx(_) | Self::PortableDirect(_))
    }
}

/// Why a level cannot run here; `None` when it can.
pub fn refusal(name: &str) -> Option<String> {
    match name {
        "amx" => tiles::refusal().map(str::to_owned),
        "avx512-vnni" => lacking(AVX512_VNNI),
        "avx512-bw" => lacking(AVX512_BW),
        "avx-vnni" => lacking(AVX_VNNI),
        "neon-i8mm" => lacking(NEON_I8MM),
        "neon-dotprod" => lacking(NEON_DOTPROD),
        "portable" | "portable-direct" => None,
        _ => crate::isa::refusal(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name is either available or refused with a reason, and is what the level calls itself. A tier's level has its registers.
    #[test]
    fn names_are_available_or_refused() {
        for name in Integers::NAMES {
            assert_eq!(Integers::by_name(name).is_none(), refusal(name).is_some(), "{name}");
            assert!(Integers::by_name(name).is_none_or(|level| level.name() == name));
        }
        assert!(refusal("sse9").is_some());
        for isa in Isa::available().filter(|isa| isa.lanes() == 8) {
            let (level, name) = (Integers::of(isa).name(), isa.name());
            assert!(level == name || name == "neon-bf16" && level.starts_with("neon"), "{level} for {name}");
        }
    }

    /// Says aloud which levels this machine lacks, and fails where `RADNET_REQUIRE_INTEGERS` (a list with commas) names one of those.
    #[test]
    fn required_levels_are_here() {
        let required = std::env::var("RADNET_REQUIRE_INTEGERS").unwrap_or_default();
        for name in Integers::NAMES {
            if let Some(reason) = refusal(name) {
                assert!(!required.split(',').any(|r| r.trim() == name), "RADNET_REQUIRE_INTEGERS names {name}, but {reason}");
                eprintln!("skipped: level {name}: {reason}");
            }
        }
    }
}
