//! The result document `radnet-result/1` (spec: interface, "JSON") as types; the order of fields is the order of keys.
//!
//! Unknown values are `null`; floats are written in their shortest form that reads back to the same value; values that are not finite never get in.

use super::Acquisition;
use crate::{Error, ErrorKind, Finding, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::path::Path;
use std::sync::Arc;

/// The schema's name.
pub const SCHEMA: &str = "radnet-result/1";

/// Everything one run has to say.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunReport {
    schema: &'static str,
    /// The engine.
    pub radnet: EngineInfo,
    /// The model.
    pub model: ModelInfo,
    /// One per study and chosen series, in the order of the paths.
    pub results: Vec<StudyResult>,
}

/// What ran; the parts that are not known when the device or the model failed are null.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EngineInfo {
    /// Version of the engine.
    pub version: &'static str,
    /// "cpu", "cuda:0".
    pub device: Option<String>,
    /// "amx", "avx512-bf16", "avx512", "avx2", "neon-bf16", "neon", "portable", "sm_90".
    pub isa: Option<String>,
    /// "fp32".
    pub precision: Option<String>,
    /// Worker threads.
    pub threads: Option<usize>,
}

/// The model's own words and its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ModelInfo {
    /// `radnet.name`.
    pub name: Option<String>,
    /// `radnet.version`.
    pub version: Option<String>,
    /// Of the whole file, lower-case hex.
    pub sha256: Option<String>,
    /// `radnet.intended_use`.
    pub intended_use: Option<String>,
}

/// One study's outcome.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum StudyResult {
    /// Probabilities.
    Ok(Box<StudyOk>),
    /// A refusal.
    Error(StudyError),
}

/// A study that was judged.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StudyOk {
    /// (0020,000D).
    pub study_instance_uid: Option<String>,
    /// (0020,000E).
    pub series_instance_uid: Option<String>,
    /// The PATH it came from, as given.
    pub source: String,
    /// How the scan was made.
    pub acquisition: Acquisition,
    /// Per class.
    pub scan: PerClass<ClassScore>,
    /// Inferior to superior: the order the network saw.
    pub slices: Vec<SliceResult>,
    /// What to know about the series.
    pub findings: Vec<Finding>,
    /// Where the time went.
    pub timing_ms: Timing,
    /// Names of the files written by `--maps`, absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps: Option<MapFiles>,
}

/// The files that `--maps` wrote for one study, relative to its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MapFiles {
    /// All slices at a glance.
    pub contact_sheet: String,
    /// One picture per slice, in the order of `slices`.
    pub overlays: Vec<String>,
    /// float32 [slices, heads, h, w]; null for a model without attention.
    pub attention: Option<String>,
    /// float32 [slices, heads, height, width]; null for a model without segmentation heads.
    pub segmentation: Option<String>,
    /// What the arrays' axes and pixels mean.
    pub geometry: String,
}

/// A study, or a whole path, that was not judged.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StudyError {
    /// (0020,000D), where it came to that.
    pub study_instance_uid: Option<String>,
    /// (0020,000E), where it came to that.
    pub series_instance_uid: Option<String>,
    /// The PATH it came from, as given.
    pub source: String,
    /// Why.
    pub error: ErrorInfo,
    /// What was found on the way.
    pub findings: Vec<Finding>,
}

/// An error with its stable code.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ErrorInfo {
    /// From the list of codes of the interface.
    pub code: &'static str,
    /// A sentence with the file, tag, tensor or value to blame.
    pub message: String,
}

/// A scan's decision for one class.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassScore {
    /// The aggregated probability.
    pub score: f64,
    /// score ≥ threshold.
    pub positive: bool,
    /// From the model.
    pub threshold: f64,
}

/// One slice.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SliceResult {
    /// From 0, inferior to superior.
    pub index: usize,
    /// (0008,0018).
    pub sop_instance_uid: Option<String>,
    /// (0020,0013).
    pub instance_number: Option<i64>,
    /// Along the slice normal.
    pub position_mm: Option<f64>,
    /// σ(logit).
    pub probability: PerClass<f64>,
    /// The classifier's output.
    pub logit: PerClass<f64>,
}

/// Milliseconds of wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Timing {
    /// Files to Hounsfield units.
    pub decode: f64,
    /// Hounsfield units to windowed slices, where it is apart from inference.
    pub preprocess: f64,
    /// Windowed slices to logits.
    pub inference: f64,
    /// All of it, and the maps where they were asked for.
    pub total: f64,
}

/// One value per class, in the model's order: a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct PerClass<T>(Vec<(Arc<str>, T)>);

impl<T> PerClass<T> {
    /// `values` in the order of `classes`.
    pub fn new(classes: &[Arc<str>], values: impl IntoIterator<Item = T>) -> Self {
        Self(classes.iter().cloned().zip(values).collect())
    }

    /// Class and value, in the model's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.0.iter().map(|(class, value)| (&**class, value))
    }

    /// The value of a class.
    pub fn get(&self, class: &str) -> Option<&T> {
        self.iter().find(|(c, _)| *c == class).map(|(_, v)| v)
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for PerClass<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (class, value) in self.iter() {
            map.serialize_entry(class, value)?;
        }
        map.end()
    }
}

impl EngineInfo {
    /// What is known before a device is open.
    pub fn unopened() -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), device: None, isa: None, precision: None, threads: None }
    }
}

impl From<&Error> for ErrorInfo {
    fn from(error: &Error) -> Self {
        Self { code: error.kind().code(), message: error.to_string() }
    }
}

impl StudyError {
    /// A whole path that came to nothing.
    pub fn of_path(source: &Path, error: &Error) -> Self {
        Self {
            study_instance_uid: None,
            series_instance_uid: None,
            source: source.display().to_string(),
            error: error.into(),
            findings: Vec::new(),
        }
    }
}

impl StudyOk {
    /// Indices of the slices that reach the class's threshold, ascending.
    pub fn positive_slices(&self, class: &str) -> Vec<usize> {
        let Some(score) = self.scan.get(class) else { return Vec::new() };
        let reaches = |s: &&SliceResult| s.probability.get(class).is_some_and(|p| *p >= score.threshold);
        self.slices.iter().filter(reaches).map(|s| s.index).collect()
    }

    /// The highest probability of any class on a slice.
    pub fn suspicion(&self, index: usize) -> f64 {
        self.slices[index].probability.iter().map(|(_, p)| *p).fold(0.0, f64::max)
    }

    fn check_finite(&self) -> Result<()> {
        let scores = self.scan.iter().map(|(class, s)| (class, s.score));
        let slices = self.slices.iter().flat_map(|s| s.logit.iter().chain(s.probability.iter()));
        match scores.chain(slices.map(|(class, v)| (class, *v))).find(|(_, v)| !v.is_finite()) {
            Some((class, value)) => {
                Err(Error::new(ErrorKind::BadModel, format!("the model's output for class {class} is {value}, not a number to report")))
            }
            None => Ok(()),
        }
    }
}

impl StudyResult {
    /// A judged study, or an error `bad_model` where the network's output is not finite.
    pub fn judged(study: StudyOk) -> Self {
        match study.check_finite() {
            Ok(()) => Self::Ok(Box::new(study)),
            Err(error) => Self::Error(StudyError {
                study_instance_uid: study.study_instance_uid,
                series_instance_uid: study.series_instance_uid,
                source: study.source,
                error: (&error).into(),
                findings: study.findings,
            }),
        }
    }

    /// Whether it carries probabilities.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// The PATH it came from.
    pub fn source(&self) -> &str {
        match self {
            Self::Ok(study) => &study.source,
            Self::Error(study) => &study.source,
        }
    }
}

impl RunReport {
    /// A document without results yet.
    pub fn new(radnet: EngineInfo, model: ModelInfo) -> Self {
        Self { schema: SCHEMA, radnet, model, results: Vec::new() }
    }

    /// Whether every result is ok.
    pub fn all_ok(&self) -> bool {
        self.results.iter().all(StudyResult::is_ok)
    }

    /// The document as it goes to a file: UTF-8, two spaces of indentation, a final line feed.
    ///
    /// # Errors
    /// `io` when serialisation fails, which these types do not.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        to_json(self)
    }
}

/// Ascending indices as runs of neighbours, first and last.
pub fn runs(indices: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    runs
}

/// Any document of this crate as JSON text: indented, with a final line feed.
///
/// # Errors
/// `io` when serialisation fails.
pub fn to_json(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(document)
        .map_err(|e| Error::new(ErrorKind::Io, format!("cannot write the result as JSON: {e}")).caused_by(e))?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FindingCode;

    fn study(logit: f64) -> StudyOk {
        let classes: Vec<Arc<str>> = vec!["any".into(), "Epidural".into()];
        let slice = |index, p| SliceResult {
            index,
            sop_instance_uid: Some("1.2.3".into()),
            instance_number: None,
            position_mm: Some(-31.5),
            probability: PerClass::new(&classes, [p, 0.1]),
            logit: PerClass::new(&classes, [logit, -2.0]),
        };
        let score = ClassScore { score: 0.93, positive: true, threshold: 0.5 };
        StudyOk {
            study_instance_uid: Some("1.2".into()),
            series_instance_uid: None,
            source: "a folder".into(),
            acquisition: Acquisition::default(),
            scan: PerClass::new(&classes, [score, ClassScore { score: 0.1, positive: false, threshold: 0.5 }]),
            slices: vec![slice(0, 0.013), slice(1, 0.5), slice(2, 0.93)],
            findings: vec![Finding::warning(FindingCode::MissingSlice, "a gap")],
            timing_ms: Timing::default(),
            maps: None,
        }
    }

    /// The keys of the contract, in its order; classes in the model's order, not sorted; unknown values null.
    #[test]
    fn json_has_the_keys_of_the_contract_in_order() {
        let mut report = RunReport::new(EngineInfo::unopened(), ModelInfo::default());
        report.results.push(StudyResult::judged(study(-4.33)));
        report.results.push(StudyResult::Error(StudyError::of_path(Path::new("b"), &Error::new(ErrorKind::NotCt, "MR"))));
        let text = String::from_utf8(report.to_json().unwrap()).unwrap();
        let keys = [
            "\"schema\": \"radnet-result/1\"",
            "\"radnet\"",
            "\"version\"",
            "\"device\": null",
            "\"isa\"",
            "\"precision\"",
            "\"threads\"",
            "\"model\"",
            "\"name\"",
            "\"version\"",
            "\"sha256\"",
            "\"intended_use\"",
            "\"results\"",
            "\"status\": \"ok\"",
            "\"study_instance_uid\": \"1.2\"",
            "\"series_instance_uid\": null",
            "\"source\": \"a folder\"",
            "\"acquisition\"",
            "\"manufacturer\": null",
            "\"kernel\"",
            "\"thickness_mm\"",
            "\"tilt_deg\"",
            "\"scan\"",
            "\"any\"",
            "\"score\": 0.93",
            "\"positive\": true",
            "\"threshold\": 0.5",
            "\"Epidural\"",
            "\"slices\"",
            "\"index\": 0",
            "\"sop_instance_uid\": \"1.2.3\"",
            "\"instance_number\": null",
            "\"position_mm\": -31.5",
            "\"probability\"",
            "\"any\": 0.013",
            "\"logit\"",
            "\"any\": -4.33",
            "\"findings\"",
            "\"code\": \"missing_slice\"",
            "\"severity\": \"warning\"",
            "\"message\": \"a gap\"",
            "\"timing_ms\"",
            "\"decode\"",
            "\"preprocess\"",
            "\"inference\"",
            "\"total\"",
            "\"status\": \"error\"",
            "\"source\": \"b\"",
            "\"code\": \"not_ct\"",
            "\"message\": \"MR\"",
        ];
        let mut from = 0;
        for key in keys {
            from += text[from..].find(key).unwrap_or_else(|| panic!("{key} is missing or out of order in {text}")) + key.len();
        }
        assert!(text.ends_with("}\n"));
    }

    /// Every float reads back to its own bits: halves of the exponent range, float32 values widened, subnormals.
    #[test]
    fn floats_survive_the_round_trip() {
        let mut values = vec![f64::MIN_POSITIVE / 8.0, f64::MAX, -0.0, 1.0 / 3.0, f64::from(0.1_f32), f64::from(-4.33_f32), 1e21, 1e-7];
        values.extend((0..2000_u64).map(|i| f64::from_bits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2)).filter(|v| v.is_finite()));
        let text = serde_json::to_string(&values).unwrap();
        let back: Vec<f64> = serde_json::from_str(&text).unwrap();
        assert!(values.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn an_output_that_is_not_finite_becomes_an_error() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let StudyResult::Error(error) = StudyResult::judged(study(bad)) else { panic!("{bad} was reported") };
            assert_eq!(error.error.code, "bad_model");
            assert_eq!(error.study_instance_uid.as_deref(), Some("1.2"));
        }
    }

    /// The threshold itself is positive, as in the scan rule.
    #[test]
    fn positive_slices_reach_the_threshold() {
        assert_eq!(study(0.0).positive_slices("any"), [1, 2]);
        assert!(study(0.0).positive_slices("Epidural").is_empty());
    }
}
