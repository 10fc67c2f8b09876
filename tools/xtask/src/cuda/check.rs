//! `cargo xtask cuda --check`: the committed files are what the sources compile to, and the machine code is what we say it is.

use super::build::{Built, modules_rs};
use super::claims::{ALLOWED_SPILLS, CLAIMS, Claim};
use super::manifest::{Manifest, Module};
use super::{Toolchain, packed};
use std::collections::BTreeMap;

/// Compares `built` with what is committed, and inspects it.
///
/// # Errors
/// Everything that is wrong, a line each.
pub fn check(toolchain: &Toolchain, built: &Built) -> Result<(), String> {
    let mut complaints = differences(built)?;
    complaints.extend(built.warnings.iter().map(|warning| format!("the compiler warns: {warning}")));
    complaints.extend(spills(&built.manifest));
    complaints.extend(paths(built));
    complaints.extend(missing_instructions(toolchain, built)?);
    if !complaints.is_empty() {
        return Err(complaints.join("\n"));
    }
    println!(
        "{} compiled files are what {} makes of {} sources; no spills; PTX {} assembles with ptxas 11.8; {} claims on instructions hold",
        built.files.len(),
        built.manifest.compiler,
        built.manifest.sources.len(),
        built.manifest.ptx_version,
        CLAIMS.len()
    );
    Ok(())
}

fn differences(built: &Built) -> Result<Vec<String>, String> {
    let mut complaints = super::fresh()?;
    for module in &built.manifest.modules {
        let Module { file, .. } = module;
        if packed::committed(module).as_ref() != built.files.get(file) {
            complaints.push(format!("kernels/cuda/prebuilt/{file}.z is not what its source compiles to: run `cargo xtask cuda`"));
        }
    }
    if Manifest::committed()? != built.manifest || modules_rs(&Manifest::committed()?) != modules_rs(&built.manifest) {
        complaints.push("kernels/cuda/prebuilt/manifest.json is not what compiling now gives: run `cargo xtask cuda`".into());
    }
    Ok(complaints)
}

fn spills(manifest: &Manifest) -> Vec<String> {
    let mut complaints = Vec::new();
    for Module { target, kernels, .. } in &manifest.modules {
        for kernel in kernels {
            let spilled = kernel.resources.map_or(0, |used| used.spill_bytes);
            let allowed = ALLOWED_SPILLS.iter().any(|(name, on, _)| *name == kernel.name && on == target);
            match (spilled, allowed) {
                (0, true) => complaints.push(format!("{} on {target} may spill but does not: take it off the list", kernel.name)),
                (1.., false) => complaints.push(format!("{} on {target} spills {spilled} bytes", kernel.name)),
                _ => {}
            }
        }
    }
    complaints
}

/// Compiled files must not depend on where the repository lies.
fn paths(built: &Built) -> Vec<String> {
    let Ok(here) = super::sources_folder().canonicalize() else { return Vec::new() };
    let here = here.to_string_lossy().into_owned().into_bytes();
    let named = built.files.iter().filter(|(_, bytes)| bytes.windows(here.len()).any(|window| window == here));
    named.map(|(name, _)| format!("{name} holds the path of the sources")).collect()
}

fn missing_instructions(toolchain: &Toolchain, built: &Built) -> Result<Vec<String>, String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut complaints = Vec::new();
    let mut code: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for claim in CLAIMS {
        let Claim { target, instructions, .. } = claim;
        let mut claimed = 0;
        for module in built.manifest.modules.iter().filter(|module| module.target == *target) {
            let kernels: Vec<&str> = module.kernels.iter().map(|kernel| kernel.name.as_str()).filter(|name| claim.covers(name)).collect();
            claimed += kernels.len();
            if !kernels.is_empty() && !code.contains_key(module.file.as_str()) {
                let file = scratch.path().join(&module.file);
                std::fs::write(&file, &built.files[&module.file]).map_err(|error| format!("{}: {error}", file.display()))?;
                code.insert(&module.file, by_function(&toolchain.disassemble(&file)?));
            }
            for name in kernels {
                let body = code[module.file.as_str()].get(name).map_or("", String::as_str);
                let missing = instructions.iter().filter(|instruction| !holds(body, instruction));
                complaints.extend(missing.map(|instruction| format!("{name} on {target} holds no {instruction}")));
            }
        }
        if claimed == 0 {
            complaints.push(format!("no kernel begins with {} on {target}", claim.kernel));
        }
    }
    Ok(complaints)
}

/// A disassembly, cut at its functions.
fn by_function(sass: &str) -> BTreeMap<String, String> {
    let parts = sass.split("Function : ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(name, body)| (name.trim().to_owned(), body.to_owned())).collect()
}

/// Whether an instruction, with any suffix, stands in the code.
fn holds(body: &str, instruction: &str) -> bool {
    body.match_indices(instruction).any(|(at, found)| {
        let before = body[..at].chars().next_back();
        let after = body[at + found.len()..].chars().next();
        before.is_some_and(char::is_whitespace) && after.is_some_and(|c| c == '.' || c.is_whitespace())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SASS: &str =
        "\tcode for sm_80\n\t\tFunction : a_f16\n /*0000*/ HMMA.16816.F32 R4, R8 ;\n\t\tFunction : b\n /*0000*/ @P0 LDGSTS.E [R1] ;\n";

    /// An instruction counts only in its own function, and only as a whole word.
    #[test]
    fn instructions_are_found_by_function() {
        let code = by_function(SASS);
        assert!(holds(&code["a_f16"], "HMMA") && !holds(&code["a_f16"], "LDGSTS") && !holds(&code["a_f16"], "HMM"));
        assert!(holds(&code["b"], "LDGSTS") && !holds(&code["b"], "HMMA"));
    }

    /// A spill is refused unless it is on the list with a reason.
    #[test]
    fn spills_are_refused() {
        use super::super::manifest::Resources;
        let kernel = |spill_bytes| super::super::Kernel {
            name: "a".into(),
            max_threads: 32,
            min_blocks: 1,
            resources: Some(Resources { registers: 255, spill_bytes, ..Resources::default() }),
        };
        let module = |kernels| Module {
            file: "a.sm_80.cubin".into(),
            family: "a".into(),
            target: "sm_80".into(),
            bytes: 0,
            sha256: String::new(),
            kernels,
        };
        let manifest = |kernels| Manifest {
            compiler: String::new(),
            options: Vec::new(),
            ptx_version: String::new(),
            sources: BTreeMap::new(),
            modules: vec![module(kernels)],
        };
        assert_eq!(spills(&manifest(vec![kernel(8)])).len(), 1);
        assert!(spills(&manifest(vec![kernel(0)])).is_empty());
    }
}
