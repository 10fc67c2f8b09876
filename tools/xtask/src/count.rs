//! `cargo xtask count`: a slow kernel is caught without a clock.
//!
//! Instructions of every kernel family at small shapes, counted by callgrind (which cannot run AVX-512), and what the innermost loops of every
//! kernel hold by the disassembly of this very program: fused multiply-adds, loads, and accesses of the stack, which are registers spilled.
//! Both are compared with `benches/counts.json`, which `--update` writes anew.

mod callgrind;
mod compare;
mod counts;
mod disassembly;
mod tools;

pub use callgrind::run_workloads;
pub use compare::{Finding, compare};
pub use counts::{Counts, Loops};
pub use disassembly::loops_of;

use crate::Failure;
use radnet_kernels::Isa;
use std::path::PathBuf;

/// Where the expected counts are.
pub fn file() -> PathBuf {
    crate::repository().join("benches/counts.json")
}

/// Counts what this machine can count; what it cannot is said and missing.
fn measure() -> Result<Counts, Failure> {
    let mut counts = Counts { compiler: tools::compiler()?, ..Counts::default() };
    if let Some(reason) = tools::missing(&["nm", "objdump", "addr2line"]) {
        println!("skipped: loops of the micro-kernels: {reason}");
    } else {
        counts.loops = disassembly::loops()?;
    }
    if let Some(reason) = tools::missing(&["valgrind"]) {
        println!("skipped: instruction counts: {reason}");
    } else if Isa::by_name("avx2").is_none() {
        // The portable tier too: its multiply-adds are the C library's, which chooses by processor.
        println!("skipped: instruction counts: the expected ones are of a processor with AVX2 and FMA");
    } else {
        for tier in ["avx2", "portable"] {
            counts.instructions.insert(tier.to_owned(), callgrind::count(tier)?);
        }
    }
    Ok(counts)
}

/// Writes the counts of this machine as the expected ones.
///
/// # Errors
/// When a tool is missing or fails.
pub fn update() -> Result<(), Failure> {
    let counts = measure()?;
    if counts.loops.is_empty() || counts.instructions.is_empty() {
        return Err(Failure::Wrong("the counts are incomplete: binutils, valgrind and a processor with AVX2 are needed".into()));
    }
    counts.write(&file())?;
    println!("{}: {}", file().display(), counts.summary());
    Ok(())
}

/// Compares this build with the expected counts.
///
/// # Errors
/// When a count is beyond its tolerance, a kernel is new or gone, or a tool fails.
pub fn check() -> Result<(), Failure> {
    let expected = Counts::read(&file())?;
    let compiler = tools::compiler()?;
    if compiler != expected.compiler {
        println!("skipped: instruction and loop counts: they are of {}, this is {compiler}", expected.compiler);
        return Ok(());
    }
    let counts = measure()?;
    let findings = compare(&expected, &counts);
    findings.iter().for_each(|finding| println!("{finding}"));
    match findings.iter().filter(|finding| finding.fails()).count() {
        0 => {
            println!("counts as expected: {}", counts.summary());
            Ok(())
        }
        n => Err(Failure::Wrong(format!("{n} counts are not as expected; where that is meant: cargo xtask count --update"))),
    }
}
