//! Files that `radnet predict` writes.

use crate::scene::{SERIES, Scene, has, npy_shape};
use std::fs;

/// Overlays, contact sheet, arrays; the document names them; nothing half-written stays.
#[test]
fn maps_are_written_and_named() {
    let scene = Scene::new(3);
    scene.radnet(&["predict", "scan", "--model", "model.safetensors", "--maps", "a/maps", "--json", "r.json"]).exit(0);
    let names = scene.names("a/maps");
    for name in
        ["contact-sheet.png", "slice-000.png", "slice-001.png", "slice-002.png", "attention.npy", "segmentation.npy", "geometry.json"]
    {
        assert!(has(&names, &format!("{SERIES}_{name}")), "{name} in {names:?}");
    }
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(npy_shape(&scene.path("a/maps").join(format!("{SERIES}_attention.npy"))).starts_with("(3, 2, "));
    assert_eq!(npy_shape(&scene.path("a/maps").join(format!("{SERIES}_segmentation.npy"))), "(3, 2, 40, 48)");
    let png = fs::read(scene.path("a/maps").join(format!("{SERIES}_contact-sheet.png"))).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let document: serde_json::Value = serde_json::from_str(&scene.text("r.json")).unwrap();
    let maps = &document["results"][0]["maps"];
    assert_eq!(maps["overlays"].as_array().unwrap().len(), 3);
    assert!(has(&names, maps["contact_sheet"].as_str().unwrap()));
}

/// One page, everything inline, no patient; a file and a table at once.
#[test]
fn a_report_stands_alone() {
    let scene = Scene::new(4);
    let said =
        scene.radnet(&["predict", "scan", "nowhere", "--model", "model.safetensors", "--report", "r.html", "--json", "r.json"]).exit(1);
    assert!(said.stdout.contains("any: scan score"));
    let page = scene.text("r.html");
    for words in ["<!DOCTYPE html>", "<svg", "data:image/png;base64,", "Intended use", "Not a medical device", "nowhere", SERIES] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("SECRETNAME") && !page.contains("src=\"http") && !page.contains("<script"));
    assert!(!scene.text("r.json").contains("SECRETNAME"));
    assert!(scene.names(".").iter().all(|n| !n.ends_with(".part")), "{:?}", scene.names("."));
}

/// What cannot be written is found out before the work, and an old file is left as it was.
#[test]
fn outputs_are_checked_first() {
    let scene = Scene::new(1);
    for option in ["--json", "--report"] {
        let said = scene.radnet(&["predict", "scan", "--model", "model.safetensors", option, "no/such/file"]).exit(1);
        assert!(said.stdout.is_empty() && said.stderr.contains("no/such/file"), "{}", said.stderr);
    }
    let said = scene.radnet(&["predict", "scan", "--model", "model.safetensors", "--maps", "model.safetensors"]).exit(1);
    assert!(said.stderr.contains("model.safetensors"));
    fs::write(scene.path("old.json"), "old").unwrap();
    scene.radnet(&["predict", "scan", "--model", "missing", "--json", "old.json"]).exit(1);
    assert!(scene.text("old.json").starts_with('{'), "a failed run replaces the document by one that says so");
}

/// The packed weights are kept for the next start, and only then; both starts say the same.
#[test]
fn the_cache_can_be_left_out() {
    let scene = Scene::new(1);
    scene.radnet(&["predict", "scan", "--model", "model.safetensors", "--no-cache"]).exit(0);
    assert!(!scene.path("cache").exists());
    let first = scene.radnet(&["predict", "scan", "--model", "model.safetensors", "--json", "-"]).exit(0).json();
    assert!(!scene.names("cache").is_empty());
    let second = scene.radnet(&["predict", "scan", "--model", "model.safetensors", "--json", "-"]).exit(0).json();
    assert_eq!(first["results"][0]["slices"], second["results"][0]["slices"]);
}
