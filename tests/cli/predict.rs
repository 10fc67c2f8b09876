//! `radnet predict` where all goes well.

use crate::scene::{SERIES, STUDY, Scene, config};
use serde_json::Value;

const KEYS: [&str; 4] = ["schema", "radnet", "model", "results"];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Standard output is the document and nothing else; the document has the contract's keys; slices ascend.
#[test]
fn json_is_the_whole_output() {
    let scene = Scene::new(6);
    let said = scene.radnet(&["predict", "scan", "--model", "model.safetensors", "--json", "-", "--threads", "2"]).exit(0);
    assert_eq!(said.stderr, "");
    let document = said.json();
    for key in KEYS {
        assert!(document.get(key).is_some(), "{key}");
    }
    assert_eq!(document["schema"], "radnet-result/1");
    for key in ["version", "device", "isa", "precision", "threads"] {
        assert!(!document["radnet"][key].is_null(), "{key}");
    }
    assert_eq!(
        (&document["radnet"]["device"], &document["radnet"]["precision"], &document["radnet"]["threads"]),
        (&"cpu".into(), &"fp32".into(), &2.into())
    );
    assert_eq!(document["model"]["sha256"].as_str().unwrap().len(), 64);
    let result = &document["results"][0];
    assert_eq!((&result["status"], &result["source"]), (&"ok".into(), &"scan".into()));
    assert_eq!((&result["study_instance_uid"], &result["series_instance_uid"]), (&STUDY.into(), &SERIES.into()));
    for class in ["any", "subdural"] {
        let score = &result["scan"][class];
        assert_eq!(score["threshold"].as_f64(), config().thresholds.get(class).copied());
        assert_eq!(score["positive"].as_bool(), Some(score["score"].as_f64() >= score["threshold"].as_f64()));
    }
    for key in ["decode", "preprocess", "inference", "total"] {
        assert!(result["timing_ms"][key].as_f64().unwrap() >= 0.0);
    }
    check_slices(result["slices"].as_array().unwrap());
}

fn check_slices(slices: &[Value]) {
    assert_eq!(slices.len(), 6);
    for (index, slice) in slices.iter().enumerate() {
        assert_eq!(slice["index"].as_u64(), Some(index as u64));
        assert_eq!(slice["instance_number"].as_i64(), Some(100 - index as i64), "ordered by position, not by number or file name");
        assert_eq!(slice["position_mm"].as_f64(), Some(index as f64 * 5.0 - 20.0));
        assert_eq!(slice["sop_instance_uid"].as_str(), Some(&*format!("{SERIES}.{}", index + 1)));
        let (z, p) = (slice["logit"]["any"].as_f64().unwrap(), slice["probability"]["any"].as_f64().unwrap());
        assert!((p - 1.0 / (1.0 + (-z).exp())).abs() < 1e-12, "{p} is not the sigmoid of {z}");
        assert_eq!(keys(&slice["probability"]), ["any", "subdural"]);
    }
}

/// The table has a verdict per class, the model's intended use, and no control characters in a pipe.
#[test]
fn the_table_has_verdicts_and_intended_use() {
    let scene = Scene::new(3);
    let said = scene.radnet(&["predict", "scan", "--model", "model.safetensors"]).exit(0);
    assert_eq!(said.stderr, "");
    let verdicts: Vec<&str> = said.stdout.lines().filter(|l| l.starts_with("POSITIVE") || l.starts_with("negative")).collect();
    assert_eq!(verdicts.len(), 2, "{}", said.stdout);
    assert!(verdicts[0].contains("any: scan score 0.") && verdicts[1].contains("subdural: scan score 0."));
    assert!(said.stdout.contains("Intended use: Benchmarks and tests"));
    assert!(said.stdout.contains("Not a medical device"));
    assert!(!said.stdout.contains('\x1b'));
}

/// A folder and its single files are one scan each way; several PATHs give their results in order; one failure stops nothing.
#[test]
fn paths_are_judged_one_by_one() {
    let scene = Scene::new(2);
    scene.series("second", 1);
    let said = scene.radnet(&["predict", "scan", "missing", "second", "--model", "model.safetensors", "--json", "-"]).exit(1);
    let document = said.json();
    let results: Vec<(&str, &str)> =
        document["results"].as_array().unwrap().iter().map(|r| (r["source"].as_str().unwrap(), r["status"].as_str().unwrap())).collect();
    assert_eq!(results, [("scan", "ok"), ("missing", "error"), ("second", "ok")]);
    assert!(said.stderr.contains("missing"), "errors are also said on standard error: {}", said.stderr);
    let codes: Vec<&Value> = document["results"][2]["findings"].as_array().unwrap().iter().map(|f| &f["code"]).collect();
    assert!(codes.contains(&&"single_slice".into()), "{codes:?}");
}

/// Results do not depend on threads or on the instruction set, to the last digit of the document.
#[test]
fn threads_and_isa_change_nothing() {
    let scene = Scene::new(5);
    let scan = |threads: &str, isa: Option<&str>| {
        let mut command =
            scene.command(crate::scene::RADNET, &["predict", "scan", "--model", "model.safetensors", "--json", "-", "--threads", threads]);
        if let Some(isa) = isa {
            command.env("RADNET_ISA", isa);
        }
        let document = crate::scene::Said::from(command.output().unwrap()).exit(0).json();
        if let Some(isa) = isa {
            assert_eq!(document["radnet"]["isa"], isa);
        }
        (document["results"][0]["slices"].clone(), document["results"][0]["scan"].clone())
    };
    let expected = scan("1", None);
    for threads in ["2", "3", "8"] {
        assert_eq!(scan(threads, None), expected, "{threads} threads");
    }
    assert_eq!(scan("2", Some("portable")), expected, "portable");
}
