//! The program where there is no GPU.

use radnet::backend::cuda::devices;
use std::process::Command;

/// It says that it needs one and ends with 1, instead of reporting that nothing failed.
#[test]
fn without_a_gpu_nothing_is_claimed() {
    if devices::open(0).is_ok() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for arguments in [vec!["run", "--out", folder.path().to_str().unwrap()], vec!["check"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_radnet-gpu")).args(&arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {words}");
        assert!(words.starts_with("error: cuda:0"), "{arguments:?}: {words}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a report was written");
}
