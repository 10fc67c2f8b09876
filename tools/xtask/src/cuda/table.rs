//! `benches/gpu/RESOURCES.md`: registers, shared memory, spills and occupancy of every kernel on every target.

use super::manifest::{Kernel, Manifest, Resources};
use super::{PTX_TARGET, TARGETS};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a multiprocessor of a target has: CUDA's table of technical specifications per compute capability.
struct Multiprocessor {
    target: &'static str,
    threads: u32,
    blocks: u32,
    shared_bytes: u32,
}

const MULTIPROCESSORS: [Multiprocessor; 4] = [
    Multiprocessor { target: "sm_80", threads: 2048, blocks: 32, shared_bytes: 164 << 10 },
    Multiprocessor { target: "sm_90a", threads: 2048, blocks: 32, shared_bytes: 228 << 10 },
    Multiprocessor { target: "sm_100a", threads: 2048, blocks: 32, shared_bytes: 228 << 10 },
    Multiprocessor { target: "sm_120", threads: 1536, blocks: 24, shared_bytes: 100 << 10 },
];

const REGISTERS: u32 = 65536;
/// Registers are given to warps in steps of this many.
const REGISTER_STEP: u32 = 256;
/// Shared memory is given to blocks in steps of this many bytes, after what the system keeps.
const SHARED_STEP: u32 = 128;
const SHARED_OF_THE_SYSTEM: u32 = 1024;
const WARP: u32 = 32;

/// The largest block and the most shared memory that a model's launches give a kernel, as `radnet-gpu launches` writes them.
#[derive(Clone, Debug, Deserialize)]
struct Launches {
    kernel: String,
    target: String,
    block: u32,
    shared_bytes: u32,
}

/// Writes the table.
///
/// # Errors
/// The manifest or the launches cannot be read.
pub fn write_table() -> Result<(), String> {
    let folder = crate::repository().join("benches/gpu");
    let launches = folder.join("launches.json");
    let text = std::fs::read_to_string(&launches).map_err(|error| format!("{}: {error}", launches.display()))?;
    let launches: Vec<Launches> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", launches.display()))?;
    let table = markdown(&Manifest::committed()?, &launches);
    let file = folder.join("RESOURCES.md");
    std::fs::write(&file, table).map_err(|error| format!("{}: {error}", file.display()))
}

fn markdown(manifest: &Manifest, launches: &[Launches]) -> String {
    let mut rows: BTreeMap<&str, BTreeMap<&str, &Kernel>> = BTreeMap::new();
    for module in manifest.modules.iter().filter(|module| module.target != PTX_TARGET) {
        for kernel in &module.kernels {
            rows.entry(&kernel.name).or_default().insert(&module.target, kernel);
        }
    }
    let cubins = TARGETS.iter().filter(|&&target| target != PTX_TARGET);
    let mut text = format!(
        "# Resources of the CUDA kernels\nMade by `cargo xtask cuda --table` from what {} reports; computed, not measured on a device.\n\n\
         A cell: registers of a thread · dynamic shared memory of a block in KiB · blocks of that many threads on a multiprocessor = part of \
         its threads that are busy. Block and shared memory are the largest that DenseNet-121 at 256×256 and 512×512 launches \
         (`launches.json`); where it launches a kernel on no such device, the launch bounds stand in, and the shared memory is left out. \
         Spills and stack are 0 where a cell does not name them.\n\n| kernel |",
        manifest.compiler
    );
    for target in cubins.clone() {
        // Writing to a string cannot fail.
        let _ = write!(text, " {target} |");
    }
    text.push_str("\n|---|---|---|---|---|\n");
    for (name, targets) in rows {
        let _ = write!(text, "| {name} |");
        for target in cubins.clone() {
            let cell = targets.get(target).map_or_else(|| "–".into(), |kernel| cell(kernel, target, launches));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

fn cell(kernel: &Kernel, target: &str, launches: &[Launches]) -> String {
    let Some(resources) = kernel.resources else { return "–".into() };
    let launch = launches.iter().find(|launch| launch.kernel == kernel.name && launch.target == target);
    let (block, shared) = launch.map_or((kernel.max_threads, None), |launch| (launch.block, Some(launch.shared_bytes)));
    let Some(blocks) = resident_blocks(target, block, resources, shared.unwrap_or(0)) else { return "–".into() };
    let threads = MULTIPROCESSORS.iter().find(|multiprocessor| multiprocessor.target == target).map_or(1, |found| found.threads);
    let shared = shared.map(|bytes| format!("{:.1} KiB · ", f64::from(bytes) / 1024.0)).unwrap_or_default();
    let mut cell = format!("{} · {shared}{blocks} × {block} = {} %", resources.registers, 100 * blocks * block / threads);
    if resources.spill_bytes > 0 {
        let _ = write!(cell, " · **{} B spilled**", resources.spill_bytes);
    }
    if resources.stack_bytes > 0 {
        let _ = write!(cell, " · {} B stack", resources.stack_bytes);
    }
    cell
}

/// How many blocks fit on a multiprocessor at once.
fn resident_blocks(target: &str, block: u32, resources: Resources, dynamic_shared: u32) -> Option<u32> {
    let has = MULTIPROCESSORS.iter().find(|multiprocessor| multiprocessor.target == target)?;
    let warps = block.div_ceil(WARP).max(1);
    let registers_of_a_warp = (resources.registers * WARP).next_multiple_of(REGISTER_STEP).max(REGISTER_STEP);
    let shared = (resources.static_shared_bytes + dynamic_shared + SHARED_OF_THE_SYSTEM).next_multiple_of(SHARED_STEP);
    let limits = [has.blocks, has.threads / (warps * WARP), REGISTERS / registers_of_a_warp / warps, has.shared_bytes / shared];
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(target: &str, block: u32, registers: u32, shared: u32) -> Option<u32> {
        resident_blocks(target, block, Resources { registers, ..Resources::default() }, shared)
    }

    /// Each limit in turn decides: registers, threads, blocks, shared memory.
    #[test]
    fn the_scarcest_resource_decides() {
        assert_eq!(blocks("sm_90a", 256, 128, 0), Some(2));
        assert_eq!(blocks("sm_90a", 256, 32, 0), Some(8));
        assert_eq!(blocks("sm_90a", 32, 32, 0), Some(32));
        assert_eq!(blocks("sm_90a", 128, 32, 113 << 10), Some(2));
        assert_eq!(blocks("sm_80", 128, 32, 113 << 10), Some(1));
        assert_eq!(blocks("sm_120", 1024, 32, 0), Some(1));
        assert_eq!(blocks("sm_77", 32, 32, 0), None);
    }
}
