//! The compiled kernels inside this program, and which of them a device runs.
//!
//! `cargo xtask cuda` compiles every kernel file for every target; the results are committed, so that a build needs no compiler for GPUs and
//! a machine nothing but NVIDIA's driver.

use flate2::read::ZlibDecoder;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Read;

/// The kernels of one file for one target.
#[derive(Debug)]
pub struct Module {
    /// The kernel file without its ending.
    pub family: &'static str,
    /// "sm_80" and "sm_90a" are machine code, "compute_80" is assembler text for the driver to compile.
    pub target: &'static str,
    /// The size of what the driver loads.
    pub bytes: usize,
    /// Its SHA-256 in hexadecimal, as in `manifest.json`.
    pub sha256: &'static str,
    /// It as a zlib stream.
    pub packed: &'static [u8],
    /// The entry points in it.
    pub kernels: &'static [&'static str],
}

impl Module {
    /// What the driver loads. Nothing is allocated beyond its size, whatever the stream holds.
    ///
    /// # Errors
    /// In words, where it is not what was compiled.
    pub fn image(&self) -> Result<Vec<u8>, String> {
        let mut image = Vec::with_capacity(self.bytes + 1);
        let unpacked = ZlibDecoder::new(self.packed).take(self.bytes as u64 + 1).read_to_end(&mut image);
        unpacked.map_err(|error| format!("it cannot be unpacked ({error})"))?;
        if image.len() != self.bytes {
            return Err(format!("it does not unpack to {} bytes", self.bytes));
        }
        let hash: String = Sha256::digest(&image).iter().map(|byte| format!("{byte:02x}")).collect();
        if hash == self.sha256 { Ok(image) } else { Err("it is not what was compiled".to_owned()) }
    }
}

/// All of them. Not a constant: each crate that named it would hold the images once more.
pub static MODULES: &[Module] = include!("../../cuda/prebuilt/modules.rs");

/// No kernel is made for anything older (Ampere).
pub const OLDEST_CAPABILITY: (u32, u32) = (8, 0);

/// What a module is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    capability: (u32, u32),
    /// Whether it uses what only this capability has.
    exact: bool,
    text: bool,
}

impl Target {
    fn parse(name: &str) -> Option<Self> {
        let (digits, text) = match (name.strip_prefix("sm_"), name.strip_prefix("compute_")) {
            (Some(digits), _) => (digits, false),
            (_, Some(digits)) => (digits, true),
            _ => return None,
        };
        let exact = digits.ends_with('a');
        let number: u32 = digits.trim_end_matches('a').parse().ok()?;
        Some(Self { capability: (number / 10, number % 10), exact, text })
    }

    /// Why a device cannot run it; none when it can.
    fn refusal(self, device: (u32, u32)) -> Option<String> {
        let (major, minor) = self.capability;
        if device < OLDEST_CAPABILITY {
            return Some("the kernels need compute capability 8.0 or newer".to_owned());
        }
        match self {
            Self { text: true, .. } => (device < self.capability).then(|| format!("for compute capability {major}.{minor} or newer")),
            Self { exact: true, .. } => (device != self.capability).then(|| format!("for compute capability {major}.{minor} alone")),
            _ if INTEGRATED.contains(&device) => Some("machine code for cards does not run on integrated GPUs".to_owned()),
            _ => (device.0 != major || device.1 < minor).then(|| format!("for compute capability {major}.{minor} to {major}.9")),
        }
    }
}

/// Tegra: NVIDIA promises no binary compatibility between these and cards.
const INTEGRATED: [(u32, u32); 3] = [(8, 7), (10, 1), (11, 0)];

/// What kernels for `target` may rely on where they run: text was written for an older device, machine code for this one or its like.
pub(super) fn capability_of_code(target: &str, device: (u32, u32)) -> (u32, u32) {
    Target::parse(target).filter(|t| t.text).map_or(device, |t| t.capability.min(device))
}

/// What a device thinks of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The target.
    pub target: &'static str,
    /// Why it cannot run there; none when it can.
    pub refusal: Option<String>,
}

/// Which targets a device runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Compute capability.
    pub capability: (u32, u32),
    /// Every target there is, the best first among those that run, then those that do not.
    pub verdicts: Vec<Verdict>,
}

impl Choice {
    /// Judges the targets of `modules` for a device: the newest machine code that runs, older machine code, text for the driver's compiler.
    pub fn new(modules: &'static [Module], capability: (u32, u32)) -> Self {
        let mut targets: Vec<(Option<String>, Option<Target>, &'static str)> = Vec::new();
        for module in modules {
            if targets.iter().all(|(_, _, name)| *name != module.target) {
                let target = Target::parse(module.target);
                let refusal = target.map_or_else(|| Some("its name is no target".to_owned()), |t| t.refusal(capability));
                targets.push((refusal, target, module.target));
            }
        }
        let rank = |target: &Option<Target>| target.map(|t| (!t.text, t.exact, t.capability));
        targets.sort_by(|a, b| a.0.is_some().cmp(&b.0.is_some()).then_with(|| rank(&b.1).cmp(&rank(&a.1))));
        Self { capability, verdicts: targets.into_iter().map(|(refusal, _, target)| Verdict { target, refusal }).collect() }
    }

    /// The targets of [`MODULES`].
    pub fn of_this_build(capability: (u32, u32)) -> Self {
        Self::new(MODULES, capability)
    }

    /// The targets that run, best first.
    pub fn usable(&self) -> impl Iterator<Item = &'static str> {
        self.verdicts.iter().filter(|v| v.refusal.is_none()).map(|v| v.target)
    }

    /// Why nothing runs; none when something does.
    pub fn refusal(&self) -> Option<String> {
        let (major, minor) = self.capability;
        match self.usable().next() {
            Some(_) => None,
            None if self.capability < OLDEST_CAPABILITY => {
                Some(format!("compute capability {major}.{minor}: the kernels need 8.0 or newer (Ampere)"))
            }
            None => Some(format!("compute capability {major}.{minor}: this build has no kernels for it")),
        }
    }
}

/// "8.9: sm_86, then sm_80, then compute_80; not sm_90a (for compute capability 9.0 alone)".
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: ", self.capability.0, self.capability.1)?;
        let usable: Vec<&str> = self.usable().collect();
        f.write_str(if usable.is_empty() { "nothing" } else { "" })?;
        f.write_str(&usable.join(", then "))?;
        for (index, verdict) in self.verdicts.iter().filter(|v| v.refusal.is_some()).enumerate() {
            f.write_str(if index == 0 { "; not " } else { ", " })?;
            write!(f, "{} ({})", verdict.target, verdict.refusal.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn module(target: &'static str) -> Module {
        Module { family: "dense", target, bytes: 0, sha256: "", packed: &[], kernels: &[] }
    }

    /// All the targets of `cargo xtask cuda`, in an order of no meaning.
    static ALL: [Module; 6] =
        [module("compute_80"), module("sm_80"), module("sm_120"), module("sm_90a"), module("sm_86"), module("sm_100a")];

    #[test]
    fn each_capability_has_its_best_kernels() {
        for (capability, usable) in [
            ((7, 5), &[][..]),
            ((8, 0), &["sm_80", "compute_80"]),
            ((8, 6), &["sm_86", "sm_80", "compute_80"]),
            ((8, 7), &["compute_80"]),
            ((8, 9), &["sm_86", "sm_80", "compute_80"]),
            ((9, 0), &["sm_90a", "compute_80"]),
            ((10, 0), &["sm_100a", "compute_80"]),
            ((10, 3), &["compute_80"]),
            ((12, 0), &["sm_120", "compute_80"]),
            ((12, 1), &["sm_120", "compute_80"]),
            ((13, 0), &["compute_80"]),
        ] {
            let choice = Choice::new(&ALL, capability);
            assert_eq!(choice.usable().collect::<Vec<_>>(), usable, "{choice}");
            assert_eq!(choice.refusal().is_some(), usable.is_empty());
            assert_eq!(choice.verdicts.len(), ALL.len());
        }
    }

    /// Every refusal has its reason in words.
    #[test]
    fn a_choice_can_be_read() {
        let text = Choice::new(&ALL, (8, 0)).to_string();
        assert_eq!(
            text,
            "8.0: sm_80, then compute_80; not sm_100a (for compute capability 10.0 alone), sm_90a (for compute capability 9.0 alone), \
             sm_120 (for compute capability 12.0 to 12.9), sm_86 (for compute capability 8.6 to 8.9)"
        );
        let old = Choice::new(&ALL, (7, 5));
        assert!(old.to_string().starts_with("7.5: nothing; not "), "{old}");
        assert_eq!(old.refusal().unwrap(), "compute capability 7.5: the kernels need 8.0 or newer (Ampere)");
        assert!(Choice::new(&[], (9, 0)).refusal().unwrap().contains("no kernels"));
    }

    /// Text for old devices has nothing in it that came later, wherever it runs.
    #[test]
    fn text_is_as_old_as_it_says() {
        assert_eq!(capability_of_code("compute_80", (10, 3)), (8, 0));
        assert_eq!((capability_of_code("sm_80", (8, 9)), capability_of_code("sm_90a", (9, 0))), ((8, 9), (9, 0)));
    }

    /// A stream that is cut, changed, longer or shorter than it should be, or that holds something else, is told from the right one.
    #[test]
    fn damage_is_found() {
        let module = MODULES.iter().min_by_key(|module| module.bytes).unwrap();
        let with = |packed: Vec<u8>, bytes: usize, sha256| Module { packed: packed.leak(), bytes, sha256, ..*module }.image();
        let packed = module.packed.to_vec();
        assert_eq!(with(packed.clone(), module.bytes, module.sha256).unwrap().len(), module.bytes);
        assert!(with(packed[..packed.len() / 2].to_vec(), module.bytes, module.sha256).unwrap_err().contains("unpack"));
        let changed: Vec<u8> = packed.iter().enumerate().map(|(i, byte)| if i == packed.len() - 1 { byte ^ 1 } else { *byte }).collect();
        assert!(with(changed, module.bytes, module.sha256).unwrap_err().contains("unpack"));
        assert!(with(packed.clone(), module.bytes - 1, module.sha256).unwrap_err().contains("bytes"));
        assert!(with(packed.clone(), module.bytes + 1, module.sha256).unwrap_err().contains("bytes"));
        assert!(with(packed, module.bytes, MODULES[0].sha256).unwrap_err().contains("not what was compiled"));
    }

    /// What is committed is well formed: known targets, images that unpack to what was compiled and are what their target says, no kernel in two families.
    #[test]
    fn what_is_built_in_is_well_formed() {
        let mut homes = std::collections::HashMap::new();
        for module in MODULES {
            let target = Target::parse(module.target).unwrap();
            let machine_code = module.image().unwrap().starts_with(b"\x7fELF");
            assert_eq!(machine_code, !target.text, "{}.{}", module.family, module.target);
            assert!(target.text || !module.kernels.is_empty());
            for kernel in module.kernels {
                assert_eq!(*homes.entry(kernel).or_insert(module.family), module.family, "{kernel}");
            }
        }
    }
}
