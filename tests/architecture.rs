//! The import rules of the house, checked by reading the sources: which module may name which, and where unsafe, intrinsics and
//! third-party worlds are allowed to live.

use std::fs;
use std::path::{Path, PathBuf};

/// A top-level module of the root crate and the crate modules it may import. What every module may use is in [`COMMON`].
const RULES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("evaluate", &[]),
    ("finding", &[]),
    ("observer", &[]),
    ("tensor", &[]),
    ("threads", &[]),
    ("volume", &[]),
    ("decision", &["model"]),
    ("model", &["tensor"]),
    ("weights", &["tensor", "model"]),
    ("plan", &["tensor", "model"]),
    ("dicom", &["volume"]),
    ("preprocess", &["volume", "tensor", "model"]),
    ("backend", &["plan", "weights", "tensor", "model"]),
    ("engine", &["backend", "weights", "model", "preprocess", "tensor", "session"]),
    ("calibrate", &["decision", "evaluate", "model", "weights"]),
    ("quantize", &["evaluate", "model", "session", "tensor", "weights"]),
    ("session", &["backend", "decision", "engine", "model", "preprocess", "tensor", "volume", "weights"]),
    ("report", &["backend", "decision", "dicom", "engine", "evaluate", "model", "preprocess", "session", "tensor", "volume", "weights"]),
];

/// Errors, findings and observers are everybody's vocabulary.
const COMMON: &[&str] =
    &["error", "finding", "observer", "Error", "ErrorKind", "Result", "Finding", "FindingCode", "Severity", "Observer", "Unobserved"];

/// What the crate's root re-exports, and the module it really comes from.
const REEXPORTS: &[(&str, &str)] =
    &[("Config", "model"), ("HuPixels", "volume"), ("HuSlice", "volume"), ("HuVolume", "volume"), ("Model", "weights")];

/// Names that may stand only under the listed paths.
const HOMES: &[(&str, &[&str])] = &[
    ("core::arch", &["kernels/src/cpu", "kernels/src/isa.rs"]),
    ("std::arch", &["kernels/src/cpu", "kernels/src/isa.rs"]),
    ("cudarc", &["kernels/src/cuda"]),
    ("memmap2", &["kernels/src/packed_cache.rs"]),
    ("dicom_object", &["src/dicom", "src/report"]),
    ("dicom_core", &["src/dicom", "src/report"]),
    ("dicom_dictionary_std", &["src/dicom", "src/report"]),
    ("env::var", &["src/bin"]),
    ("unsafe ", &["kernels/src", "src/capi"]),
    ("println!", &["src/bin"]),
    ("process::exit", &["src/bin"]),
    ("radnet_kernels", &["src/backend"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The code of a file without its comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    shipped.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first path segments named after `crate::`, including those in a `use crate::{…}` list.
fn crate_imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            names.push(identifier(rest));
            continue;
        };
        let mut depth = 0;
        for item in list.split_inclusive([',', '{', '}']) {
            if depth == 0 {
                names.push(identifier(item.trim_start()));
            }
            match item.chars().last() {
                Some('{') => depth += 1,
                Some('}') if depth == 0 => break,
                Some('}') => depth -= 1,
                _ => {}
            }
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let module = module_of(&path);
        if module == "lib" || module == "bin" {
            continue;
        }
        let Some((_, allowed)) = RULES.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module `{module}` has no import rule", path.display()));
            continue;
        };
        for name in crate_imports(&code(&path)) {
            let name = REEXPORTS.iter().find(|(public, _)| *public == name).map_or(name, |(_, home)| (*home).to_owned());
            if name != module && !allowed.contains(&name.as_str()) && !COMMON.contains(&name.as_str()) {
                wrong.push(format!("{}: `{module}` may not import `{name}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_world_stays_in_its_folder() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("kernels/src"))) {
        let text = code(&path);
        for (name, allowed) in HOMES {
            if text.contains(name) && !allowed.iter().any(|home| path.starts_with(root().join(home))) {
                wrong.push(format!("{}: `{}` belongs in {allowed:?}", path.display(), name.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_import_reader_sees_what_it_should() {
    let text = "use crate::model::{Config, Network};\nuse crate::{Error, tensor::{Extent, SliceSource}, weights};\nfn f(x: crate::volume::HuVolume) {}";
    assert_eq!(crate_imports(text), ["model", "Error", "tensor", "weights", "volume"]);
}
