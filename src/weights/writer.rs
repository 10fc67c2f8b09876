//! Writes a model file, whole or not at all, and only what reads back.

use super::container::{Dtype, TensorView};
use super::file::Model;
use super::quant::{PREFIX, RangeTensor};
use crate::model::Quantisation;
use crate::{Error, ErrorKind, Result};
use half::{bf16, f16};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Element type of the written weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Exact.
    #[default]
    F32,
    /// Rounded to nearest even; values from 65520 are refused.
    F16,
    /// Rounded to nearest even.
    BF16,
}

/// What a file may hold beside the model itself.
#[derive(Clone, Debug, Default)]
pub struct Extras<'a> {
    /// Another program's quantisation data, beside no ranges of ours; every name begins with `quant.`, and the file is of format 2.
    pub quant: BTreeMap<String, TensorView<'a>>,
    /// Further texts for `__metadata__`; no name begins with `radnet.`.
    pub metadata: BTreeMap<String, String>,
}

/// Writes `model` to `path` through a temporary file beside it: a reader sees the old file or the new one, never a part.
///
/// # Errors
/// As [`model_bytes`], and `io`.
pub fn write_model(path: impl AsRef<Path>, model: &Model, storage: Storage, extras: &Extras<'_>) -> Result<()> {
    let path = path.as_ref();
    let bytes = model_bytes(model, storage, extras)?;
    replace(path, &bytes).map_err(|e| Error::io(path, e))
}

/// The bytes of a model file; weights in the order of execution.
///
/// # Errors
/// `bad_model` when the model's parts contradict each other, a weight does not fit `storage`, or an extra has a name that is not its own.
pub fn model_bytes(model: &Model, storage: Storage, extras: &Extras<'_>) -> Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for tensor in model.weights.named(&model.network)? {
        let (dtype, bytes) = narrow(tensor.values, storage);
        tensors.push((tensor.name, dtype, tensor.shape, bytes));
    }
    let ranges = model.quantisation.as_ref().map(Quantisation::tensors).unwrap_or_default();
    for tensor in ranges.iter().map(RangeTensor::named) {
        let (dtype, bytes) = narrow(tensor.values, Storage::F32);
        tensors.push((tensor.name, dtype, tensor.shape, bytes));
    }
    if !ranges.is_empty() && !extras.quant.is_empty() {
        return Err(bad("a model with ranges of its own has no room for another program's quantisation data".to_owned()));
    }
    for (name, view) in &extras.quant {
        if !name.starts_with(PREFIX) {
            return Err(bad(format!("tensor `{name}` is no quantisation data: its name must begin with `quant.`")));
        }
        tensors.push((name.clone(), view.dtype, view.shape.clone(), view.bytes.to_vec()));
    }
    // Wide types first keep every tensor aligned to its own type, as readers that map the file want it.
    tensors.sort_by_key(|(_, dtype, ..)| std::cmp::Reverse(dtype.size()));

    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), Value::Object(metadata(model, extras)?));
    let mut end = 0;
    for (name, dtype, shape, bytes) in &tensors {
        let begin = end;
        end += bytes.len();
        header.insert(name.clone(), json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [begin, end]}));
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');

    let mut file = Vec::with_capacity(8 + text.len() + end);
    file.extend_from_slice(&(text.len() as u64).to_le_bytes());
    file.extend_from_slice(&text);
    tensors.iter().for_each(|(.., bytes)| file.extend_from_slice(bytes));
    Model::from_bytes(&file)?;
    Ok(file)
}

fn metadata(model: &Model, extras: &Extras<'_>) -> Result<Map<String, Value>> {
    let mut metadata = Map::new();
    for (key, text) in &extras.metadata {
        if key.starts_with("radnet.") {
            return Err(bad(format!("the metadata key `{key}` is the format's own")));
        }
        metadata.insert(key.clone(), json!(text));
    }
    let format = if model.quantisation.is_none() && extras.quant.is_empty() { "1" } else { "2" };
    let config = model.config.to_json()?;
    let own = [
        ("radnet.format", format),
        ("radnet.config", &config),
        ("radnet.name", &model.name),
        ("radnet.version", &model.version),
        ("radnet.intended_use", &model.intended_use),
    ];
    metadata.extend(own.map(|(key, text)| (key.to_owned(), json!(text))));
    let records = [("radnet.calibration", &model.calibration), ("radnet.quantisation", &model.quantisation_record)];
    metadata.extend(records.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), json!(text))));
    Ok(metadata)
}

fn narrow(values: &[f32], storage: Storage) -> (Dtype, Vec<u8>) {
    match storage {
        Storage::F32 => (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Storage::F16 => (Dtype::F16, values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()),
        Storage::BF16 => (Dtype::BF16, values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".radnet-model-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A model is no secret: what the umask leaves, as for any file a program writes.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
