//! Every case of the suite on the emulated device, and what can be checked of the suite itself.
//!
//! `RADNET_EMULATION_SEED` chooses another order of threads and blocks.

use radnet_emulation::{Options, device_or_skip};
use radnet_gpu::suite::{self, Case};
use radnet_kernels::cuda::Gpu;
use std::collections::HashSet;
use std::sync::Arc;

/// Two cases of the same name could not be told apart in a report.
#[test]
fn every_case_has_a_name_of_its_own() {
    let mut seen = HashSet::new();
    for case in suite::all() {
        assert!(seen.insert((case.family, case.name.clone())), "{case:?} is there twice");
    }
}

/// No family may be forgotten by the tests below.
#[test]
fn every_family_is_run() {
    for case in suite::all() {
        assert!(FAMILIES.contains(&case.family), "no test runs {}", case.family);
    }
}

/// A case that was renamed would silently leave the brief suite.
#[test]
fn every_brief_case_is_there() {
    for name in BRIEF_DENSE {
        assert!(suite::all().iter().any(|case| case.family == "dense" && case.name == name), "there is no dense case {name}");
    }
}

/// The dense cases of the brief suite: one row, one round and two of mid channels, several layers in every element, fewer slices than room.
const BRIEF_DENSE: [&str; 7] = [
    "f16, 1×7, 32 → 48 → 12",
    "f16, 6×7, 24 → 24 → 12",
    "f16, 6×7, 64 → 144 → 32",
    "f16, 7×9, 24 → 48 → 3 × 12",
    "bf16, 7×9, 24 → 48 → 3 × 12",
    "f32, 7×9, 24 → 48 → 3 × 12",
    "f16, 5×6, 32 → 64 → 2 × 32, 1 of 3 slices",
];

/// Every how many cases of a family the brief suite takes one; all of those that are not here.
const BRIEF_STRIDES: [(&str, usize); 5] = [("numbers", 3), ("stem", 7), ("transition", 5), ("attention", 4), ("recurrent", 7)];

/// Whether the brief suite, for sanitizers, has the `index`-th case of its family.
fn is_brief(case: &Case, index: usize) -> bool {
    match BRIEF_STRIDES.iter().find(|(family, _)| *family == case.family) {
        Some((_, stride)) => index.is_multiple_of(*stride),
        None => case.family != "dense" || BRIEF_DENSE.contains(&&*case.name),
    }
}

/// Runs the cases of a family on one device, all of them or those of the brief suite, and then tells which are wrong.
fn run(family: &str, options: Options) {
    let seed = std::env::var("RADNET_EMULATION_SEED").ok().and_then(|seed| seed.parse().ok());
    let options = seed.map_or(options, |seed| options.with_seed(seed));
    let brief = std::env::var_os("RADNET_EMULATION_BRIEF").is_some();
    let cases = suite::all().into_iter().filter(|case| case.family == family).enumerate();
    let mut wrong = Vec::new();
    for (_, case) in cases.filter(|(index, case)| !brief || is_brief(case, *index)) {
        // A device of its own: a kernel that failed ends only its own case.
        let Some(device) = device_or_skip(options) else { return };
        let device: Arc<dyn Gpu> = device;
        if let Err(message) = (case.run)(&device) {
            wrong.push(format!("{case:?}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! families {
    ($($family:ident),*) => {
        const FAMILIES: &[&str] = &[$(stringify!($family)),*];
        $(
            mod $family {
                use super::{Options, run};

                #[test]
                fn on_compute_capability_8_0() {
                    run(stringify!($family), Options::ampere().with_seed(8));
                }

                #[test]
                fn on_compute_capability_9_0() {
                    run(stringify!($family), Options::hopper().with_seed(9));
                }
            }
        )*
    };
}

families!(memory, fragments, numbers, functions, roofs, stem, dense, transition, attention, segmentation, linear, recurrent, resample);
