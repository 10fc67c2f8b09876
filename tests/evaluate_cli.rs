//! `radnet evaluate` end to end: files in, tables, documents, pages and exit status out.

use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

struct Scene(TempDir);

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Scene {
    /// With `labels.csv` and `scores.csv`: the one two-by-two table that fits the paper's figures, TP 39, FP 9, FN 5, TN 24, and three readers.
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        let (mut labels, mut scores) = ("id,label,reader:R1,reader:R2,reader:R3\n".to_owned(), "id,score\n".to_owned());
        let mut i = 0;
        for (truth, called, n) in [(1, 1, 39), (0, 1, 9), (1, 0, 5), (0, 0, 24)] {
            for _ in 0..n {
                let read = |every: usize| if i % every == 0 { 1 - truth } else { truth };
                writeln!(labels, "case{i},{truth},{},{},{}", read(9), read(5), read(4)).unwrap();
                writeln!(scores, "case{i},{:?}", 0.5 * f64::from(called) + 0.005 * i as f64).unwrap();
                i += 1;
            }
        }
        scene.write("labels.csv", &labels);
        scene.write("scores.csv", &scores);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn evaluate(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_radnet"));
        let output = command.arg("evaluate").args(arguments).current_dir(self.0.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Said {
    #[track_caller]
    fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout {:?}\nstderr {:?}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {:?}", self.stdout))
    }
}

/// 63 of 77 is 81.82 %, Wilson 71.8 to 88.8.
#[test]
fn the_papers_table() {
    let scene = Scene::new();
    let said = scene.evaluate(&["--labels", "labels.csv", "--scores", "scores.csv"]).exit(0);
    assert_eq!(said.stderr, "");
    for words in
        ["77 cases, 44 positive", "TP 39  FP 9  FN 5  TN 24", "81.82 [71.8, 88.8]", "88.64 [76.0, 95.0]", "81.25 [68.1, 89.8]", "84.78 ["]
    {
        assert!(said.stdout.contains(words), "`{words}` is missing in {}", said.stdout);
    }
    for row in [" model ", " R1 ", " R2 ", " R3 ", "Fleiss", "youden", "AUC"] {
        assert!(said.stdout.contains(row), "`{row}` is missing in {}", said.stdout);
    }
    assert!(!said.stdout.contains('\x1b') && !said.stdout.contains("NaN"));
}

/// The keys of the contract, in the document and with `-` nothing beside it.
#[test]
fn the_document() {
    let scene = Scene::new();
    let arguments = ["--labels", "labels.csv", "--labels-format", "csv", "--scores", "scores.csv", "--bootstrap", "200", "--seed", "5"];
    let said = scene.evaluate(&[&arguments[..], &["--json", "-"]].concat()).exit(0);
    let document = said.json();
    for key in ["n", "positives", "tp", "fp", "fn", "tn", "log_loss", "brier", "calibration", "readers", "kappa"] {
        assert!(!document[key].is_null(), "{key}");
    }
    let estimates =
        ["accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "lr_positive", "lr_negative", "auc", "average_precision"];
    for key in estimates {
        let (value, ci) = (document[key]["value"].as_f64().unwrap(), &document[key]["ci95"]);
        assert!(ci[0].as_f64().unwrap() <= value && value <= ci[1].as_f64().unwrap(), "{key}: {value} {ci}");
    }
    for (key, expected) in [("value", 63.0 / 77.0), ("low", 0.717_637_171_278_838_6), ("high", 0.888_487_467_177_794_4)] {
        let ours = match key {
            "low" => &document["accuracy"]["ci95"][0],
            "high" => &document["accuracy"]["ci95"][1],
            key => &document["accuracy"][key],
        };
        assert!((ours.as_f64().unwrap() - expected).abs() < 1e-12, "{key}");
    }
    for key in ["name", "accuracy", "sensitivity", "specificity", "ppv", "f1", "mcnemar_p", "kappa"] {
        assert!(!document["readers"][2][key].is_null(), "{key}");
    }
    assert_eq!(document["calibration"]["bins"].as_array().unwrap().len(), 10);
    assert_eq!(document["kappa"]["pairs"].as_array().unwrap().len(), 3);
    // Into a file it is the same document, and the table is on standard output.
    let again = scene.evaluate(&[&arguments[..], &["--json", "e.json"]].concat()).exit(0);
    assert_eq!(fs::read_to_string(scene.path("e.json")).unwrap(), said.stdout);
    assert!(again.stdout.contains("81.82"));
    let other = scene.evaluate(&["--labels", "labels.csv", "--scores", "scores.csv", "--bootstrap", "200", "--json", "-"]).exit(0).json();
    assert_ne!(other["average_precision"]["ci95"], document["average_precision"]["ci95"], "another seed");
    let without = scene.evaluate(&["--labels", "labels.csv", "--scores", "scores.csv", "--bootstrap", "0", "--json", "-"]).exit(0).json();
    assert!(without["f1"]["ci95"].is_null() && !without["f1"]["value"].is_null());
}

#[test]
fn thresholds() {
    let scene = Scene::new();
    let of = |extra: &[&str]| {
        scene.evaluate(&[&["--labels", "labels.csv", "--scores", "scores.csv", "--json", "-"], extra].concat()).exit(0).json()
    };
    let default = of(&[]);
    assert_eq!((&default["threshold"], &default["threshold_from"]), (&0.5.into(), &"default".into()));
    let all = of(&["--threshold", "0"]);
    assert_eq!((&all["tp"], &all["fp"], &all["npv"]["value"]), (&44.into(), &33.into(), &Value::Null));
}

fn document(threshold: f64, results: &[String]) -> String {
    let model = r#"{"name":"m","version":"1","sha256":"ab","intended_use":"Only a test."}"#;
    format!(
        r#"{{"schema":"radnet-result/1","radnet":{{}},"model":{model},"results":[{}]}}"#,
        results.join(",").replace("@", &threshold.to_string())
    )
}

fn study(uid: &str, score: f64) -> String {
    format!(
        r#"{{"status":"ok","study_instance_uid":"{uid}","series_instance_uid":"{uid}.9","source":"scans/{uid}","acquisition":{{"manufacturer":"Made Up","kernel":"H30s","thickness_mm":5,"tilt_deg":12}},"scan":{{"any":{{"score":{score},"positive":true,"threshold":@}}}},"slices":[],"findings":[]}}"#
    )
}

/// Documents and lines together; the model's threshold and words; errors are counted; the wrong identifier is explained.
#[test]
fn results_of_predict() {
    let scene = Scene::new();
    let failed = r#"{"status":"error","source":"scans/c","error":{"code":"not_ct","message":"only MR"}}"#.to_owned();
    scene.write("one.json", &document(0.4, &[study("a", 0.45), failed]));
    scene.write("more.jsonl", &format!("{}\n{}\n", document(0.4, &[study("b", 0.1)]), document(0.4, &[study("d", 0.9)])));
    scene.write("truth.csv", "id,label\na,1\nb,0\nc,1\nd,1\n");
    let arguments = ["--labels", "truth.csv", "--results", "one.json", "more.jsonl", "--bootstrap", "50"];
    let refused = scene.evaluate(&arguments).exit(1);
    assert!(refused.stderr.contains("1 labelled but not scored") && refused.stderr.contains("not_ct"), "{}", refused.stderr);
    let said = scene.evaluate(&[&arguments[..], &["--allow-missing", "--json", "-"]].concat()).exit(0).json();
    assert_eq!((&said["n"], &said["tp"], &said["missing_scores"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!(
        (&said["threshold"], &said["threshold_from"], &said["model"]["intended_use"]),
        (&0.4.into(), &"model".into(), &"Only a test.".into())
    );
    assert_eq!(said["errors"][0]["code"], "not_ct");
    assert_eq!(said["subgroups"][0]["groups"][0]["name"], "MADE UP");
    let table = scene.evaluate(&[&arguments[..], &["--allow-missing"]].concat()).exit(0).stdout;
    for words in ["Only a test.", "1 result is an error", "By manufacturer", "H30s", "over 10 degrees", "the model's"] {
        assert!(table.contains(words), "`{words}` is missing in {table}");
    }
    let folders = scene.evaluate(&[&arguments[..], &["--allow-missing", "--id", "folder"]].concat()).exit(0);
    assert!(folders.stdout.contains("3 cases"));
    let series = scene.evaluate(&[&arguments[..], &["--id", "series"]].concat()).exit(1);
    assert!(series.stderr.contains("no identifier in common") && series.stderr.contains("a.9"), "{}", series.stderr);
}

/// The report is one page that says what the table says.
#[test]
fn the_report() {
    let scene = Scene::new();
    scene.evaluate(&["--labels", "labels.csv", "--scores", "scores.csv", "--report", "r.html"]).exit(0);
    let page = fs::read_to_string(scene.path("r.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("R3"));
}

/// Files that cannot be believed are named with their line, and nothing is written.
#[test]
fn bad_files() {
    let scene = Scene::new();
    scene.write("bad.csv", "id,label\ncase1,1\n\ncase2,maybe\n");
    let said = scene.evaluate(&["--labels", "bad.csv", "--scores", "scores.csv", "--json", "e.json", "--report", "r.html"]).exit(1);
    assert!(said.stderr.contains("bad.csv: line 4: `maybe` is no label"), "{}", said.stderr);
    assert!(said.stdout.is_empty() && !scene.path("e.json").exists() && !scene.path("r.html").exists());
    for (arguments, words) in [
        (["--labels", "labels.csv", "--scores", "nowhere.csv"], "nowhere.csv"),
        (["--labels", "labels.csv", "--results", "scores.csv"], "no radnet-result document"),
        (["--labels", "scores.csv", "--scores", "scores.csv"], "line 1"),
    ] {
        let said = scene.evaluate(&arguments).exit(1);
        assert!(said.stderr.contains(words) && said.stderr.lines().count() == 1, "{}", said.stderr);
    }
    let said = scene.evaluate(&["--labels", "labels.csv", "--scores", "scores.csv", "--json", "missing/e.json"]).exit(1);
    assert!(said.stderr.contains("missing/e.json"), "{}", said.stderr);
}

#[test]
fn wrong_usage() {
    let scene = Scene::new();
    let both = ["--labels", "labels.csv", "--scores", "scores.csv"];
    for wrong in [
        &["--scores", "scores.csv"][..],
        &["--labels", "labels.csv"],
        &[&both[..], &["--results", "r.json"]].concat(),
        &[&both[..], &["--model", "m"]].concat(),
        &["--labels", "labels.csv", "--run", "folder"],
        &[&both[..], &["--threshold", "1.5"]].concat(),
        &[&both[..], &["--threshold", "nan"]].concat(),
        &[&both[..], &["--labels-format", "xls"]].concat(),
        &[&both[..], &["--id", "patient"]].concat(),
        &[&both[..], &["--bootstrap", "-1"]].concat(),
    ] {
        scene.evaluate(wrong).exit(2);
    }
}
