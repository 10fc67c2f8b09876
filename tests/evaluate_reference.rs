//! Every figure of an evaluation against the reference packages: scipy, statsmodels, scikit-learn, and DeLong's formula summed naively
//! (tools/evaluate-fixtures/make.py wrote the data sets and what the references say of them).

use radnet::evaluate::labels::{Format, Labels, read_labels};
use radnet::evaluate::{Evaluation, Options, Scores, evaluate};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Both sides compute in float64 with different orders of summation.
const TOLERANCE: f64 = 1e-10;
/// Two bootstraps of different random numbers: the ends of an interval move by a few percent of its width, and in small samples from one
/// possible value to the next.
const BOOTSTRAP_WIDTHS: f64 = 0.06;
const BOOTSTRAP_CASES: f64 = 1.5;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evaluate").join(name).with_extension("json");
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The data set as files, read back by the readers that users meet.
fn judged(fixture: &Value) -> Evaluation {
    let folder = tempfile::tempdir().unwrap();
    let truth = numbers(&fixture["truth"]);
    let readers: Vec<(String, Vec<f64>)> =
        fixture["reads"].as_object().map(|r| r.iter().map(|(name, reads)| (name.clone(), numbers(reads))).collect()).unwrap_or_default();
    let (mut labels, mut scores) = ("id,label".to_owned(), "id,score\n".to_owned());
    readers.iter().for_each(|(name, _)| write!(labels, ",reader:{name}").unwrap());
    labels.push('\n');
    for (i, (t, p)) in truth.iter().zip(numbers(&fixture["scores"])).enumerate() {
        write!(labels, "case{i},{t}").unwrap();
        readers.iter().for_each(|(_, reads)| write!(labels, ",{}", reads[i]).unwrap());
        labels.push('\n');
        writeln!(scores, "case{i},{p:?}").unwrap();
    }
    let (at_labels, at_scores) = (folder.path().join("l.csv"), folder.path().join("s.csv"));
    fs::write(&at_labels, labels).unwrap();
    fs::write(&at_scores, scores).unwrap();
    let labels = read_labels(&at_labels, Format::Auto).unwrap();
    let scores = Scores::read_csv(&at_scores, "any").unwrap();
    judge(&labels, &scores, fixture["threshold"].as_f64())
}

fn judge(labels: &Labels, scores: &Scores, threshold: Option<f64>) -> Evaluation {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let options = Options { threshold, bootstrap: 4000, seed: 3, pool: Some(pool.into()), ..Options::default() };
    evaluate(labels, scores, &options).unwrap()
}

/// Compares every figure that the reference has; `place` names it in a failure.
#[track_caller]
fn same(ours: &Value, reference: &Value, place: &str) {
    match (ours, reference) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= TOLERANCE * b.abs().max(1.0), "{place}: {a} is not {b}");
        }
        (Value::Object(a), Value::Object(b)) => b.iter().for_each(|(key, b)| {
            same(a.get(key).unwrap_or_else(|| panic!("{place}: no {key}")), b, &format!("{place}.{key}"));
        }),
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{place}");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| same(a, b, &format!("{place}[{i}]")));
        }
        (a, b) => assert_eq!(a, b, "{place}"),
    }
}

#[track_caller]
fn near(ours: &Value, reference: &Value, n: usize, place: &str) {
    if reference.is_null() {
        return;
    }
    let (a, b) = (numbers(ours), numbers(reference));
    let allowed = BOOTSTRAP_WIDTHS * (b[1] - b[0]) + BOOTSTRAP_CASES / n as f64;
    assert!((a[0] - b[0]).abs() <= allowed && (a[1] - b[1]).abs() <= allowed, "{place}: {a:?} is far from {b:?}");
}

fn check(name: &str) {
    let fixture = fixture(name);
    let evaluation = judged(&fixture);
    let ours = serde_json::to_value(&evaluation).unwrap();
    let expected = &fixture["expected"];
    for key in
        ["tp", "fp", "fn", "tn", "accuracy", "sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative", "auc", "brier"]
    {
        same(&ours[key], &expected[key], &format!("{name}: {key}"));
    }
    for key in ["log_loss", "calibration"] {
        same(&ours[key], &expected[key], &format!("{name}: {key}"));
    }
    for key in ["f1", "average_precision"] {
        same(&ours[key]["value"], &expected[key], &format!("{name}: {key}"));
        if !expected[key].is_null() {
            near(&ours[key]["ci95"], &expected["bootstrap"][key], evaluation.n, &format!("{name}: {key}"));
        }
    }
    if let Some(readers) = expected["readers"].as_array() {
        for (ours, expected) in ours["readers"].as_array().unwrap().iter().zip(readers) {
            for key in ["name", "accuracy", "sensitivity", "specificity", "ppv", "npv", "mcnemar_p", "kappa"] {
                same(&ours[key], &expected[key], &format!("{name}: {} {key}", expected["name"]));
            }
            same(&ours["f1"]["value"], &expected["f1"], &format!("{name}: {} f1", expected["name"]));
        }
        assert_eq!(evaluation.readers.len(), readers.len());
        same(&ours["kappa"], &expected["kappa"], &format!("{name}: kappa"));
    }
    curves(name, &evaluation, expected);
}

fn curves(name: &str, ours: &Evaluation, expected: &Value) {
    let points = |key: &str| expected.get(key).and_then(Value::as_array);
    if let Some(roc) = points("roc") {
        let ours: Vec<Value> = ours.roc.iter().map(|p| vec![p.fpr, p.tpr].into()).collect();
        same(&ours.into(), &roc.clone().into(), &format!("{name}: roc"));
    }
    if let Some(pr) = points("pr") {
        let ours: Vec<Value> = ours.pr.iter().map(|p| vec![p.recall, p.precision].into()).collect();
        same(&ours.into(), &pr.clone().into(), &format!("{name}: pr"));
    }
    if let Some(youden) = expected.get("youden") {
        assert_eq!(ours.operating_points[1].threshold, youden.as_f64(), "{name}: youden");
    }
}

#[test]
fn the_papers_table_with_three_readers() {
    check("paper77");
    let e = judged(&fixture("paper77"));
    let percent = |v: Option<f64>| format!("{:.2}", v.unwrap() * 100.0);
    assert_eq!((percent(e.accuracy.value), e.tp, e.fp, e.fn_, e.tn), ("81.82".to_owned(), 39, 9, 5, 24));
    let [low, high] = e.accuracy.ci95.unwrap();
    assert_eq!((format!("{:.1}", low * 100.0), format!("{:.1}", high * 100.0)), ("71.8".to_owned(), "88.8".to_owned()));
}

#[test]
fn readers_perfect_poor_and_constant() {
    check("readers");
}

#[test]
fn tied_scores() {
    check("ties");
    check("chance");
}

#[test]
fn few_cases() {
    check("small");
    check("one_positive");
}

#[test]
fn rare_positives() {
    check("imbalanced");
}

#[test]
fn one_kind_of_case() {
    check("all_positive");
    check("all_negative");
}

/// Zero cells too: at specificity 1 the positive likelihood ratio is infinite, which JSON has no number for: null, and so is its interval.
#[test]
fn perfect_inverted_and_silent_models() {
    check("perfect");
    check("inverted");
    check("nothing_called");
    let perfect = judged(&fixture("perfect"));
    assert_eq!((perfect.lr_positive.value, perfect.lr_negative.value), (None, Some(0.0)));
    assert!(perfect.auc.degenerate);
}

#[test]
fn probabilities_on_the_edges_of_bins() {
    check("edges");
}

/// Six classes, rows in an order of their own, and the challenge's weights.
#[test]
fn rsna_weighted_log_loss() {
    let fixture = fixture("rsna");
    let folder = tempfile::tempdir().unwrap();
    let (mut labels, mut scores) = ("ID,Label\n".to_owned(), "id,class,score\n".to_owned());
    for (i, id) in fixture["ids"].as_array().unwrap().iter().enumerate() {
        let id = id.as_str().unwrap();
        for (class, truth) in fixture["truth"].as_object().unwrap() {
            writeln!(labels, "{id}_{class},{}", truth[i]).unwrap();
            writeln!(scores, "{id},{class},{:?}", fixture["scores"][class][i].as_f64().unwrap()).unwrap();
        }
    }
    let (at_labels, at_scores) = (folder.path().join("l.csv"), folder.path().join("s.csv"));
    fs::write(&at_labels, labels).unwrap();
    fs::write(&at_scores, scores).unwrap();
    let labels = read_labels(&at_labels, Format::Auto).unwrap();
    assert_eq!((labels.format, labels.cases.len()), (Format::Rsna, 60));
    let ours = serde_json::to_value(judge(&labels, &Scores::read_csv(&at_scores, "any").unwrap(), None)).unwrap();
    same(&ours["log_loss"], &fixture["expected"]["log_loss"], "log loss");
    same(&ours["auc"], &fixture["expected"]["auc"], "auc");
}
