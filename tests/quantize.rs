//! `radnet quantize`: a new model file with ranges for 8-bit codes, the same model in fp32, and what int8 changes.

mod archive;

use archive::{Archive, Said};
use radnet::Model;
use radnet::model::Quantisation;
use radnet::weights::{Extras, Storage, synthetic, write_model};
use serde_json::Value;
use std::fs;

fn quantize(archive: &Archive, more: &[&str]) -> Said {
    archive.radnet(&[&["quantize", "--model", "model.safetensors", "--out", "new.safetensors"], more].concat())
}

fn predict(archive: &Archive, model: &str, more: &[&str]) -> Value {
    archive.radnet(&[&["predict", "scans", "--model", model, "--json", "-"], more].concat()).exit(0).json()
}

/// Logits of every slice of every result, as they are written.
fn logits(document: &Value) -> Vec<String> {
    let results = document["results"].as_array().unwrap().iter();
    results.flat_map(|r| r["slices"].as_array().unwrap()).map(|slice| slice["logit"].to_string()).collect()
}

/// In fp32 the same bits, from F32 and from BF16 weights; the old file as it was; the version and the record in the new one.
#[test]
fn in_fp32_the_new_file_is_the_old_model() {
    for storage in [Storage::F32, Storage::BF16] {
        let archive = Archive::new(2, 3);
        write_model(archive.path("model.safetensors"), &synthetic(&archive::config(), 7).unwrap(), storage, &Extras::default()).unwrap();
        let before = fs::read(archive.path("model.safetensors")).unwrap();
        let said = quantize(&archive, &["--json", "-"]).exit(0).json();
        assert_eq!(fs::read(archive.path("model.safetensors")).unwrap(), before);
        assert_eq!(said["schema"], "radnet-quantisation/1");
        assert_eq!(said["ranges"]["from"], "norms");
        assert_eq!(said["comparison"], Value::Null);
        assert_eq!(logits(&predict(&archive, "model.safetensors", &[])), logits(&predict(&archive, "new.safetensors", &[])));
        let (old, new) = (Model::from_bytes(&before).unwrap(), Model::open(archive.path("new.safetensors")).unwrap());
        assert_eq!(new.quantisation, Some(Quantisation::from_norms(&old.network, &old.weights)));
        assert_eq!((new.version.as_str(), said["model"]["version"].as_str()), ("1+int8", Some("1+int8")));
        assert_eq!(said["model"]["sha256"].as_str(), Some(new.sha256.as_str()));
        assert_eq!(said["source_sha256"].as_str(), Some(old.sha256.as_str()));
    }
}

/// The ranges hold what the scans reach, and are others than those of the norms; `inspect` says which.
#[test]
fn ranges_come_from_scans() {
    let archive = Archive::new(3, 4);
    let said = quantize(&archive, &["--scans", "scans", "--model-version", "eight"]).exit(0);
    assert!(said.stdout.starts_with("Ranges from the activations of 12 slices of 3 scan(s)"), "{}", said.stdout);
    let new = Model::open(archive.path("new.safetensors")).unwrap();
    assert_eq!(new.version, "eight");
    assert_ne!(new.quantisation, Some(Quantisation::from_norms(&new.network, &new.weights)));
    let text = archive.radnet(&["inspect", "new.safetensors"]).exit(0).stdout;
    assert!(text.lines().any(|l| l.starts_with("  int8 ") && l.ends_with("ranges from 12 slices of 3 scan(s)")), "{text}");
    let card = archive.radnet(&["inspect", "new.safetensors", "model.safetensors", "--json", "-"]).exit(0).json();
    assert_eq!(card["models"][0]["card"]["quantisation"]["ranges"]["slices"], 12);
    assert_eq!(card["models"][1]["card"]["quantisation"], Value::Null);
    // The same bits from any number of threads.
    for threads in ["1", "3"] {
        fs::remove_file(archive.path("new.safetensors")).unwrap();
        quantize(&archive, &["--scans", "scans", "--threads", threads]).exit(0);
        assert_eq!(Model::open(archive.path("new.safetensors")).unwrap().quantisation, new.quantisation);
    }
}

/// A file without ranges runs in int8 with those of its norms: the same bits as the file that carries them.
#[test]
fn int8_needs_no_ranges_in_the_file() {
    let archive = Archive::new(2, 3);
    quantize(&archive, &[]).exit(0);
    let int8 = |model: &str| predict(&archive, model, &["--device", "cpu", "--precision", "int8"]);
    let (old, new) = (int8("model.safetensors"), int8("new.safetensors"));
    assert_eq!((old["radnet"]["precision"].as_str(), logits(&old)), (Some("int8"), logits(&new)));
    assert_ne!(logits(&old), logits(&predict(&archive, "model.safetensors", &["--device", "cpu"])));
}

/// What `--check` says of a scan is the difference of what `predict` says of it in either precision.
#[test]
fn int8_is_compared_with_fp32() {
    let archive = Archive::new(4, 3);
    let said = quantize(&archive, &["--check", "scans", "--labels", "labels.csv", "--id", "folder", "--json", "-"]).exit(0).json();
    let comparison = &said["comparison"];
    assert_eq!((comparison["scans"].as_u64(), comparison["slices"].as_u64()), (Some(4), Some(12)));
    let [fp32, int8] = ["fp32", "int8"].map(|p| predict(&archive, "new.safetensors", &["--device", "cpu", "--precision", p]));
    let both = |pointer: &str| [&fp32, &int8].map(|document| document.pointer(pointer).unwrap().as_f64().unwrap());
    for (k, class) in ["any", "subdural"].iter().enumerate() {
        let (mut slice_max, mut slice_sum, mut scan_max, mut flips) = (0.0f64, 0.0, 0.0f64, 0);
        for scan in 0..4 {
            for slice in 0..3 {
                let [a, b] = both(&format!("/results/{scan}/slices/{slice}/probability/{class}"));
                (slice_max, slice_sum) = (slice_max.max((a - b).abs()), slice_sum + (a - b).abs());
            }
            let [a, b] = both(&format!("/results/{scan}/scan/{class}/score"));
            let threshold = fp32.pointer(&format!("/results/{scan}/scan/{class}/threshold")).unwrap().as_f64().unwrap();
            scan_max = scan_max.max((a - b).abs());
            flips += usize::from((a >= threshold) != (b >= threshold));
        }
        let change = &comparison["classes"][k];
        assert_eq!(change["class"], *class);
        assert_eq!((change["slice_max"].as_f64(), change["scan_max"].as_f64()), (Some(slice_max), Some(scan_max)));
        assert!((change["slice_mean"].as_f64().unwrap() - slice_sum / 12.0).abs() < 1e-12);
        assert_eq!(change["flips"].as_array().unwrap().len(), flips);
    }
    let auc = &comparison["classes"][0]["auc"];
    assert_eq!((auc["n"].as_u64(), auc["positives"].as_u64()), (Some(4), Some(2)));
    assert_eq!(auc["change"].as_f64().unwrap(), auc["int8"]["value"].as_f64().unwrap() - auc["fp32"]["value"].as_f64().unwrap());
    assert_eq!(comparison["classes"][1]["auc"], Value::Null);
    let text = archive.radnet(&["quantize", "--model", "new.safetensors", "--out", "text.safetensors", "--check", "scans"]).exit(0).stdout;
    assert!(text.contains("int8 against fp32 on 12 slices of 4 scan(s)") && text.contains("decisions changed: "), "{text}");
}

/// A calibration keeps the ranges, a second quantisation exchanges them and keeps the calibration.
#[test]
fn a_file_can_be_calibrated_and_quantised_again() {
    let archive = Archive::new(4, 3);
    quantize(&archive, &[]).exit(0);
    let calibrate = ["calibrate", "--labels", "labels.csv", "--id", "folder", "--run", "scans", "--youden", "--bootstrap", "10"];
    archive.radnet(&[&calibrate[..], &["--model", "new.safetensors", "--out", "calibrated.safetensors"]].concat()).exit(0);
    let first = Model::open(archive.path("calibrated.safetensors")).unwrap();
    assert_eq!(first.quantisation, Model::open(archive.path("new.safetensors")).unwrap().quantisation);
    archive.radnet(&["quantize", "--model", "calibrated.safetensors", "--out", "again.safetensors", "--scans", "scans"]).exit(0);
    let second = Model::open(archive.path("again.safetensors")).unwrap();
    assert_ne!(second.quantisation, first.quantisation);
    assert_eq!((second.weights, second.calibration), (first.weights, first.calibration));
}

/// Nothing is replaced, by whatever name, and a refusal leaves nothing behind.
#[test]
fn no_file_is_replaced() {
    let archive = Archive::new(1, 2);
    let before = fs::read(archive.path("model.safetensors")).unwrap();
    fs::write(archive.path("other"), "mine").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(archive.path("model.safetensors"), archive.path("link")).unwrap();
    let out = |out: &str| archive.radnet(&["quantize", "--model", "model.safetensors", "--out", out]).exit(1).stderr;
    assert!(out("model.safetensors").contains("never touched"));
    #[cfg(unix)]
    assert!(out("link").contains("never touched"));
    assert!(out("other").contains("is there already"));
    assert!(out("missing/new").contains("missing/new"));
    assert!(quantize(&archive, &["--json", "new.safetensors"]).exit(1).stderr.contains("the same file"));
    assert!(quantize(&archive, &["--json", "model.safetensors"]).exit(1).stderr.contains("would replace an input"));
    assert_eq!(fs::read(archive.path("model.safetensors")).unwrap(), before);
    assert_eq!(fs::read(archive.path("other")).unwrap(), b"mine");
    assert!(!archive.path("new.safetensors").exists());
}

/// What cannot be read is named and left out, with status 1; without any scan there is no file.
#[test]
fn scans_that_cannot_be_read_are_left_out() {
    let archive = Archive::new(2, 3);
    let slice = archive.slices(1).join("001.dcm");
    let bytes = fs::read(&slice).unwrap();
    fs::write(&slice, &bytes[..bytes.len() - 200]).unwrap();
    let said = quantize(&archive, &["--scans", "scans", "--json", "-"]).exit(1);
    assert_eq!((said.json()["ranges"]["scans"].as_u64(), said.json()["left_out"].as_u64()), (Some(1), Some(1)));
    assert!(said.stderr.contains("CQ500CT1") && said.stderr.contains("001.dcm"), "{}", said.stderr);
    Model::open(archive.path("new.safetensors")).unwrap();
    fs::remove_file(archive.path("new.safetensors")).unwrap();
    fs::create_dir(archive.path("empty")).unwrap();
    assert!(quantize(&archive, &["--scans", "empty"]).exit(1).stderr.contains("there is no scan to take ranges from"));
    assert!(quantize(&archive, &["--scans", "nowhere"]).exit(1).stderr.contains("nowhere"));
    fs::write(archive.path("bad.safetensors"), "no model").unwrap();
    let said = archive.radnet(&["quantize", "--model", "bad.safetensors", "--out", "new.safetensors"]).exit(1);
    assert!(said.stderr.contains("bad.safetensors"), "{}", said.stderr);
    assert!(!archive.path("new.safetensors").exists());
}

#[test]
fn wrong_words_are_usage_errors() {
    let archive = Archive::new(1, 1);
    for words in [
        &["quantize", "--model", "model.safetensors"][..],
        &["quantize", "--out", "new.safetensors"],
        &["quantize", "--model", "model.safetensors", "--out", "new.safetensors", "--labels", "labels.csv"],
        &["quantize", "--model", "model.safetensors", "--out", "new.safetensors", "--check", "scans", "--id", "sop"],
        &["quantize", "--model", "model.safetensors", "--out", "new.safetensors", "--scans"],
        &["quantize", "--model", "model.safetensors", "--out", "new.safetensors", "--threads", "0"],
    ] {
        archive.radnet(words).exit(2);
    }
    assert!(!archive.path("new.safetensors").exists());
}
