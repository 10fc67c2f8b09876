//! Compiles the runtime and every kernel file with the host's C++ compiler. Without one the crate builds all the same and refuses at run time.
//!
//! `RADNET_EMULATION_SANITIZE=1` compiles them under the address and undefined-behaviour sanitizers (see `sanitize.sh`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(emulated, sanitized)");
    println!("cargo::rerun-if-env-changed=RADNET_EMULATION_SANITIZE");
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let kernels = here.join("../../kernels/cuda");
    for watched in [&here.join("cpp"), &here.join("tests/cuda"), &kernels] {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
    let sanitized = std::env::var_os("RADNET_EMULATION_SANITIZE").is_some_and(|value| value == "1");
    let build = build(&here, &kernels, sanitized);
    let Some(compiler) = compiler(&build) else {
        println!("cargo::warning=no C++ compiler: the CUDA kernels cannot be emulated, and the tests that need it will be skipped");
        return;
    };
    println!("cargo::rustc-cfg=emulated");
    let headers = newest(&[sources(&here.join("cpp"), "h"), sources(&kernels.join("common"), "cuh")].concat());
    let runtime = [sources(&here.join("cpp"), "cpp"), sources(&kernels, "cu")].concat();
    archive(&objects(&compiler, &runtime, headers, sanitized), "radnet_emulated");
    if sanitized {
        println!("cargo::rustc-cfg=sanitized");
        link_sanitizers(&compiler);
    }
    let planted = objects(&compiler, &sources(&here.join("tests/cuda"), "cu"), headers, sanitized);
    for object in planted {
        println!("cargo::rustc-link-arg-tests={}", object.display());
    }
}

fn build(here: &Path, kernels: &Path, sanitized: bool) -> cc::Build {
    let mut build = cc::Build::new();
    // Under the sanitizers compiling takes longer than the brief suite.
    build
        .cpp(true)
        .std("c++17")
        .opt_level(if sanitized { 1 } else { 2 })
        .warnings(true)
        .extra_warnings(true)
        .include(here.join("cpp"))
        .include(kernels);
    // Products and sums are rounded as the kernel says; only an explicit fmaf is fused, as one instruction where this machine has it.
    build.define("RADNET_EMULATED", None).flag("-ffp-contract=off").flag("-Wno-unknown-pragmas");
    if std::env::var("HOST").ok() == std::env::var("TARGET").ok() {
        build.flag_if_supported("-march=native");
    }
    if sanitized {
        build.flag("-fsanitize=address,undefined").flag("-fno-sanitize-recover=undefined").flag("-fno-omit-frame-pointer").flag("-g1");
    }
    build
}

/// The compiler, if it runs.
fn compiler(build: &cc::Build) -> Option<cc::Tool> {
    let tool = build.try_get_compiler().ok()?;
    Command::new(tool.path()).arg("--version").output().is_ok_and(|run| run.status.success()).then_some(tool)
}

/// The files of a folder with this extension, by name.
fn sources(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn newest(files: &[PathBuf]) -> Option<SystemTime> {
    files.iter().filter_map(|file| file.metadata().and_then(|data| data.modified()).ok()).max()
}

/// One object per source, compiled where the one of the last build is older than what it depends on, several at a time.
fn objects(compiler: &cc::Tool, sources: &[PathBuf], headers: Option<SystemTime>, sanitized: bool) -> Vec<PathBuf> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let object = |source: &PathBuf| {
        let stem = source.file_stem().expect("sources have names").to_string_lossy();
        let extension = source.extension().expect("sources have extensions").to_string_lossy();
        out.join(format!("{stem}.{extension}.{}", if sanitized { "sanitized.o" } else { "o" }))
    };
    let objects: Vec<PathBuf> = sources.iter().map(object).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((source, object)) = sources.iter().zip(&objects).nth(next.fetch_add(1, Ordering::Relaxed)) {
            compile(compiler, source, object, headers);
        }
    };
    let jobs = std::env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    objects
}

fn compile(compiler: &cc::Tool, source: &Path, object: &Path, headers: Option<SystemTime>) {
    let built = object.metadata().and_then(|data| data.modified()).ok();
    let changed = newest(&[source.to_owned()]).max(headers).max(newest(&[PathBuf::from("build.rs")]));
    if built.is_none() || built <= changed {
        let status = compiler.to_command().arg("-xc++").arg("-c").arg(source).arg("-o").arg(object).status();
        assert!(status.is_ok_and(|status| status.success()), "{} does not compile", source.display());
    }
}

/// All objects are linked in: a kernel is known only by the registration that its object runs at start.
fn archive(objects: &[PathBuf], name: &str) {
    let mut archive = cc::Build::new();
    archive.cpp(true).link_lib_modifier("+whole-archive");
    archive.objects(objects);
    archive.compile(name);
}

fn link_sanitizers(compiler: &cc::Tool) {
    let found = compiler.to_command().arg("-print-file-name=libasan.so").output().expect("the compiler ran before");
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim().to_owned());
    if let Some(folder) = path.parent() {
        println!("cargo::rustc-link-search=native={}", folder.display());
    }
    println!("cargo::rustc-link-lib=dylib=asan");
    println!("cargo::rustc-link-lib=dylib=ubsan");
}
