//! `manifest.json`: what was compiled, from what, by what.

use super::packed::{self, packed_name, unpacked_name};
use super::{prebuilt_folder, sources_folder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The compiler's package version.
    pub compiler: String,
    /// The options that all targets share.
    pub options: Vec<String>,
    /// The version that the PTX files say they need.
    pub ptx_version: String,
    /// SHA-256 of every source by its path below `kernels/cuda`.
    pub sources: BTreeMap<String, String>,
    /// Every compiled file.
    pub modules: Vec<Module>,
}

/// One compiled file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// "dense.sm_80.cubin"; committed packed, with ".z" after it.
    pub file: String,
    /// "dense".
    pub family: String,
    /// "sm_80".
    pub target: String,
    /// Its size, unpacked.
    pub bytes: usize,
    /// Its hash, unpacked.
    pub sha256: String,
    /// Its entry points, by name.
    pub kernels: Vec<Kernel>,
}

/// One entry point on one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The entry point.
    pub name: String,
    /// The largest block it may be launched with.
    pub max_threads: u32,
    /// The blocks that the compiler left room for on a multiprocessor.
    pub min_blocks: u32,
    /// What the compiler used; none for PTX, which the driver compiles.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// What the compiler used for a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes stored and loaded again because the registers were not enough.
    pub spill_bytes: u32,
    /// Local memory of a thread.
    pub stack_bytes: u32,
    /// Shared memory that the kernel declares itself, beside what a launch gives it.
    pub static_shared_bytes: u32,
}

impl Manifest {
    /// The committed one.
    ///
    /// # Errors
    /// It is missing or not of this form.
    pub fn committed() -> Result<Self, String> {
        let file = prebuilt_folder().join("manifest.json");
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// As it is written.
    ///
    /// # Errors
    /// Never, for a manifest that was read or built.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| error.to_string())
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every `.cu` and `.cuh` below `kernels/cuda`: its path there with `/`, and its text.
///
/// # Errors
/// A file that cannot be read as UTF-8.
pub(super) fn sources() -> Result<BTreeMap<String, String>, String> {
    let root = sources_folder();
    let mut found = BTreeMap::new();
    for folder in ["", "common"] {
        let path = root.join(folder);
        let entries = std::fs::read_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| error.to_string())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".cu") || name.ends_with(".cuh") {
                let text = std::fs::read_to_string(entry.path()).map_err(|error| format!("{}: {error}", entry.path().display()))?;
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                found.insert(name, text);
            }
        }
    }
    Ok(found)
}

/// A source with everything that it includes, directly or not.
pub(super) fn included(sources: &BTreeMap<String, String>, file: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![file.to_owned()];
    while let Some(name) = open.pop() {
        let Some(text) = sources.get(&name) else { continue };
        let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let includes = text.lines().filter_map(|line| line.trim_start().strip_prefix("#include \"")?.split('"').next());
        // As the compiler looks: beside the file that includes, then in the folder of the sources.
        open.extend(includes.flat_map(|path| [format!("{folder}{path}"), path.to_owned()]).filter(|path| !found.contains(path)));
        found.insert(name);
    }
    found
}

/// Hashes of sources, as the manifest has them.
pub(super) fn hashes(sources: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    sources.iter().map(|(name, text)| (name.clone(), sha256(text.as_bytes()))).collect()
}

/// Says what in `kernels/cuda/prebuilt` is not what the manifest says, and which sources have changed since: needs no compiler.
///
/// # Errors
/// A folder or the manifest that cannot be read.
pub fn fresh() -> Result<Vec<String>, String> {
    let manifest = Manifest::committed()?;
    let now = hashes(&sources()?);
    let names: BTreeSet<&String> = now.keys().chain(manifest.sources.keys()).collect();
    let changed = names.into_iter().filter(|name| now.get(*name) != manifest.sources.get(*name));
    let mut complaints: Vec<String> = changed.map(|name| format!("kernels/cuda/{name} is not what was compiled")).collect();
    let folder = prebuilt_folder();
    for module in &manifest.modules {
        if packed::committed(module).is_none() {
            complaints.push(format!("{} is missing, or is not what the manifest says", packed_name(&module.file)));
        }
    }
    complaints.extend(strangers(&folder, &manifest)?);
    let table = std::fs::read_to_string(folder.join("modules.rs")).map_err(|error| format!("modules.rs: {error}"))?;
    if table != super::build::modules_rs(&manifest) {
        complaints.push("modules.rs does not list what the manifest does".into());
    }
    Ok(complaints)
}

/// Compiled files that the manifest does not know.
fn strangers(folder: &Path, manifest: &Manifest) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let compiled = names.filter(|name| unpacked_name(name).is_some());
    let unknown = compiled.filter(|name| !manifest.modules.iter().any(|module| packed_name(&module.file) == *name));
    Ok(unknown.map(|name| format!("{name} is not in the manifest")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers are followed through headers, whichever folder they name them from, and in a circle only once.
    #[test]
    fn includes_are_followed() {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let sources = BTreeMap::from([
            file("a.cu", "#include \"common/x.cuh\"\n#include \"emulation.h\"\n"),
            file("common/x.cuh", "#pragma once\n  #include \"y.cuh\"\n"),
            file("common/y.cuh", "#include \"common/x.cuh\"\n"),
            file("common/z.cuh", ""),
            file("b.cu", ""),
        ]);
        assert_eq!(included(&sources, "a.cu").into_iter().collect::<Vec<_>>(), ["a.cu", "common/x.cuh", "common/y.cuh"]);
    }
}
