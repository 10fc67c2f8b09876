//! The one place where the programs look at their environment.

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `RADNET_ISA`: the instruction set to force.
    pub(crate) isa: Option<String>,
    /// `NO_COLOR` is set, or the terminal is `dumb`.
    pub(crate) plain: bool,
}

/// For `--help`.
pub(crate) const HELP: &str = "\
Environment:
  RADNET_ISA  instruction set to force: avx512, avx2 or portable (results do not depend on it)
  NO_COLOR    any value: no colours";

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        Self {
            isa: var("RADNET_ISA").map(|v| v.to_string_lossy().into_owned()),
            plain: var("NO_COLOR").is_some() || var("TERM").is_some_and(|v| v == "dumb"),
        }
    }
}
