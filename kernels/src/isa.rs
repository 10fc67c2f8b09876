//! Instruction sets as proof tokens: whoever holds a token has asked the processor, so code that needs the set may run.

/// Proof that AVX-512F, BW, VL and BF16, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Bf16(());

/// Proof that AVX-512F, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

/// Proof that AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that NEON is here; its fused multiply-add comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// The tier that needs nothing: arrays of f32 and `f32::mul_add`. Correct everywhere, quick where the target has FMA in its baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portable;

impl Avx512Bf16 {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        BF16.iter().all(|feature| has(feature)).then_some(Self(()))
    }
}

impl Avx512 {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") && Avx2::new().is_some() {
            return Some(Self(()));
        }
        None
    }
}

impl Avx2 {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Some(Self(()));
        }
        None
    }
}

impl Neon {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        has("neon").then_some(Self(()))
    }
}

/// What [`Avx512Bf16`] proves.
const BF16: [&str; 6] = ["avx512bf16", "avx512bw", "avx512vl", "avx512f", "avx2", "fma"];

/// A tier that this machine can run. The fp32 results of all tiers are equal to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 16 lanes, and bf16 in pairs.
    Avx512Bf16(Avx512Bf16),
    /// 16 lanes.
    Avx512(Avx512),
    /// 8 lanes.
    Avx2(Avx2),
    /// 8 lanes in two registers.
    Neon(Neon),
    /// Arrays.
    Portable(Portable),
}

impl Isa {
    /// Every name there is, best first.
    pub const NAMES: [&'static str; 5] = ["avx512-bf16", "avx512", "avx2", "neon", "portable"];

    /// The best tier of this machine.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Portable(Portable))
    }

    /// Every tier of this machine, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().filter_map(Self::by_name)
    }

    /// The tier of that name, if this machine has it.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "avx512-bf16" => Avx512Bf16::new().map(Self::Avx512Bf16),
            "avx512" => Avx512::new().map(Self::Avx512),
            "avx2" => Avx2::new().map(Self::Avx2),
            "neon" => Neon::new().map(Self::Neon),
            "portable" => Some(Self::Portable(Portable)),
            _ => None,
        }
    }

    /// The name in results and cache keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16(_) => "avx512-bf16",
            Self::Avx512(_) => "avx512",
            Self::Avx2(_) => "avx2",
            Self::Neon(_) => "neon",
            Self::Portable(_) => "portable",
        }
    }

    /// Floats of one vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512Bf16(_) | Self::Avx512(_) => 16,
            Self::Avx2(_) | Self::Neon(_) | Self::Portable(_) => 8,
        }
    }
}

/// Why a tier cannot run here; `None` when it can.
pub fn refusal(name: &str) -> Option<String> {
    if Isa::by_name(name).is_some() {
        return None;
    }
    let needs: &[&str] = match name {
        "avx512-bf16" => &BF16,
        "avx512" => &["avx512f", "avx2", "fma"],
        "avx2" => &["avx2", "fma"],
        "neon" => &["neon"],
        _ => return Some(format!("no tier is called {name}")),
    };
    lacking(needs)
}

/// What of these features is not here, in words.
pub(crate) fn lacking(needs: &[&str]) -> Option<String> {
    let (arch, processor) = if needs == ["neon"] { ("aarch64", "an AArch64") } else { ("x86_64", "an x86-64") };
    if std::env::consts::ARCH != arch {
        return Some(format!("not {processor} processor"));
    }
    let missing: Vec<&str> = needs.iter().copied().filter(|f| !has(f)).collect();
    (!missing.is_empty()).then(|| format!("the processor or operating system lacks {}", missing.join(", ")))
}

#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> bool {
    match feature {
        "avx512bf16" => std::arch::is_x86_feature_detected!("avx512bf16"),
        "avx512vnni" => std::arch::is_x86_feature_detected!("avx512vnni"),
        "avxvnni" => std::arch::is_x86_feature_detected!("avxvnni"),
        "avx512bw" => std::arch::is_x86_feature_detected!("avx512bw"),
        "avx512vl" => std::arch::is_x86_feature_detected!("avx512vl"),
        "avx512f" => std::arch::is_x86_feature_detected!("avx512f"),
        "avx2" => std::arch::is_x86_feature_detected!("avx2"),
        "fma" => std::arch::is_x86_feature_detected!("fma"),
        _ => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn has(feature: &str) -> bool {
    feature == "neon" && std::arch::is_aarch64_feature_detected!("neon")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has(_: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name is either available or refused with a reason, never both.
    #[test]
    fn names_are_available_or_refused() {
        for name in Isa::NAMES {
            assert_eq!(Isa::by_name(name).is_none(), refusal(name).is_some(), "{name}");
        }
        assert!(refusal("sse9").is_some());
        assert!(Isa::available().any(|i| i.name() == "portable"));
    }
}
