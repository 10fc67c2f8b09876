//! The calibrated model file: the classifier's row of the class divided by T, the threshold, the provenance; every other tensor byte for
//! byte as it was.

use crate::weights::{Amendment, Container, Dtype, Model, amend};
use crate::{Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// What to change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Of the model's classes.
    pub class: usize,
    /// T; 1 leaves the classifier's bytes alone.
    pub temperature: f64,
    /// The class's new threshold.
    pub threshold: f64,
    /// `radnet.version` of the new file.
    pub version: String,
    /// Added to the list under `radnet.calibration`, which keeps the records of earlier calibrations.
    pub record: Value,
}

const WEIGHT: &str = "classifier.weight";
const BIAS: &str = "classifier.bias";
const QUANTISED: &str = "quant.classifier.";

/// The bytes of the calibrated file. Under a temperature the classifier is stored as F32, whatever it was before: rounding the divided row
/// to 16 bits again would move logits by more than the temperature is known to.
///
/// # Errors
/// `bad_model` when the result would be no valid model: a threshold outside [0, 1], a quotient beyond float32, or a file that carries
/// quantisation data of the classifier.
pub fn calibrated(file: &[u8], change: &Change) -> Result<Vec<u8>> {
    let model = Model::from_bytes(file)?;
    let class = model.config.classes.get(change.class).ok_or_else(|| bad(format!("the model has no class {}", change.class)))?;
    let mut config = model.config.clone();
    config.thresholds.insert(class.clone(), change.threshold);
    let mut amendment = Amendment::default();
    amendment.metadata.insert("radnet.config".to_owned(), config.to_json()?);
    amendment.metadata.insert("radnet.version".to_owned(), change.version.clone());
    amendment.metadata.insert("radnet.calibration".to_owned(), history(&model.calibration, &change.record));
    if change.temperature != 1.0 {
        if Container::parse(file)?.tensors.keys().any(|name| name.starts_with(QUANTISED)) {
            return Err(bad("the file carries quantisation data of its classifier; calibrate the model before it is quantised".to_owned()));
        }
        amendment.tensors = classifier(&model, change)?;
    }
    let bytes = amend(file, &amendment)?;
    // A file that this library would not open again is never handed out.
    Model::from_bytes(&bytes)?;
    Ok(bytes)
}

fn classifier(model: &Model, change: &Change) -> Result<BTreeMap<String, (Dtype, Vec<u8>)>> {
    let linear = &model.weights.classifier;
    let width = linear.weight.len() / model.config.classes.len();
    let (mut weight, mut bias) = (linear.weight.clone(), linear.bias.clone());
    let row = &mut weight[change.class * width..(change.class + 1) * width];
    for value in row.iter_mut().chain([&mut bias[change.class]]) {
        *value = (f64::from(*value) / change.temperature) as f32;
        if !value.is_finite() {
            return Err(bad(format!("the classifier divided by the temperature {} leaves float32", change.temperature)));
        }
    }
    let stored = |values: &[f32]| (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    Ok(BTreeMap::from([(WEIGHT.to_owned(), stored(&weight)), (BIAS.to_owned(), stored(&bias))]))
}

/// The earlier records, whatever they are, and the new one.
fn history(earlier: &str, record: &Value) -> String {
    let mut records = match serde_json::from_str(earlier) {
        Ok(Value::Array(records)) => records,
        Ok(other) => vec![other],
        Err(_) if earlier.is_empty() => Vec::new(),
        Err(_) => vec![Value::String(earlier.to_owned())],
    };
    records.push(record.clone());
    Value::Array(records).to_string()
}

const SUFFIX: &str = "+calibrated";

/// The version of a calibrated model: `1.2` becomes `1.2+calibrated`, then `1.2+calibrated.2`.
pub fn next_version(version: &str) -> String {
    let Some((base, times)) = version.rsplit_once(SUFFIX) else { return format!("{version}{SUFFIX}") };
    let times = match times.strip_prefix('.') {
        Some(n) => n.parse::<u32>().ok().filter(|n| *n < u32::MAX),
        None if times.is_empty() => Some(1),
        None => None,
    };
    times.map_or_else(|| format!("{version}{SUFFIX}"), |n| format!("{base}{SUFFIX}.{}", n + 1))
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up() {
        for (before, after) in [
            ("1.2", "1.2+calibrated"),
            ("", "+calibrated"),
            ("1.2+calibrated", "1.2+calibrated.2"),
            ("1.2+calibrated.9", "1.2+calibrated.10"),
            ("1.2+calibratedx", "1.2+calibratedx+calibrated"),
        ] {
            assert_eq!(next_version(before), after);
        }
    }

    #[test]
    fn history_grows_and_foreign_text_stays() {
        let record = serde_json::json!({"t": 2});
        assert_eq!(history("", &record), r#"[{"t":2}]"#);
        assert_eq!(history(r#"[{"t":1}]"#, &record), r#"[{"t":1},{"t":2}]"#);
        assert_eq!(history(r#"{"t":1}"#, &record), r#"[{"t":1},{"t":2}]"#);
        assert_eq!(history("by hand", &record), r#"["by hand",{"t":2}]"#);
    }
}
