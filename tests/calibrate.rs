//! `radnet calibrate`: a new model file whose probabilities are those of the old one under the temperature, and whose threshold does on the
//! labelled scans what was wanted.

mod archive;

use archive::{Archive, Said};
use radnet::Model;
use radnet::weights::{Extras, Storage, synthetic, write_model};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// An archive and the answers of its model, in `saved.jsonl`.
fn answered(studies: usize) -> Archive {
    let archive = Archive::new(studies, 4);
    evaluate(&archive, "model.safetensors", "saved.jsonl");
    archive
}

fn evaluate(archive: &Archive, model: &str, save: &str) -> Value {
    let words = ["evaluate", "--labels", "labels.csv", "--id", "folder", "--run", "scans", "--model", model, "--save", save, "--json", "-"];
    archive.radnet(&[&words[..], &["--bootstrap", "20"]].concat()).exit(0).json()
}

fn calibrate(archive: &Archive, more: &[&str]) -> Said {
    let words = ["calibrate", "--labels", "labels.csv", "--id", "folder", "--results", "saved.jsonl", "--model", "model.safetensors"];
    archive.radnet(&[&words[..], more].concat())
}

/// Logits of every slice by source and slice, for one class.
fn logits(archive: &Archive, saved: &str, class: &str) -> BTreeMap<(String, u64), f64> {
    let text = fs::read_to_string(archive.path(saved)).unwrap();
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        for result in document["results"].as_array().unwrap() {
            for slice in result["slices"].as_array().unwrap() {
                let key = (result["source"].as_str().unwrap().to_owned(), slice["index"].as_u64().unwrap());
                all.insert(key, slice["logit"][class].as_f64().unwrap());
            }
        }
    }
    all
}

/// z / T to fp32 rounding for the class, the other class to the bit, the threshold in use, the wanted sensitivity reached, and the old file
/// as it was; from F32 and from F16 weights.
#[test]
fn the_engine_gives_the_logits_over_the_temperature() {
    for storage in [Storage::F32, Storage::F16] {
        let archive = Archive::new(6, 4);
        write_model(archive.path("model.safetensors"), &synthetic(&archive::config(), 7).unwrap(), storage, &Extras::default()).unwrap();
        evaluate(&archive, "model.safetensors", "saved.jsonl");
        let before = fs::read(archive.path("model.safetensors")).unwrap();
        let said = calibrate(&archive, &["--out", "new.safetensors", "--sensitivity", "1", "--json", "-"]).exit(0).json();
        assert_eq!(fs::read(archive.path("model.safetensors")).unwrap(), before);
        let t = said["temperature"]["value"].as_f64().unwrap();
        assert!((0.05..=20.0).contains(&t));
        let judged = evaluate(&archive, "new.safetensors", "again.jsonl");
        assert_eq!(
            (judged["sensitivity"]["value"].as_f64(), judged["threshold"].as_f64()),
            (Some(1.0), said["threshold"]["after"].as_f64())
        );
        for key in ["tp", "fp", "fn", "tn", "n", "positives"] {
            assert_eq!(judged[key], said[key], "{key}");
        }
        let (old, new) = (logits(&archive, "saved.jsonl", "any"), logits(&archive, "again.jsonl", "any"));
        assert_eq!(old.len(), 6 * 4);
        for (key, z) in &old {
            assert!((new[key] - z / t).abs() <= 4e-6 * (z / t).abs().max(1.0), "{key:?}: {} is not {z} / {t}", new[key]);
        }
        assert_eq!(logits(&archive, "saved.jsonl", "subdural"), logits(&archive, "again.jsonl", "subdural"));
    }
}

/// What the new file says of itself, by `inspect` and in its metadata; a second calibration keeps the record of the first.
#[test]
fn the_file_says_where_it_comes_from() {
    let archive = answered(6);
    calibrate(&archive, &["--out", "new.safetensors", "--youden"]).exit(0);
    let old = Model::open(archive.path("model.safetensors")).unwrap();
    let new = Model::open(archive.path("new.safetensors")).unwrap();
    assert_eq!((&new.name, &new.intended_use), (&old.name, &old.intended_use));
    assert_ne!(new.version, old.version);
    assert_eq!(new.config.thresholds["subdural"], old.config.thresholds["subdural"]);
    let card = archive.radnet(&["inspect", "new.safetensors"]).exit(0);
    assert!(card.stdout.contains("alibrat") && card.stdout.contains("labels.csv"), "{}", card.stdout);
    evaluate(&archive, "new.safetensors", "again.jsonl");
    let words = ["calibrate", "--labels", "labels.csv", "--id", "folder", "--results", "again.jsonl", "--model", "new.safetensors"];
    let second = [&words[..], &["--out", "newer.safetensors", "--specificity", "0.5", "--no-temperature", "--model-version", "7"]].concat();
    archive.radnet(&second).exit(0);
    let newer = Model::open(archive.path("newer.safetensors")).unwrap();
    assert_eq!(newer.version, "7");
    let history: Value = serde_json::from_str(&newer.calibration).unwrap();
    let history = history.as_array().unwrap();
    assert_eq!(history.len(), 2, "{history:?}");
    for (record, source) in history.iter().zip([&old.sha256, &new.sha256]) {
        assert_eq!(record["source_sha256"].as_str(), Some(&**source));
        assert_eq!(
            (record["class"].as_str(), record["n"].as_u64(), record["labels"]["name"].as_str()),
            (Some("any"), Some(6), Some("labels.csv"))
        );
    }
    assert!(history[0]["temperature"]["value"].is_f64() && history[1]["temperature"].is_null());
}

/// Labels of slices: the temperature is fitted to single slices.
#[test]
fn slices_may_carry_the_labels() {
    let archive = answered(4);
    let text = fs::read_to_string(archive.path("saved.jsonl")).unwrap();
    let mut rows = "id,label\n".to_owned();
    for (n, line) in text.lines().enumerate() {
        let document: Value = serde_json::from_str(line).unwrap();
        for slice in document["results"][0]["slices"].as_array().unwrap() {
            rows += &format!("{},{}\n", slice["sop_instance_uid"].as_str().unwrap(), (n + slice["index"].as_u64().unwrap() as usize) % 2);
        }
    }
    fs::write(archive.path("slices.csv"), rows).unwrap();
    let words = ["calibrate", "--labels", "slices.csv", "--id", "sop", "--results", "saved.jsonl", "--model", "model.safetensors"];
    let said = archive.radnet(&[&words[..], &["--out", "new.safetensors", "--sensitivity", "0.75", "--json", "-"]].concat()).exit(0).json();
    assert_eq!((said["n"].as_u64(), said["positives"].as_u64(), said["id"].as_str()), (Some(16), Some(8), Some("sop")));
    assert!(said["sensitivity"]["value"].as_f64().unwrap() >= 0.75);
}

/// What cannot be done is refused by name, and leaves no file.
#[test]
fn what_cannot_be_done_is_refused() {
    let archive = answered(4);
    let refused = |more: &[&str], code: i32, words: &str| {
        let said = calibrate(&archive, more).exit(code);
        assert!(said.stderr.contains(words), "{more:?}: {}", said.stderr);
        assert!(!archive.path("new.safetensors").exists(), "{more:?}");
    };
    refused(&["--out", "model.safetensors", "--youden"], 1, "never touched");
    fs::hard_link(archive.path("model.safetensors"), archive.path("link.safetensors")).unwrap();
    refused(&["--out", "link.safetensors", "--youden"], 1, "never touched");
    refused(&["--out", "saved.jsonl", "--youden"], 1, "never touched");
    refused(&["--out", "new.safetensors", "--youden", "--class", "fracture"], 1, "fracture");
    refused(&["--out", "new.safetensors", "--sensitivity", "0"], 2, "--sensitivity");
    refused(&["--out", "new.safetensors", "--sensitivity", "1.5"], 2, "--sensitivity");
    refused(&["--out", "new.safetensors", "--sensitivity", "0.9", "--youden"], 2, "--youden");
    refused(&["--out", "new.safetensors"], 2, "--sensitivity");
    refused(&["--out", "missing/new.safetensors", "--youden"], 1, "missing");
    archive.model("other.safetensors", 8);
    let words = ["calibrate", "--labels", "labels.csv", "--id", "folder", "--results", "saved.jsonl", "--model", "other.safetensors"];
    let said = archive.radnet(&[&words[..], &["--out", "new.safetensors", "--youden"]].concat()).exit(1);
    assert!(said.stderr.contains("another model"), "{}", said.stderr);
    fs::write(archive.path("labels.csv"), "id,label\nCQ500-CT-1,1\nCQ500-CT-2,1\nCQ500-CT-3,1\nCQ500-CT-4,1\n").unwrap();
    refused(&["--out", "new.safetensors", "--specificity", "0.9"], 1, "negative");
}
