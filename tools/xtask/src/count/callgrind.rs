//! Instructions of each workload, by callgrind.
//!
//! This program runs itself under it: collection is on only inside [`counted_workload`], and its end writes one file.

use super::tools;
use radnet_kernels::Isa;
use radnet_workloads::{Set, Workload, all};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// As callgrind calls the function below.
const COUNTED: &str = "xtask::count::callgrind::counted_workload";

/// What is counted: one run.
#[inline(never)]
fn counted_workload(workload: &mut Workload, isa: Isa) {
    workload.run(isa);
    // Keeps this a function of its own, with something left to do after the call.
    std::hint::black_box(workload);
}

/// Runs every workload on a tier: once for whatever happens only at first, then counted.
///
/// # Errors
/// When the tier is not here.
pub fn run_workloads(tier: &str) -> Result<(), String> {
    let isa = Isa::by_name(tier).ok_or_else(|| radnet_kernels::isa::refusal(tier).unwrap_or_default())?;
    for mut workload in all(Set::Counted) {
        workload.run(isa);
        counted_workload(&mut workload, isa);
    }
    Ok(())
}

/// The instructions of each workload on a tier.
pub(super) fn count(tier: &str) -> Result<BTreeMap<String, u64>, String> {
    let folder = tempfile::tempdir().map_err(|e| format!("a folder for callgrind: {e}"))?;
    let program = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let prefix = folder.path().join("out");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").args(["toggle-collect", "dump-after"].map(|option| format!("--{option}={COUNTED}")));
    command.arg(format!("--callgrind-out-file={}", prefix.display())).arg(program).args(["count", "--run", tier]);
    tools::output(&mut command)?;
    let names: Vec<String> = all(Set::Counted).iter().map(Workload::name).collect();
    let total = |number: usize| total(&folder.path().join(format!("out.{number}")));
    names.into_iter().enumerate().map(|(i, name)| Ok((name, total(i + 1)?))).collect()
}

/// The sum that a file of callgrind ends with.
fn total(path: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    instructions(&text).ok_or_else(|| format!("{}: callgrind counted nothing", path.display()))
}

fn instructions(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))?;
    line.split_whitespace().next()?.parse().ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last total counts; a file without one, or of nothing, is refused.
    #[test]
    fn totals_are_read() {
        assert_eq!(instructions("version: 1\nsummary: 12\n\nfn=(1)\n3 4\ntotals: 7 9\n"), Some(7));
        assert_eq!(instructions("version: 1\nsummary: 12\n"), Some(12));
        assert_eq!(instructions("totals: 0\n"), None);
        assert_eq!(instructions("fn=(1)\n"), None);
    }
}
