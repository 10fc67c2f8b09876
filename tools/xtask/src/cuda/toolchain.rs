//! The compiler and the tools that inspect its output: pinned packages, checked by their hashes.

use super::manifest::sha256;
use crate::Failure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package, the hash of its wheel for x86-64 Linux, and the files we take from it.
struct Package {
    requirement: &'static str,
    wheel_prefix: &'static str,
    sha256: &'static str,
    /// (path in the wheel, name in the toolchain's folder)
    files: &'static [(&'static str, &'static str)],
}

const PACKAGES: [Package; 4] = [
    Package {
        requirement: "nvidia-cuda-nvrtc-cu12==12.9.86",
        wheel_prefix: "nvidia_cuda_nvrtc_cu12-12.9.86-",
        sha256: "210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4",
        files: &[
            ("nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "libnvrtc.so.12"),
            ("nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9", "libnvrtc-builtins.so.12.9"),
        ],
    },
    Package {
        requirement: "nvidia-cuda-cuobjdump==13.2.86",
        wheel_prefix: "nvidia_cuda_cuobjdump-13.2.86-",
        sha256: "d332c2ffe78e703ca0a3894be927f83124244e2acf0d792b8c12b4362d44d837",
        files: &[("nvidia/cu13/bin/cuobjdump", "cuobjdump")],
    },
    Package {
        requirement: "nvidia-cuda-nvdisasm==13.2.86",
        wheel_prefix: "nvidia_cuda_nvdisasm-13.2.86-",
        sha256: "53606e719ecae07a2335f95902d5a1393a0cc1c317499ee7ffcf628a44385f2c",
        files: &[("nvidia/cu13/bin/nvdisasm", "nvdisasm")],
    },
    // The assembler of CUDA 11.8: what it takes, every driver does that our cubins need.
    Package {
        requirement: "nvidia-cuda-nvcc-cu11==11.8.89",
        wheel_prefix: "nvidia_cuda_nvcc_cu11-11.8.89-",
        sha256: "f8e1e995166c884f2f5bf94975d7abb89175363b8712f7f81cd38d0df1b2cd85",
        files: &[("nvidia/cuda_nvcc/bin/ptxas", "ptxas-11.8")],
    },
];

/// A folder with all of them.
#[derive(Debug)]
pub struct Toolchain {
    folder: PathBuf,
}

impl Toolchain {
    /// What somebody has put together.
    ///
    /// # Errors
    /// A file is missing.
    pub fn in_folder(folder: &Path) -> Result<Self, Failure> {
        for (_, name) in PACKAGES.iter().flat_map(|package| package.files) {
            if !folder.join(name).is_file() {
                return Err(Failure::NoToolchain(format!("{}: no {name}", folder.display())));
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// What pip brings, kept in `target/cuda-toolchain` for the next time.
    ///
    /// # Errors
    /// `NoToolchain` without pip or a network; `Wrong` when what came has another hash.
    pub fn downloaded() -> Result<Self, Failure> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::repository().join("target"), PathBuf::from);
        let folder = target.join("cuda-toolchain");
        if let Ok(toolchain) = Self::in_folder(&folder) {
            return Ok(toolchain);
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(Failure::NoToolchain("the pinned CUDA compiler is one for x86-64 Linux".into()));
        }
        std::fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
        // Filled beside its final place and then renamed, so that half a toolchain is never taken for one.
        let scratch = tempfile::tempdir_in(&target).map_err(|error| format!("{}: {error}", target.display()))?;
        let filled = scratch.path().join("toolchain");
        std::fs::create_dir(&filled).map_err(|error| error.to_string())?;
        for package in &PACKAGES {
            install(package, scratch.path(), &filled)?;
        }
        std::fs::rename(&filled, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Self::in_folder(&folder)
    }

    /// The compiler.
    pub fn nvrtc(&self) -> PathBuf {
        self.folder.join("libnvrtc.so.12")
    }

    /// The machine code of a cubin, as text.
    ///
    /// # Errors
    /// The tool's words.
    pub fn disassemble(&self, cubin: &Path) -> Result<String, String> {
        // cuobjdump looks for nvdisasm on the path.
        let path =
            std::env::join_paths([self.folder.clone(), PathBuf::from("/usr/bin"), PathBuf::from("/bin")]).map_err(|e| e.to_string())?;
        run(Command::new(self.folder.join("cuobjdump")).arg("-sass").arg(cubin).env("PATH", path))
    }

    /// Has the old assembler take `ptx` for sm_80.
    ///
    /// # Errors
    /// The assembler's words.
    pub fn assemble(&self, ptx: &Path) -> Result<(), String> {
        run(Command::new(self.folder.join("ptxas-11.8")).args(["-arch=sm_80", "-o", "/dev/null"]).arg(ptx)).map(drop)
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))),
    }
}

fn install(package: &Package, scratch: &Path, to: &Path) -> Result<(), Failure> {
    eprintln!("downloading {}", package.requirement);
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest"];
    run(Command::new("python3").args(pip).arg(scratch).arg(package.requirement)).map_err(Failure::NoToolchain)?;
    let wheel = wheel_in(scratch, package)?;
    let bytes = std::fs::read(&wheel).map_err(|error| format!("{}: {error}", wheel.display()))?;
    let found = sha256(&bytes);
    if found != package.sha256 {
        return Err(Failure::Wrong(format!("{}: SHA-256 {found} instead of {}", package.requirement, package.sha256)));
    }
    let unpacked = scratch.join(package.wheel_prefix);
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))?;
    for (inside, name) in package.files {
        let target = to.join(name);
        std::fs::rename(unpacked.join(inside), &target).map_err(|error| format!("{inside}: {error}"))?;
        set_mode(&target, 0o755)?;
    }
    Ok(())
}

fn wheel_in(folder: &Path, package: &Package) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let is_it = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(package.wheel_prefix) && name.ends_with(".whl")
    };
    let found = entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_it);
    found.ok_or_else(|| format!("pip brought no wheel of {}", package.requirement))
}

/// Who may do what with a file, where the system knows such a thing.
pub(super) fn set_mode(file: &Path, mode: u32) -> Result<(), String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    #[cfg(not(unix))]
    let _ = (file, mode);
    Ok(())
}
