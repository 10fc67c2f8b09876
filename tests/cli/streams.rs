//! Readers that go away and streams that were never there: no panic, no hang.

use crate::scene::{RADNET, Said, Scene};
use std::io::Read;
use std::process::Stdio;

/// A reader that closes at once, or after one byte, ends nothing badly.
#[test]
fn a_closed_pipe_is_no_panic() {
    let scene = Scene::new(4);
    for arguments in [
        &["predict", "scan", "--model", "model.safetensors"][..],
        &["predict", "scan", "--model", "model.safetensors", "--json", "-"],
        &["inspect", "scan", "model.safetensors"],
        &["devices"],
        &["--help"],
    ] {
        for bytes in [0, 1] {
            let mut child = scene.command(RADNET, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stdout = child.stdout.take().unwrap();
            stdout.read_exact(&mut vec![0; bytes]).unwrap();
            drop(stdout);
            Said::from(child.wait_with_output().unwrap()).exit(0);
        }
    }
}

/// Standard error may be closed too, and the verdict still comes.
#[cfg(unix)]
#[test]
fn closed_streams_are_no_panic() {
    let scene = Scene::new(1);
    let shell = |redirect: &str, code: i32| {
        let line = format!("'{RADNET}' predict scan nowhere --model model.safetensors {redirect}");
        Said::from(scene.command("sh", &["-c", &line]).output().unwrap()).exit(code)
    };
    assert!(shell("2>&-", 1).stdout.contains("any: scan score"));
    shell(">&-", 1);
    shell(">&- 2>&-", 1);
    shell("--json - 2>&-", 1).json();
}

/// A full disk is an error, not a success.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let scene = Scene::new(1);
    let line = format!("'{RADNET}' predict scan --model model.safetensors --json - > /dev/full");
    let said = Said::from(scene.command("sh", &["-c", &line]).output().unwrap()).exit(1);
    assert!(said.stderr.contains("standard output"), "{}", said.stderr);
}
