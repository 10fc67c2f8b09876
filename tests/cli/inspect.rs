//! `radnet inspect` and `radnet devices`.

use crate::scene::{SERIES, Scene};

#[test]
fn series_are_shown() {
    let scene = Scene::new(5);
    let said = scene.radnet(&["inspect", "scan"]).exit(0);
    for words in [SERIES, "5 slices of 64×64", "chosen", "step 5.00 mm"] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
    let document = scene.radnet(&["inspect", "scan", "--json", "-"]).exit(0).json();
    assert_eq!(document["studies"][0]["chosen_series"], SERIES);
    assert_eq!(document["studies"][0]["series"][0]["slices"], 5);
    let said = scene.radnet(&["inspect", "nowhere", "--json", "-"]).exit(1);
    assert!(!said.json()["studies"][0]["error"].is_null());
}

#[test]
fn a_model_has_a_card() {
    let scene = Scene::new(1);
    let said = scene.radnet(&["inspect", "model.safetensors"]).exit(0);
    for words in
        ["40×48", "GRU, 10 hidden", "sigmoid, 2 head(s)", "subdural (threshold 0.25)", "Intended use:", "GFLOP per slice", "block 3"]
    {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
    let document = scene.radnet(&["inspect", "model.safetensors", "scan", "--json", "-"]).exit(0).json();
    let card = &document["models"][0]["card"];
    assert_eq!(card["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(card["config"]["backbone"]["growth_rate"], 6);
    assert!(card["parameters"].as_u64().unwrap() > 1000);
    assert_eq!(document["studies"][0]["chosen_series"], SERIES);
    std::fs::write(scene.path("bad.safetensors"), "x").unwrap();
    let said = scene.radnet(&["inspect", "bad.safetensors", "--json", "-"]).exit(1);
    assert_eq!(said.json()["models"][0]["error"]["code"], "bad_model");
}

#[test]
fn devices_name_every_tier_with_its_reason() {
    let scene = Scene::new(1);
    let said = scene.radnet(&["devices"]).exit(0);
    assert!(said.stdout.contains("portable") && said.stdout.contains("CUDA"), "{}", said.stdout);
    let document = scene.radnet(&["devices", "--json", "-"]).exit(0).json();
    let tiers = document["cpu"]["isa"].as_array().unwrap();
    assert_eq!(tiers.iter().filter(|t| t["used"] == true).count(), 1);
    for tier in tiers {
        assert_eq!(tier["available"] == true, tier["refusal"].is_null(), "{tier}");
    }
    assert!(document["cpu"]["threads"].as_u64().unwrap() >= 1);
    let cuda = &document["cuda"];
    let gpus = cuda["devices"].as_array().unwrap();
    assert_eq!(cuda["available"] == true, cuda["reason"].is_null(), "{cuda}");
    assert_eq!(cuda["available"] == true, gpus.iter().any(|gpu| !gpu["isa"].is_null()), "{cuda}");
    for gpu in gpus {
        assert_eq!(gpu["isa"].is_null(), !gpu["refusal"].is_null(), "{gpu}");
    }
}
