//! Compiles every family for every target.

use super::manifest::{self, Kernel, Manifest, Module, sha256};
use super::nvrtc::{COMPILER, Nvrtc};
use super::packed::{pack, packed_name, unpack, unpacked_name};
use super::toolchain::{Toolchain, set_mode};
use super::{PTX_TARGET, TARGETS, packed, prebuilt_folder, report, sources_folder};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Options of every compilation; the target and the folder of the headers are added.
const OPTIONS: [&str; 2] = ["--std=c++17", "--ptxas-options=-v"];

/// Versions that PTX may claim, from the oldest driver's on.
const PTX_VERSIONS: [&str; 9] = ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.7", "7.8"];

/// Everything that `kernels/cuda/prebuilt` should hold.
#[derive(Debug)]
pub struct Built {
    /// What is said of it.
    pub manifest: Manifest,
    /// The compiled files by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
}

/// Compiles; the same sources give the same bytes. With `reuse`, families whose source and included headers are those of the committed
/// manifest are taken from there.
///
/// # Errors
/// The compiler's words, or a kernel name that two families use.
pub fn build(toolchain: &Toolchain, reuse: bool) -> Result<Built, String> {
    let nvrtc = Nvrtc::load(&toolchain.nvrtc())?;
    let committed = if reuse { Manifest::committed().ok() } else { None };
    let sources = manifest::sources()?;
    let mut built = Built {
        manifest: Manifest {
            compiler: COMPILER.into(),
            options: OPTIONS.map(str::to_owned).to_vec(),
            ptx_version: PTX_VERSIONS[0].into(),
            sources: manifest::hashes(&sources),
            modules: Vec::new(),
        },
        files: BTreeMap::new(),
        warnings: Vec::new(),
    };
    for (name, text) in &sources {
        if let Some(family) = name.strip_suffix(".cu") {
            if committed.as_ref().is_some_and(|committed| reused(committed, family, &sources, &mut built)) {
                continue;
            }
            for target in TARGETS {
                compile(&nvrtc, &mut built, family, text, target)?;
            }
        }
    }
    lower_ptx(toolchain, &mut built)?;
    for module in &mut built.manifest.modules {
        let bytes = &built.files[&module.file];
        module.bytes = bytes.len();
        module.sha256 = sha256(bytes);
    }
    unique_names(&built.manifest)?;
    Ok(built)
}

/// Takes a family's files as they are committed; false when anything that they were made of or from has changed.
fn reused(committed: &Manifest, family: &str, sources: &BTreeMap<String, String>, built: &mut Built) -> bool {
    let now = &built.manifest;
    let parts = manifest::included(sources, &format!("{family}.cu"));
    let mattered = |(name, _): &(&String, &String)| parts.contains(*name);
    let same = committed.compiler == now.compiler
        && committed.options == now.options
        && committed.sources.iter().filter(mattered).eq(now.sources.iter().filter(mattered));
    let modules: Vec<Module> = committed.modules.iter().filter(|module| module.family == family).cloned().collect();
    let every_target = TARGETS.iter().all(|target| committed.modules.iter().any(|module| module.target == *target));
    if !same || !every_target || modules.is_empty() || modules.iter().any(|module| !TARGETS.contains(&module.target.as_str())) {
        return false;
    }
    let Some(files) = modules.iter().map(packed::committed).collect::<Option<Vec<_>>>() else { return false };
    built.files.extend(modules.iter().map(|module| module.file.clone()).zip(files));
    built.manifest.modules.extend(modules);
    true
}

fn compile(nvrtc: &Nvrtc, built: &mut Built, family: &str, text: &str, target: &str) -> Result<(), String> {
    let folder = sources_folder();
    let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut options = vec![format!("--gpu-architecture={target}"), format!("--include-path={}", folder.display())];
    options.extend(OPTIONS.map(str::to_owned));
    let source = format!("{family}.cu");
    let started = std::time::Instant::now();
    let compiled = nvrtc.compile(&source, text, &options).map_err(|error| format!("{target}: {error}"))?;
    let mut kernels = report::entry_points(&compiled.ptx).map_err(|error| format!("{source} for {target}: {error}"))?;
    eprintln!("{source} for {target}: {} kernels, {:.1} s", kernels.len(), started.elapsed().as_secs_f64());
    // Where a family has no kernel, its helpers are unused, and warnings say nothing.
    if kernels.is_empty() {
        return Ok(());
    }
    built.warnings.extend(report::warnings(&compiled.log).iter().map(|line| format!("{source} for {target}: {line}")));
    let (extension, bytes) = if target == PTX_TARGET { ("ptx", compiled.ptx.into_bytes()) } else { ("cubin", compiled.cubin) };
    if extension == "cubin" {
        add_resources(&mut kernels, &compiled.log).map_err(|error| format!("{source} for {target}: {error}"))?;
    }
    let file = format!("{family}.{target}.{extension}");
    let hash = String::new();
    let module = Module { file: file.clone(), family: family.into(), target: target.into(), bytes: bytes.len(), sha256: hash, kernels };
    built.manifest.modules.push(module);
    built.files.insert(file, bytes);
    Ok(())
}

fn add_resources(kernels: &mut [Kernel], log: &str) -> Result<(), String> {
    let resources = report::resources(log)?;
    for kernel in kernels {
        let used = resources.get(&kernel.name).filter(|used| used.registers > 0);
        kernel.resources = Some(*used.ok_or_else(|| format!("the assembler reports nothing on {}", kernel.name))?);
    }
    Ok(())
}

/// Gives all PTX the oldest version with which an old assembler takes it.
fn lower_ptx(toolchain: &Toolchain, built: &mut Built) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = scratch.path().join("kernel.ptx");
    let mut needed = 0;
    for (name, bytes) in built.files.iter().filter(|(name, _)| name.ends_with(".ptx")) {
        let text = String::from_utf8_lossy(bytes);
        needed = (needed..PTX_VERSIONS.len())
            .find(|&version| std::fs::write(&file, with_version(&text, PTX_VERSIONS[version])).is_ok() && toolchain.assemble(&file).is_ok())
            .ok_or_else(|| format!("{name}: {}", toolchain.assemble(&file).err().unwrap_or_else(|| "cannot be lowered".into())))?;
    }
    built.manifest.ptx_version = PTX_VERSIONS[needed].into();
    for (_, bytes) in built.files.iter_mut().filter(|(name, _)| name.ends_with(".ptx")) {
        *bytes = with_version(&String::from_utf8_lossy(bytes), PTX_VERSIONS[needed]).into_bytes();
    }
    Ok(())
}

/// The text with another `.version`, and without blank lines and comments, which are a quarter of it.
fn with_version(ptx: &str, version: &str) -> String {
    let mut lowered = String::with_capacity(ptx.len());
    for line in ptx.lines().filter(|line| !line.trim_start().starts_with("//") && !line.trim().is_empty()) {
        let line = if line.starts_with(".version ") { &format!(".version {version}") } else { line };
        lowered.push_str(line);
        lowered.push('\n');
    }
    lowered
}

fn unique_names(manifest: &Manifest) -> Result<(), String> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for module in &manifest.modules {
        for kernel in &module.kernels {
            let owner = owners.entry(&kernel.name).or_insert(&module.family);
            if *owner != module.family {
                return Err(format!("{} is a kernel of both {owner}.cu and {}.cu", kernel.name, module.family));
            }
        }
    }
    Ok(())
}

/// `modules.rs`: what the product includes.
pub(super) fn modules_rs(manifest: &Manifest) -> String {
    let mut text = String::from("// Made by `cargo xtask cuda`.\n&[\n");
    for Module { file, family, target, bytes, sha256, kernels } in &manifest.modules {
        let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        let content = format!("bytes: {bytes}, sha256: {sha256:?}, packed: include_bytes!({:?})", packed_name(file));
        let entry = format!("Module {{ family: {family:?}, target: {target:?}, {content}, kernels: &{names:?} }}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {entry},");
    }
    text + "]\n"
}

/// Replaces what is committed, file by file, the manifest last; files that are no longer made go.
///
/// # Errors
/// The file system's.
pub fn write(built: &Built) -> Result<(), String> {
    let folder = prebuilt_folder();
    let mut total = 0;
    for (name, bytes) in &built.files {
        let name = packed_name(name);
        let packed = match std::fs::read(folder.join(&name)) {
            Ok(there) if unpack(&there, bytes.len()).as_ref() == Some(bytes) => there,
            _ => pack(bytes)?,
        };
        replace(&folder, &name, &packed)?;
        total += packed.len();
    }
    replace(&folder, "modules.rs", modules_rs(&built.manifest).as_bytes())?;
    replace(&folder, "manifest.json", built.manifest.to_json()?.as_bytes())?;
    for entry in std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if unpacked_name(&name).is_some_and(|file| name == file || !built.files.contains_key(file)) {
            std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    for warning in &built.warnings {
        eprintln!("warning: {warning}");
    }
    let bytes: usize = built.files.values().map(Vec::len).sum();
    let (whole, packed) = (bytes as f64 / 1e6, total as f64 / 1e6);
    eprintln!("{} files, {whole:.2} MB packed to {packed:.2} MB, PTX {}", built.files.len(), built.manifest.ptx_version);
    Ok(())
}

fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let target = folder.join(name);
    if std::fs::read(&target).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let broken = |error: &dyn std::fmt::Display| format!("{}: {error}", target.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| broken(&error))?;
    file.write_all(bytes).map_err(|error| broken(&error))?;
    set_mode(file.path(), 0o644)?;
    file.persist(&target).map_err(|error| broken(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the version line changes; comments, which also name the compiler's build, go.
    #[test]
    fn lowering_changes_the_version_and_nothing_else() {
        let ptx = "//\n// Compiler Build ID: CL-1\n//\n\n.version 8.8\n.target sm_80\n.visible .entry a(\n)\n\t// .globl\n";
        assert_eq!(with_version(ptx, "7.1"), ".version 7.1\n.target sm_80\n.visible .entry a(\n)\n");
    }
}
