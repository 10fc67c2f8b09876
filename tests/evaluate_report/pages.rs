//! Pages of every kind of study, by name.

use crate::study::Study;

pub(crate) const HOSTILE: &str = "<script>alert('1')</script>\"&\u{202e}</td></table>\u{1}";

pub(crate) const LONG: &str =
    "Reader with a name that is far too long for any table, and which no page has any reason to repeat in full, however often.";

pub(crate) fn all() -> Vec<(&'static str, String)> {
    let readers = [("R1", 0.1), ("R2", 0.18), ("R3", 0.06)];
    let many: Vec<String> = (0..40).map(|i| format!("reader {i}")).collect();
    let many: Vec<(&str, f64)> = many.iter().map(|name| (name.as_str(), 0.2)).collect();
    vec![
        ("typical", typical(77).page()),
        ("large", Study::new(8000, 0.14, &readers).page()),
        ("no-readers", Study::new(40, 0.5, &[]).page()),
        ("no-positives", Study::new(20, 0.0, &readers).page()),
        ("no-negatives", Study::new(20, 1.0, &readers[..1]).page()),
        ("one-case", Study::new(1, 1.0, &readers).page()),
        ("perfect", perfect().page()),
        ("failures", Study::new(12, 0.5, &readers).with_failures(5000, &"long words ".repeat(100)).page()),
        (
            "long-names",
            Study::new(60, 0.4, &[(LONG, 0.1), ("B", 0.3)]).with_acquisitions(&[&LONG[..60], "x"], &[&"k".repeat(64)], &[0.6]).page(),
        ),
        ("missing", missing().page()),
        ("many-readers", Study::new(60, 0.4, &many).page()),
        ("hostile", hostile().page()),
    ]
}

/// As the README shows it.
pub(crate) fn typical(n: usize) -> Study {
    let readers = [("R1", 0.1), ("R2", 0.18), ("R3", 0.06)];
    let study = Study::new(n, 0.57, &readers).with_failures(3, "MR is not CT");
    study.with_acquisitions(&["GE MEDICAL SYSTEMS", "Philips", "SIEMENS"], &["SOFT", "UB", "J40s\\3"], &[0.625, 2.5, 5.0])
}

/// Every score is right; all in one bin for each kind.
fn perfect() -> Study {
    let mut study = Study::new(30, 0.5, &[("R1", 0.1)]);
    for (i, result) in study.results_mut().iter_mut().enumerate() {
        result["scan"]["any"]["score"] = if i < 15 { 0.97.into() } else { 0.96.into() };
    }
    study
}

/// Half of the cases are in one file only.
fn missing() -> Study {
    let mut study = Study::new(300, 0.5, &[("R1", 0.1)]);
    for (i, result) in study.results_mut().iter_mut().enumerate() {
        if i % 2 == 0 {
            result["study_instance_uid"] = format!("9.9.{i}").into();
        }
    }
    study
}

/// Markup wherever a file may have text.
fn hostile() -> Study {
    let mut study = Study::new(20, 0.5, &[(HOSTILE, 0.2), ("R2", 0.1)]).with_failures(2, HOSTILE);
    study = study.with_acquisitions(&[HOSTILE], &[HOSTILE], &[1.0]);
    for key in ["name", "version", "sha256", "intended_use"] {
        study.results["model"][key] = HOSTILE.into();
    }
    study.results_mut().iter_mut().filter(|r| r["status"] == "error").for_each(|r| {
        r["error"]["code"] = HOSTILE.into();
        r["source"] = HOSTILE.into();
    });
    study
}
