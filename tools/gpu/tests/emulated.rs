//! Every case of the suite on the emulated device, and what can be checked of the suite itself.
//!
//! `RADNET_EMULATION_SEED` chooses another order of threads and blocks.

use radnet_emulation::{Options, device_or_skip};
use radnet_gpu::suite;
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

/// Runs the cases of a family on one device, all of them, and then tells which are wrong.
fn run(family: &str, options: Options) {
    let seed = std::env::var("RADNET_EMULATION_SEED").ok().and_then(|seed| seed.parse().ok());
    let options = seed.map_or(options, |seed| options.with_seed(seed));
    let mut wrong = Vec::new();
    for case in suite::all().into_iter().filter(|case| case.family == family) {
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
