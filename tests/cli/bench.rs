//! `radnet-bench`.

use crate::scene::Scene;

const KEYS: [&str; 15] = [
    "median_ms",
    "min_ms",
    "p90_ms",
    "p99_ms",
    "device_ms",
    "slices",
    "size",
    "device",
    "isa",
    "precision",
    "threads",
    "peak_rss_mb",
    "load_ms",
    "first_result_ms",
    "stages",
];

#[test]
fn figures_have_the_contracts_keys() {
    let scene = Scene::new(1);
    for (from, input) in [("tensor", "noise"), ("hu", "head"), ("hu", "noise"), ("tensor", "head")] {
        let arguments = [
            "--model",
            "model.safetensors",
            "--slices",
            "3",
            "--warmup",
            "1",
            "--reps",
            "3",
            "--from",
            from,
            "--input",
            input,
            "--json",
            "-",
            "--threads",
            "2",
            "--device",
            "cpu",
            "--trace",
            "trace.json",
        ];
        let said = scene.bench(&arguments).exit(0);
        let figures = said.json();
        let keys: Vec<&String> = figures.as_object().unwrap().keys().collect();
        for key in KEYS {
            assert!(keys.iter().any(|k| *k == key), "{key}");
        }
        assert!(figures["device_ms"].is_null());
        assert_eq!((&figures["slices"], &figures["size"], &figures["threads"]), (&3.into(), &40.into(), &2.into()));
        let ms = |key: &str| figures[key].as_f64().unwrap();
        assert!(ms("min_ms") <= ms("median_ms") && ms("median_ms") <= ms("p90_ms") && ms("p90_ms") <= ms("p99_ms"));
        assert!(ms("first_result_ms") >= ms("load_ms"));
        let parts = figures["stages"].as_array().unwrap();
        let named = |name: &str| parts.iter().filter(|p| p["name"] == name).count();
        assert_eq!((named("preprocess"), named("stem"), named("block 2")), (usize::from(from == "hu"), 1, 1), "{parts:?}");
        assert!(named("segmentation 1") == 0, "maps are not asked for");
        for key in ["name", "median_ms", "gflop", "mbyte", "roof_pct"] {
            assert!(parts.iter().all(|p| p.get(key).is_some()), "{key}");
        }
        let under = |p: &serde_json::Value| p["roof_pct"].as_f64().is_some_and(|share| share > 0.0);
        assert!(parts.iter().filter(|p| p["gflop"].as_f64() > Some(0.0)).all(under), "{parts:?}");
        let trace: serde_json::Value = serde_json::from_str(&scene.text("trace.json")).unwrap();
        let scans = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X" && e["tid"] == 1).count();
        assert_eq!(scans, 3);
    }
}

#[test]
fn text_is_for_people() {
    let scene = Scene::new(1);
    let said = scene.bench(&["--arch", "densenet121", "--size", "64", "--slices", "1", "--warmup", "0", "--reps", "1", "--stages"]).exit(0);
    for words in ["densenet121: 1 slices of 3×64×64", "median", "stem", "block 4", "peak memory"] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
    let said = scene.bench(&["--device", "cuda:999", "--slices", "1", "--size", "64", "--reps", "1"]).exit(1);
    assert!(said.stdout.is_empty() && said.stderr.contains("cuda:999"));
}

/// Two measurements side by side; what is none of them is refused by name.
#[test]
fn measurements_are_compared() {
    let scene = Scene::new(1);
    for (slices, file) in [("1", "one.json"), ("2", "two.json")] {
        scene.bench(&["--model", "model.safetensors", "--slices", slices, "--warmup", "0", "--reps", "1", "--json", file]).exit(0);
    }
    let said = scene.bench(&["--compare", "one.json", "two.json"]).exit(0);
    for words in ["median ms", "stem", "before / after", "slices 1 before, 2 after"] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
    let document = scene.bench(&["--compare", "one.json", "one.json", "--json", "-"]).exit(0).json();
    assert_eq!((&document["figures"][0]["ratio"], &document["differences"]), (&1.0.into(), &serde_json::json!([])));
    let said = scene.bench(&["--compare", "one.json", "model.safetensors"]).exit(1);
    assert!(said.stderr.contains("model.safetensors") && said.stderr.contains("not a measurement"), "{}", said.stderr);
}

/// Every combination is a row, a point of the document and of the drawing; one that cannot be had is said, and the others stand.
#[test]
fn a_sweep_is_a_table_a_document_and_a_drawing() {
    let scene = Scene::new(1);
    let common = ["--model", "model.safetensors", "--device", "cpu", "--warmup", "0", "--reps", "1"];
    let sweep = |axes: &[&str]| scene.bench(&[&common[..], &["--svg", "sweep.svg", "--json", "sweep.json", "--sweep"], axes].concat());
    let said = sweep(&["slices=1,2,3", "threads=1,2"]).exit(0);
    let document: serde_json::Value = serde_json::from_str(&scene.text("sweep.json")).unwrap();
    let points = document["points"].as_array().unwrap();
    assert_eq!(points.len(), 6);
    for point in points {
        assert_eq!((&point["measured"]["slices"], &point["measured"]["threads"]), (&point["slices"], &point["threads"]));
    }
    for words in ["first result", "per slice", "p99", "MB", "GFLOP/s"] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
    let drawing = scene.text("sweep.svg");
    assert!(drawing.matches("<polyline").count() == 2 && drawing.contains("2 threads"), "{drawing}");
    let said = sweep(&["precision=fp32,fp16"]).exit(1);
    assert!(said.stdout.contains("not measured") && said.stdout.contains("precision fp16"), "{}", said.stdout);
    assert!(scene.text("sweep.svg").contains("<polyline"));
    assert!(scene.bench(&["--sweep", "depth=3"]).exit(2).stderr.contains("depth is none of"));
}
