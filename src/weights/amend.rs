//! A model file with a few tensors and texts exchanged or added and every other byte of its tensors as it was.

use super::container::{Container, Dtype, TensorView};
use crate::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is exchanged.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// Texts of `__metadata__`, new or exchanged.
    pub metadata: BTreeMap<String, String>,
    /// Tensors that the file has, of the same shape.
    pub tensors: BTreeMap<String, (Dtype, Vec<u8>)>,
    /// Tensors of one axis that the file does not have.
    pub added: BTreeMap<String, (Dtype, Vec<u8>)>,
}

/// The amended file. Tensors stay where they are, after the added ones; when an exchanged one has another length, the exchanged ones come
/// first too, so that wide types keep their alignment.
///
/// # Errors
/// `bad_model` when the file is no container, or has no tensor of that name and size, or has one of an added name.
pub fn amend(file: &[u8], amendment: &Amendment) -> Result<Vec<u8>> {
    let Container { mut metadata, tensors } = Container::parse(file)?;
    metadata.extend(amendment.metadata.clone());
    for (name, (dtype, bytes)) in &amendment.tensors {
        let view = tensors.get(name).ok_or_else(|| bad(format!("tensor `{name}` is missing")))?;
        let needed = view.shape.iter().product::<usize>() * dtype.size();
        if bytes.len() != needed {
            return Err(bad(format!("tensor `{name}` of shape {:?} cannot take {} bytes", view.shape, bytes.len())));
        }
    }
    let moved = |name: &String| amendment.tensors.contains_key(name);
    let resized = tensors.iter().any(|(name, view)| amendment.tensors.get(name).is_some_and(|(_, b)| b.len() != view.bytes.len()));
    let mut order: Vec<(&String, &TensorView)> = tensors.iter().collect();
    order.sort_by_key(|(name, view)| (resized && !moved(name), view.bytes.as_ptr().addr(), view.bytes.len()));

    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!(metadata));
    let mut data: Vec<&[u8]> = Vec::with_capacity(amendment.added.len() + order.len());
    let mut end = 0;
    for (name, (dtype, bytes)) in &amendment.added {
        if tensors.contains_key(name) {
            return Err(bad(format!("tensor `{name}` is there already")));
        }
        let begin = end;
        end += bytes.len();
        let shape = [bytes.len() / dtype.size()];
        header.insert(name.clone(), json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [begin, end]}));
        data.push(bytes);
    }
    for (name, view) in order {
        let (dtype, bytes) = amendment.tensors.get(name).map_or((view.dtype, view.bytes), |(dtype, bytes)| (*dtype, bytes));
        let begin = end;
        end += bytes.len();
        header.insert(name.clone(), json!({"dtype": dtype.name(), "shape": view.shape, "data_offsets": [begin, end]}));
        data.push(bytes);
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut amended = Vec::with_capacity(8 + text.len() + end);
    amended.extend_from_slice(&(text.len() as u64).to_le_bytes());
    amended.extend_from_slice(&text);
    data.iter().for_each(|bytes| amended.extend_from_slice(bytes));
    Ok(amended)
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
