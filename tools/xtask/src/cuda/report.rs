//! Reads what the compiler says of its kernels: launch bounds from the assembler text, registers and spills from the log.

use super::manifest::{Kernel, Resources};
use std::collections::BTreeMap;

/// The entry points of `ptx` with their launch bounds, by name.
pub(super) fn entry_points(ptx: &str) -> Result<Vec<Kernel>, String> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for line in ptx.lines() {
        if let Some(rest) = line.strip_prefix(".visible .entry ") {
            let name = rest.split('(').next().unwrap_or_default().trim().to_owned();
            kernels.push(Kernel { name, ..Kernel::default() });
        } else if let Some(sizes) = line.strip_prefix(".maxntid ") {
            let threads = sizes.split(',').map(|size| size.trim().parse::<u32>()).product::<Result<u32, _>>();
            last(&mut kernels)?.max_threads = threads.map_err(|_| format!("launch bounds '{line}'"))?;
        } else if let Some(blocks) = line.strip_prefix(".minnctapersm ") {
            last(&mut kernels)?.min_blocks = blocks.trim().parse().map_err(|_| format!("launch bounds '{line}'"))?;
        }
    }
    if let Some(kernel) = kernels.iter().find(|kernel| kernel.max_threads == 0 || kernel.min_blocks == 0) {
        return Err(format!("{}: no launch bounds", kernel.name));
    }
    kernels.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(kernels)
}

fn last(kernels: &mut [Kernel]) -> Result<&mut Kernel, String> {
    kernels.last_mut().ok_or_else(|| "launch bounds before any entry point".to_owned())
}

/// What the assembler says it used, by kernel.
pub(super) fn resources(log: &str) -> Result<BTreeMap<String, Resources>, String> {
    let mut found: BTreeMap<String, Resources> = BTreeMap::new();
    let mut current = String::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            current = rest.split('\'').next().unwrap_or_default().to_owned();
            found.insert(current.clone(), Resources::default());
        }
        let Some(kernel) = found.get_mut(&current) else { continue };
        if line.contains("bytes stack frame") {
            kernel.stack_bytes = number_before(line, "bytes stack frame")?;
            kernel.spill_bytes = number_before(line, "bytes spill stores")? + number_before(line, "bytes spill loads")?;
        } else if line.contains("Used ") && line.contains(" registers") {
            kernel.registers = number_before(line, "registers")?;
            kernel.static_shared_bytes = if line.contains("bytes smem") { number_before(line, "bytes smem")? } else { 0 };
        }
    }
    Ok(found)
}

fn number_before(line: &str, words: &str) -> Result<u32, String> {
    let number = line.split_once(words).and_then(|(before, _)| before.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next());
    number.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("no number before '{words}' in '{line}'"))
}

/// Lines of the log that are neither of the assembler's report nor blank: warnings, and what the assembler did to products ("C7510: …").
pub(super) fn warnings(log: &str) -> Vec<&str> {
    let report = |line: &str| (line.starts_with("ptxas info") && !line.contains("(C7")) || line.starts_with("ptxas         .");
    log.lines().filter(|line| !line.trim().is_empty() && !report(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a_f16' for 'sm_80'
ptxas info    : Function properties for a_f16
ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 1024 bytes smem, 376 bytes cmem[0]
ptxas info    : Compile time = 2.162 ms
ptxas info    : Compiling entry function 'b' for 'sm_80'
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 1 barriers
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
x.cu(3): warning #177-D: variable was declared but never referenced
";

    /// Each kernel gets its own lines, spills are stores and loads together, and a line that is no report is a warning.
    #[test]
    fn reads_the_assemblers_report() {
        let found = resources(LOG).expect("well formed");
        let a = Resources { registers: 128, spill_bytes: 20, stack_bytes: 16, static_shared_bytes: 1024 };
        let b = Resources { registers: 10, ..Resources::default() };
        assert_eq!(found, BTreeMap::from([("a_f16".to_owned(), a), ("b".to_owned(), b)]));
        assert_eq!(warnings(LOG).len(), 2);
    }

    /// Launch bounds belong to the entry point above them; one without any is refused, since a launch could not be checked.
    #[test]
    fn reads_launch_bounds() {
        let ptx = ".visible .entry b(\n)\n.maxntid 128, 2, 1\n.minnctapersm 3\n{\n}\n.visible .entry a(\n)\n.maxntid 32\n.minnctapersm 1\n";
        let kernels = entry_points(ptx).expect("well formed");
        let bounds: Vec<_> = kernels.iter().map(|kernel| (kernel.name.as_str(), kernel.max_threads, kernel.min_blocks)).collect();
        assert_eq!(bounds, [("a", 32, 1), ("b", 256, 3)]);
        assert!(entry_points(".visible .entry a(\n)\n{\n}\n").is_err());
    }
}
