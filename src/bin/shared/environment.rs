//! The one place where the programs look at their environment.

use std::path::PathBuf;

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `RADNET_ISA`: the instruction set to force.
    pub(crate) isa: Option<String>,
    /// `NO_COLOR` is set, or the terminal is `dumb`.
    pub(crate) plain: bool,
    /// `RADNET_CACHE_DIR`, else `radnet` in the user's cache folder: where packed weights are kept.
    pub(crate) cache_dir: Option<PathBuf>,
}

/// For `--help`.
pub(crate) const HELP: &str = "\
Environment:
  RADNET_ISA  instruction set to force: avx512, avx2 or portable (results do not depend on it)
  RADNET_CACHE_DIR  folder for packed weights [default: `radnet` in the user's cache folder]
  NO_COLOR    any value: no colours";

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        Self {
            isa: var("RADNET_ISA").map(|v| v.to_string_lossy().into_owned()),
            cache_dir: var("RADNET_CACHE_DIR").map(PathBuf::from).or_else(|| user_cache(&var).map(|folder| folder.join("radnet"))),
            plain: var("NO_COLOR").is_some() || var("TERM").is_some_and(|v| v == "dumb"),
        }
    }
}

/// The user's cache folder by the custom of the system: XDG, macOS, Windows. Relative values of `XDG_CACHE_HOME` do not count.
fn user_cache(var: &impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let home = || var("HOME").map(PathBuf::from);
    if cfg!(windows) {
        var("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        home().map(|h| h.join("Library/Caches"))
    } else {
        var("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute()).or_else(|| home().map(|h| h.join(".cache")))
    }
}
