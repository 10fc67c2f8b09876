//! The quantised model file: ranges and their record, every other tensor byte for byte as it was.

use crate::model::Quantisation;
use crate::weights::{Amendment, Dtype, Model, amend};
use crate::{Error, ErrorKind, Result};
use serde_json::Value;

/// What to add to a file.
#[derive(Clone, Debug)]
pub struct Change {
    /// The ranges; those that the file has already are replaced.
    pub ranges: Quantisation,
    /// `radnet.version` of the new file.
    pub version: String,
    /// `radnet.quantisation`.
    pub record: Value,
}

/// The bytes of the quantised file.
///
/// # Errors
/// `bad_model` when the file is no model, the ranges are not those of its network, or it carries another program's quantisation data.
pub fn quantised(file: &[u8], change: &Change) -> Result<Vec<u8>> {
    let model = Model::from_bytes(file)?;
    change.ranges.check(&model.network)?;
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors = change.ranges.tensors().into_iter().map(|t| (t.name, (Dtype::F32, bytes(&t.values)))).collect();
    let mut amendment = Amendment::default();
    let texts = [("format", "2".to_owned()), ("version", change.version.clone()), ("quantisation", change.record.to_string())];
    amendment.metadata.extend(texts.map(|(key, text)| (format!("radnet.{key}"), text)));
    match model.quantisation {
        Some(_) => amendment.tensors = tensors,
        None => amendment.added = tensors,
    }
    let bytes = amend(file, &amendment)?;
    // A file that this library would not open again is never handed out.
    let read = Model::from_bytes(&bytes)?;
    match read.quantisation == Some(change.ranges.clone()) {
        true => Ok(bytes),
        false => Err(Error::new(ErrorKind::BadModel, "the ranges do not read back as they were written")),
    }
}

const SUFFIX: &str = "+int8";

/// The version of a quantised model: `1.2` becomes `1.2+int8`, and stays that when it is quantised again.
pub fn next_version(version: &str) -> String {
    if version.ends_with(SUFFIX) { version.to_owned() } else { format!("{version}{SUFFIX}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::weights::{Container, Extras, Storage, TensorView, model_bytes, synthetic};
    use std::collections::BTreeMap;

    fn model() -> Model {
        let mut config = Config::densenet(&[1, 2]);
        config.input.size = [32, 32];
        synthetic(&config, 3).unwrap()
    }

    fn change(model: &Model) -> Change {
        let ranges = Quantisation::from_norms(&model.network, &model.weights);
        Change { ranges, version: next_version(&model.version), record: serde_json::json!({"schema": "s"}) }
    }

    /// The weights to the byte, whatever they are stored as; a second time the ranges are exchanged.
    #[test]
    fn only_ranges_are_added() {
        let model = model();
        let mut change = change(&model);
        for storage in [Storage::F32, Storage::F16, Storage::BF16] {
            let file = model_bytes(&model, storage, &Extras::default()).unwrap();
            let once = quantised(&file, &change).unwrap();
            change.ranges.blocks[0].channels[0].high += 1.0;
            let twice = quantised(&once, &change).unwrap();
            let before = Container::parse(&file).unwrap();
            for new in [&once, &twice] {
                let after = Container::parse(new).unwrap();
                assert!(before.tensors.iter().all(|(name, view)| after.tensors[name] == *view));
                assert_eq!(after.metadata["radnet.config"], before.metadata["radnet.config"]);
            }
            let read = Model::from_bytes(&twice).unwrap();
            assert_eq!((read.quantisation.as_ref(), read.version.as_str()), (Some(&change.ranges), "1+int8"));
            assert_eq!(read.quantisation_record, r#"{"schema":"s"}"#);
        }
    }

    #[test]
    fn another_programs_codes_are_not_mixed_with_ours() {
        let model = model();
        let codes = TensorView { dtype: Dtype::I8, shape: vec![2], bytes: &[1, 2] };
        let quant = BTreeMap::from([("quant.codes".to_owned(), codes)]);
        let file = model_bytes(&model, Storage::F32, &Extras { quant, ..Extras::default() }).unwrap();
        let error = quantised(&file, &change(&model)).unwrap_err();
        assert_eq!(error.message(), "tensor `quant.codes` is not part of the configured network");
        let mut other = change(&model);
        other.ranges.blocks.pop();
        let file = model_bytes(&model, Storage::F32, &Extras::default()).unwrap();
        assert!(quantised(&file, &other).unwrap_err().message().starts_with("there are ranges for 1 blocks"));
    }

    #[test]
    fn versions_say_it_once() {
        assert_eq!([next_version("1.2"), next_version("1.2+int8")], ["1.2+int8", "1.2+int8"]);
    }
}
