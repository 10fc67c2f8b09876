//! Bad usage, bad models, bad devices, bad input.

use crate::scene::{RADNET, Said, Scene};
use std::fs;

/// Exit 2, nothing on standard output, the reason on standard error.
#[test]
fn wrong_usage_is_2() {
    let scene = Scene::new(1);
    for arguments in [
        &[][..],
        &["predict", "scan"],
        &["predict", "--model", "model.safetensors"],
        &["predict", "scan", "--model", "model.safetensors", "--device", "tpu"],
        &["predict", "scan", "--model", "model.safetensors", "--precision", "fp8"],
        &["predict", "scan", "--model", "model.safetensors", "--threads", "0"],
        &["predict", "scan", "--model", "model.safetensors", "--threads", "many"],
        &["predict", "scan", "--model", "model.safetensors", "--nonsense"],
        &["judge", "scan"],
        &["inspect"],
    ] {
        let said = scene.radnet(arguments).exit(2);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{arguments:?}");
    }
    scene.bench(&["--arch", "resnet50"]).exit(2);
    scene.bench(&["--model", "model.safetensors", "--size", "512"]).exit(2);
}

/// Help is no error and tells of the environment.
#[test]
fn help_is_complete() {
    let scene = Scene::new(1);
    let said = scene.radnet(&["--help"]).exit(0);
    for words in ["predict", "inspect", "devices", "RADNET_ISA", "RADNET_CACHE_DIR"] {
        assert!(said.stdout.contains(words), "{words}");
    }
    let said = scene.radnet(&["predict", "--help"]).exit(0);
    for words in ["--model", "--device", "--precision", "--threads", "--json", "--maps", "--report", "--series"] {
        assert!(said.stdout.contains(words), "{words}");
    }
    assert!(scene.radnet(&["--version"]).exit(0).stdout.starts_with("radnet "));
}

#[track_caller]
fn refused(scene: &Scene, arguments: &[&str], code: &str) -> Said {
    let said = scene.radnet(arguments).exit(1);
    let document = said.json();
    let results = document["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        assert_eq!((&result["status"], &result["error"]["code"]), (&"error".into(), &code.into()), "{result}");
        assert!(!result["error"]["message"].as_str().unwrap().is_empty());
    }
    said
}

/// A model that cannot be used still gives a whole document, in which every PATH carries the error.
#[test]
fn a_bad_model_is_a_document() {
    let scene = Scene::new(1);
    let run = |model: &str, code: &str| refused(&scene, &["predict", "scan", "other", "--model", model, "--json", "-"], code);
    let document = run("missing.safetensors", "io").json();
    assert_eq!(document["results"].as_array().unwrap().len(), 2);
    assert!(document["model"]["name"].is_null() && document["radnet"]["device"].is_null());
    fs::write(scene.path("garbage.safetensors"), [0xFF; 100]).unwrap();
    run("garbage.safetensors", "bad_model");
    fs::write(scene.path("empty.safetensors"), []).unwrap();
    run("empty.safetensors", "bad_model");
    let whole = fs::read(scene.path("model.safetensors")).unwrap();
    fs::write(scene.path("cut.safetensors"), &whole[..whole.len() - 100]).unwrap();
    let said = run("cut.safetensors", "bad_model");
    assert!(said.stderr.contains("cut.safetensors"), "{}", said.stderr);
    run("scan", "io");
}

/// A device or precision that cannot be had is never replaced in silence.
#[test]
fn devices_are_not_replaced_in_silence() {
    let scene = Scene::new(1);
    let base = ["predict", "scan", "--model", "model.safetensors", "--json", "-"];
    for asked in [
        &["--device", "cuda:999"][..],
        &["--device", "cpu", "--precision", "fp16"],
        &["--device", "auto", "--precision", "fp16"],
        &["--device", "cuda:999", "--precision", "int8"],
    ] {
        let arguments: Vec<&str> = base.iter().chain(asked).copied().collect();
        let said = refused(&scene, &arguments, "device");
        assert!(!said.json()["model"]["sha256"].is_null(), "the model is known by then");
    }
    let mut command = scene.command(RADNET, &base);
    let said = Said::from(command.env("RADNET_ISA", "mmx").output().unwrap()).exit(1);
    assert_eq!(said.json()["results"][0]["error"]["code"], "device");
    assert!(said.stderr.contains("mmx"), "{}", said.stderr);
}

/// Without a GPU, `--device cuda` says what is missing and `radnet devices` the same; an automatic device is the processor, and the reason is
/// said only where a driver makes one expect a GPU.
#[test]
fn a_machine_without_a_gpu_says_so() {
    let scene = Scene::new(1);
    let cuda = scene.radnet(&["devices", "--json", "-"]).exit(0).json()["cuda"].clone();
    let Some(reason) = cuda["reason"].as_str().filter(|_| cuda["devices"] == serde_json::json!([])) else {
        eprintln!("skipped: this machine has GPUs: {cuda}");
        return;
    };
    assert!(scene.radnet(&["devices"]).exit(0).stdout.contains(&format!("CUDA  not available: {reason}")));
    let model = ["predict", "scan", "--model", "model.safetensors"];
    let run = |device: &str| scene.radnet(&[&model[..], &["--device", device]].concat());
    let said = run("cuda").exit(1);
    assert!(said.stderr.contains(&format!("cuda:0: {reason}")), "{}", said.stderr);
    let said = run("auto").exit(0);
    let loud = !reason.contains("no NVIDIA driver");
    assert_eq!(said.stderr.contains("running on the CPU"), loud, "{}", said.stderr);
}

/// Each bad input has its code.
#[test]
fn bad_input_has_its_code() {
    let scene = Scene::new(2);
    fs::create_dir(scene.path("empty")).unwrap();
    fs::create_dir(scene.path("junk")).unwrap();
    fs::write(scene.path("junk/readme.txt"), "no image").unwrap();
    let model = ["--model", "model.safetensors", "--json", "-"];
    let run = |path: &str, code: &str, more: &[&str]| {
        let arguments: Vec<&str> = ["predict", path].iter().chain(&model).chain(more).copied().collect();
        refused(&scene, &arguments, code)
    };
    run("empty", "no_images", &[]);
    run("junk", "no_images", &[]);
    run("scan", "no_usable_series", &["--series", "1.2.3"]);
}

/// Without --json, an error is a line that starts with ERROR and names its code.
#[test]
fn errors_have_a_line_in_the_table() {
    let scene = Scene::new(1);
    fs::create_dir(scene.path("empty")).unwrap();
    let said = scene.radnet(&["predict", "empty", "scan", "--model", "model.safetensors"]).exit(1);
    assert!(said.stdout.lines().any(|l| l.starts_with("ERROR  no_images: ")), "{}", said.stdout);
    assert!(said.stdout.contains("any: scan score"));
    assert!(said.stdout.contains("2 results: "));
}
