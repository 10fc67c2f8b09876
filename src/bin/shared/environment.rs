//! The one place where the programs look at their environment.

use std::path::PathBuf;

/// What the environment says; options on the command line win over it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `RADNET_ISA`: the instruction set to force.
    pub(crate) isa: Option<String>,
    /// Where packed weights are kept: `RADNET_CACHE_DIR`, else `radnet` in the platform's cache folder.
    pub(crate) cache_dir: Option<PathBuf>,
    /// `NO_COLOR` is set, or the terminal is `dumb`.
    pub(crate) plain: bool,
}

/// For `--help`.
pub(crate) const HELP: &str = "\
Environment:
  RADNET_ISA        instruction set to force: amx, avx512-bf16, avx512, avx2, neon-bf16, neon or portable (no result
                    depends on it in fp32; in int8 the codes of amx differ from all others, in bf16 the sums of amx
                    and of those named after bf16)
  RADNET_CACHE_DIR  folder for packed weights; an empty value means none
                    [default: radnet in XDG_CACHE_HOME, ~/.cache, ~/Library/Caches or %LOCALAPPDATA%]
  NO_COLOR          any value: no colours";

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let var = |name: &str| std::env::var_os(name);
        let folder = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache_dir = match var("RADNET_CACHE_DIR") {
            Some(value) if value.is_empty() => None,
            Some(value) => Some(PathBuf::from(value)),
            None => platform_cache(&folder).map(|f| f.join("radnet")),
        };
        Self {
            isa: var("RADNET_ISA").filter(|v| !v.is_empty()).map(|v| v.to_string_lossy().into_owned()),
            cache_dir,
            plain: var("NO_COLOR").is_some_and(|v| !v.is_empty()) || var("TERM").is_some_and(|v| v == "dumb"),
        }
    }
}

/// The folder that the platform sets aside for what can be made again. XDG wants relative values ignored.
fn platform_cache(folder: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = || folder("HOME").filter(|h| h.is_absolute());
    if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|h| h.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").filter(|f| f.is_absolute()).or_else(|| home().map(|h| h.join(".cache")))
    }
}
