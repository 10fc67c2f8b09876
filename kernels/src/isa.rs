//! Instruction sets as proof tokens: whoever holds a token has asked the processor, so code that needs the set may run.

/// Proof that AMX tiles with products of bf16 and of bytes, AVX-512F, BW, VL, BF16 and VNNI, AVX2 and FMA are here, and that this process may use tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amx(());

/// Proof that AVX-512F, BW, VL and BF16, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Bf16(());

/// Proof that AVX-512F, AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

/// Proof that AVX2 and FMA are here and enabled by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that NEON and its products of bf16 are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonBf16(());

/// Proof that NEON is here; its fused multiply-add comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// The tier that needs nothing: arrays of f32 and `f32::mul_add`. Correct everywhere, quick where the target has FMA in its baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portable;

impl Amx {
    /// The token, where the processor has the set and the operating system lets this process use it. Linux wants to be asked for that once a process,
    /// since the frames of signal handlers then hold 8 KiB more; nobody is asked before the first call.
    pub fn new() -> Option<Self> {
        tiles::refusal().is_none().then_some(Self(()))
    }
}

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

impl NeonBf16 {
    /// The token, where the processor has the set.
    pub fn new() -> Option<Self> {
        NEON_BF16.iter().all(|feature| has(feature)).then_some(Self(()))
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

/// What [`NeonBf16`] proves.
const NEON_BF16: [&str; 2] = ["bf16", "neon"];

/// A tier that this machine can run. The fp32 results of all tiers are equal to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 16 lanes, and tiles of bf16 and of codes.
    Amx(Amx),
    /// 16 lanes, and bf16 in pairs.
    Avx512Bf16(Avx512Bf16),
    /// 16 lanes.
    Avx512(Avx512),
    /// 8 lanes.
    Avx2(Avx2),
    /// 8 lanes in two registers, and bf16 in pairs.
    NeonBf16(NeonBf16),
    /// 8 lanes in two registers.
    Neon(Neon),
    /// Arrays.
    Portable(Portable),
}

impl Isa {
    /// Every name there is, best first.
    pub const NAMES: [&'static str; 7] = ["amx", "avx512-bf16", "avx512", "avx2", "neon-bf16", "neon", "portable"];

    /// The best tier of this machine.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Portable(Portable))
    }

    /// The best tier of this machine for float32, which has no use for tiles: nobody is asked for them.
    pub fn detect_for_floats() -> Self {
        Self::NAMES[1..].iter().find_map(|name| Self::by_name(name)).unwrap_or(Self::Portable(Portable))
    }

    /// Every tier of this machine, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().filter_map(Self::by_name)
    }

    /// The tier of that name, if this machine has it.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "amx" => Amx::new().map(Self::Amx),
            "avx512-bf16" => Avx512Bf16::new().map(Self::Avx512Bf16),
            "avx512" => Avx512::new().map(Self::Avx512),
            "avx2" => Avx2::new().map(Self::Avx2),
            "neon-bf16" => NeonBf16::new().map(Self::NeonBf16),
            "neon" => Neon::new().map(Self::Neon),
            "portable" => Some(Self::Portable(Portable)),
            _ => None,
        }
    }

    /// The name in results and cache keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx(_) => "amx",
            Self::Avx512Bf16(_) => "avx512-bf16",
            Self::Avx512(_) => "avx512",
            Self::Avx2(_) => "avx2",
            Self::NeonBf16(_) => "neon-bf16",
            Self::Neon(_) => "neon",
            Self::Portable(_) => "portable",
        }
    }

    /// Floats of one vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Amx(_) | Self::Avx512Bf16(_) | Self::Avx512(_) => 16,
            Self::Avx2(_) | Self::NeonBf16(_) | Self::Neon(_) | Self::Portable(_) => 8,
        }
    }
}

/// Why a tier cannot run here; `None` when it can.
pub fn refusal(name: &str) -> Option<String> {
    if Isa::by_name(name).is_some() {
        return None;
    }
    let needs: &[&str] = match name {
        "amx" => return tiles::refusal().map(str::to_owned).or_else(|| Some("no reason known".into())),
        "avx512-bf16" => &BF16,
        "avx512" => &["avx512f", "avx2", "fma"],
        "avx2" => &["avx2", "fma"],
        "neon-bf16" => &NEON_BF16,
        "neon" => &["neon"],
        _ => return Some(format!("no tier is called {name}")),
    };
    lacking(needs)
}

/// What of these features is not here, in words.
pub(crate) fn lacking(needs: &[&str]) -> Option<String> {
    let (arch, processor) = if needs.contains(&"neon") { ("aarch64", "an AArch64") } else { ("x86_64", "an x86-64") };
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
    match feature {
        "bf16" => std::arch::is_aarch64_feature_detected!("bf16"),
        "dotprod" => std::arch::is_aarch64_feature_detected!("dotprod"),
        "i8mm" => std::arch::is_aarch64_feature_detected!("i8mm"),
        "neon" => std::arch::is_aarch64_feature_detected!("neon"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has(_: &str) -> bool {
    false
}

/// Whether this process can use AMX tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod tiles {
    use super::lacking;
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    use std::sync::OnceLock;

    /// What stands against it; asked once.
    pub(crate) fn refusal() -> Option<&'static str> {
        static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
        REFUSAL.get_or_init(ask).as_deref()
    }

    fn ask() -> Option<String> {
        const AVX512: [&str; 6] = ["avx512bf16", "avx512vnni", "avx512bw", "avx512vl", "avx512f", "fma"];
        if let Some(missing) = lacking(&AVX512) {
            return Some(missing);
        }
        // SDM volume 2, CPUID: leaf 7, EDX bits 22, 24 and 25 are AMX-BF16, AMX-TILE and AMX-INT8; leaf 1, ECX bit 27 says that XGETBV is enabled.
        let (features, system) = (__cpuid_count(7, 0).edx, __cpuid(1).ecx);
        if [22, 24, 25].iter().any(|bit| features >> bit & 1 == 0) {
            return Some("the processor lacks AMX tiles with products of bf16 and of bytes".into());
        }
        // Bits 17 and 18 of XCR0: the system keeps a thread's tiles and their configuration.
        // SAFETY: XGETBV is enabled, as the bit says.
        if system >> 27 & 1 == 0 || unsafe { enabled() } >> 17 & 3 != 3 {
            return Some("the operating system does not keep AMX tiles".into());
        }
        const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
        const XTILEDATA: libc::c_ulong = 18;
        // SAFETY: a system call that takes two numbers and touches no memory.
        let refused = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) };
        (refused != 0).then(|| format!("the operating system refuses AMX tiles to this process: {}", std::io::Error::last_os_error()))
    }

    #[target_feature(enable = "xsave")]
    fn enabled() -> u64 {
        // SAFETY: the caller saw that XGETBV is enabled; register 0 exists wherever it is.
        unsafe { _xgetbv(0) }
    }
}

/// Whether this process can use AMX tiles.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) mod tiles {
    /// What stands against it.
    pub(crate) fn refusal() -> Option<&'static str> {
        Some("AMX tiles are used on x86-64 Linux only")
    }
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
