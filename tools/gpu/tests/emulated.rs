//! What can be checked of the suite itself without a device.

use std::collections::HashSet;

use radnet_gpu::suite;

/// Two cases of the same name could not be told apart in a report.
#[test]
fn every_case_has_a_name_of_its_own() {
    let mut seen = HashSet::new();
    for case in suite::all() {
        assert!(seen.insert((case.family, case.name.clone())), "{case:?} is there twice");
    }
}
