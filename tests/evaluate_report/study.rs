//! Made evaluations: label and result files written, read and judged as the program does.

use radnet::evaluate::labels::{Format, read_labels};
use radnet::evaluate::{Evaluation, IdKind, Options, Scores, evaluate};
use radnet::report::evaluation::{Sources, render};
use serde_json::{Value, json};
use std::fmt::Write;

/// Labels as CSV, results as a `radnet-result/1` document.
pub(crate) struct Study {
    pub(crate) labels: String,
    pub(crate) results: Value,
    pub(crate) options: Options,
}

/// Uniform in [0, 1), the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

const USE: &str = "None: the cases, readers and scores of this page are made up.";

impl Study {
    /// `n` cases, a share `prevalence` positive, readers who err with the given chances.
    pub(crate) fn new(n: usize, prevalence: f64, readers: &[(&str, f64)]) -> Self {
        let mut noise = Noise(7);
        let mut labels = String::from("id,label");
        readers.iter().for_each(|(name, _)| {
            let _ = write!(labels, ",\"reader:{}\"", name.replace('"', "\"\""));
        });
        labels.push('\n');
        let mut results = Vec::new();
        for i in 0..n {
            let truth = (i as f64 + 0.5) / (n as f64) < prevalence;
            let _ = write!(labels, "1.2.{i},{}", u8::from(truth));
            for (_, chance) in readers {
                let _ = write!(labels, ",{}", u8::from(truth ^ (noise.next() < *chance)));
            }
            labels.push('\n');
            let p = ((noise.next() + noise.next() + noise.next()) / 3.0 + if truth { 0.2 } else { -0.2 }).clamp(0.0, 1.0);
            results.push(json!({"status": "ok", "study_instance_uid": format!("1.2.{i}"), "source": "made",
                "scan": {"any": {"score": p, "positive": p >= 0.5, "threshold": 0.5}}}));
        }
        let model = json!({"name": "a made-up example", "version": "1", "sha256": "0123abcd", "intended_use": USE});
        let results = json!({"schema": "radnet-result/1", "model": model, "results": results});
        Self { labels, results, options: Options { bootstrap: 200, allow_missing: true, ..Options::default() } }
    }

    pub(crate) fn results_mut(&mut self) -> &mut Vec<Value> {
        self.results["results"].as_array_mut().unwrap()
    }

    /// Scanners, kernels and thicknesses in turn.
    pub(crate) fn with_acquisitions(mut self, manufacturers: &[&str], kernels: &[&str], thicknesses: &[f64]) -> Self {
        for (i, result) in self.results_mut().iter_mut().enumerate() {
            result["acquisition"] = json!({"manufacturer": manufacturers[i % manufacturers.len()],
                "kernel": kernels[i / 2 % kernels.len()], "thickness_mm": thicknesses[i / 3 % thicknesses.len()]});
        }
        self
    }

    /// Further results that are errors.
    pub(crate) fn with_failures(mut self, n: usize, message: &str) -> Self {
        let codes = ["not_ct", "corrupt_file", "no_usable_series"];
        let failure =
            |i: usize| json!({"status": "error", "source": format!("scans/{i}"), "error": {"code": codes[i % 3], "message": message}});
        self.results_mut().extend((0..n).map(failure));
        self
    }

    pub(crate) fn evaluate(&self) -> Evaluation {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, &self.labels).unwrap();
        let labels = read_labels(&path, Format::Auto).unwrap();
        let mut scores = Scores::default();
        scores.add_bytes(&serde_json::to_vec(&self.results).unwrap(), IdKind::Study).unwrap();
        evaluate(&labels, &scores, &self.options).unwrap()
    }

    pub(crate) fn page(&self) -> String {
        let sources = Sources { labels: "reads.csv".to_owned(), results: vec!["results.json".to_owned()], id: Some(IdKind::Study) };
        render(&self.evaluate(), &sources)
    }
}
