//! Mutations of a safetensors file, from single bits to its meaning.

use crate::rng::Rng;
use serde_json::{Map, Value, json};

/// A file taken apart.
#[derive(Clone)]
pub(super) struct Parts {
    header: Map<String, Value>,
    data: Vec<u8>,
    /// Header text that repeats keys, where a JSON tree cannot.
    appendix: String,
}

impl Parts {
    pub(super) fn split(file: &[u8]) -> Result<Self, String> {
        let (length, rest) = file.split_first_chunk::<8>().ok_or("no header length")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|e| e.to_string())?;
        let (text, data) = rest.split_at_checked(length).ok_or("a short header")?;
        Ok(Self { header: serde_json::from_slice(text).map_err(|e| e.to_string())?, data: data.to_vec(), appendix: String::new() })
    }

    pub(super) fn join(&self) -> Vec<u8> {
        let mut text = Value::Object(self.header.clone()).to_string();
        text.insert_str(text.len() - 1, &self.appendix);
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(text.as_bytes());
        file.extend_from_slice(&self.data);
        file
    }

    fn tensor(&self, rng: &mut Rng) -> String {
        let names: Vec<&String> = self.header.keys().filter(|k| *k != "__metadata__").collect();
        if names.is_empty() { String::new() } else { (*rng.pick(&names)).clone() }
    }
}

/// One change of meaning: the file stays a container with a JSON header.
pub(super) fn mutate_parts(parts: &mut Parts, rng: &mut Rng) {
    match rng.below(10) {
        0..=2 => mutate_config(parts, rng),
        3 => mutate_metadata(parts, rng),
        4 => mutate_offsets(parts, rng),
        5 => mutate_entry(parts, rng),
        6 => rename(parts, rng),
        7 => parts.appendix.push_str(&repeated_key(parts, rng)),
        8 => parts.data.resize(rng.below(2 * parts.data.len() + 2), 0xA5),
        _ => mutate_number(parts, rng),
    }
}

/// One change to the bytes.
pub(super) fn mutate_bytes(file: &mut Vec<u8>, rng: &mut Rng) {
    let header_end = file.first_chunk::<8>().map_or(0, |n| u64::from_le_bytes(*n).min(file.len() as u64) as usize);
    match rng.below(6) {
        0 => {
            let length = if rng.chance(50) { (header_end as u64).wrapping_add(rng.number()) } else { rng.number() };
            if file.len() >= 8 {
                file[..8].copy_from_slice(&length.to_le_bytes());
            }
        }
        1 => file.truncate(rng.below(file.len() + 1)),
        2 => {
            for _ in 0..=rng.below(16) {
                let at = rng.below(file.len());
                file.get_mut(at).into_iter().for_each(|b| *b ^= 1 << rng.below(8));
            }
        }
        3 => {
            let at = 8 + rng.below(header_end);
            file.get_mut(at).into_iter().for_each(|b| *b = *rng.pick(b"{}[]\",:\\0-9eEn\x00\x80\xFF "));
        }
        4 => splice(file, 8 + rng.below(header_end), rng),
        _ => {
            let count = rng.below(64);
            file.extend((0..count).map(|_| rng.bits() as u8));
        }
    }
}

/// Text that JSON parsers dislike, put into the header with its length kept right.
fn splice(file: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let text = match rng.below(8) {
        0 => "[".repeat(1 + rng.below(20_000)),
        1 => "{\"a\":".repeat(1 + rng.below(5_000)),
        2 => "9".repeat(1 + rng.below(2_000)),
        3 => "1e99999".to_owned(),
        4 => "\\uD800".to_owned(),
        5 => "NaN".to_owned(),
        6 => " ".repeat(rng.below(100_000)),
        _ => "\"k\":null,".repeat(rng.below(3_000)),
    };
    if at <= file.len() && file.len() >= 8 {
        let length = (file.first_chunk::<8>().map_or(0, |n| u64::from_le_bytes(*n))).wrapping_add(text.len() as u64);
        file.splice(at..at, text.into_bytes());
        file[..8].copy_from_slice(&length.to_le_bytes());
    }
}

fn mutate_config(parts: &mut Parts, rng: &mut Rng) {
    let Some(text) = parts.header.get_mut("__metadata__").and_then(|m| m.get_mut("radnet.config")) else { return };
    let Some(mut config) = text.as_str().and_then(|t| serde_json::from_str::<Value>(t).ok()) else { return };
    mutate_value(&mut config, rng);
    let mut written = config.to_string();
    if rng.chance(5) && written.ends_with('}') {
        written.truncate(written.len() - 1);
        written.push_str(",\"segmentation\":[]}");
    }
    *text = Value::String(written);
}

/// Walks down at random and changes what it meets.
fn mutate_value(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Object(map) if !map.is_empty() && rng.chance(90) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = rng.pick(&keys);
            match rng.below(12) {
                0 => drop(map.remove(key)),
                1 => drop(map.insert(format!("{key}x"), json!(1))),
                _ => mutate_value(&mut map[key], rng),
            }
        }
        Value::Array(items) if !items.is_empty() && rng.chance(80) => {
            let at = rng.below(items.len());
            match rng.below(6) {
                0 => drop(items.remove(at)),
                1 => items.resize(rng.below(40), items[at].clone()),
                _ => mutate_value(&mut items[at], rng),
            }
        }
        leaf => *leaf = strange_value(rng),
    }
}

fn strange_value(rng: &mut Rng) -> Value {
    match rng.below(12) {
        0 => Value::Null,
        1 => json!(rng.chance(50)),
        2 => json!(-1.0 / (1 + rng.below(9)) as f64),
        3 => json!(1e308),
        4 => json!(5e-324),
        5 => json!(*rng.pick(&["none", "sigmoid", "softmax", "lstm", "gru", "consecutive", "noisy_or", "any", ""])),
        6 => json!([]),
        7 => json!({}),
        8 => json!(-(rng.below(100) as i64)),
        9 => json!(rng.bits() as f64 / (1u64 << 52) as f64),
        _ => json!(rng.number()),
    }
}

fn mutate_metadata(parts: &mut Parts, rng: &mut Rng) {
    let Some(Value::Object(metadata)) = parts.header.get_mut("__metadata__") else { return };
    let key = *rng.pick(&["radnet.format", "radnet.config", "radnet.name", "radnet.version", "radnet.intended_use", "foreign"]);
    match rng.below(5) {
        0 => drop(metadata.remove(key)),
        1 => drop(metadata.insert(key.to_owned(), strange_value(rng))),
        2 => drop(metadata.insert("radnet.format".to_owned(), json!(*rng.pick(&["1", "2", "3", ""])))),
        3 => drop(metadata.insert(key.to_owned(), json!("\u{0}\u{202e}x".repeat(rng.below(2_000))))),
        _ => drop(parts.header.remove("__metadata__")),
    }
}

fn mutate_offsets(parts: &mut Parts, rng: &mut Rng) {
    let (name, other) = (parts.tensor(rng), parts.tensor(rng));
    let taken = parts.header.get(&other).map(|entry| entry["data_offsets"].clone());
    let Some(offsets) = parts.header.get_mut(&name).and_then(|entry| entry.get_mut("data_offsets")) else { return };
    match rng.below(3) {
        0 => *offsets = taken.unwrap_or_default(),
        1 => mutate_value(offsets, rng),
        _ => {
            let at = rng.below(2);
            if let Some(offset) = offsets.get_mut(at).filter(|o| o.is_u64()) {
                *offset = json!(offset.as_u64().unwrap_or(0).wrapping_add(rng.number()));
            }
        }
    }
}

fn mutate_entry(parts: &mut Parts, rng: &mut Rng) {
    let name = parts.tensor(rng);
    let Some(entry) = parts.header.get_mut(&name) else { return };
    match rng.below(5) {
        0 => entry["dtype"] = json!(*rng.pick(&["F32", "F16", "BF16", "I32", "U8", "F64", "F4", "BOOL", "f32", ""])),
        1 => mutate_value(&mut entry["shape"], rng),
        2 => entry["shape"].as_array_mut().into_iter().for_each(|shape| shape.reverse()),
        3 => entry["shape"].as_array_mut().into_iter().for_each(|shape| shape.push(json!(1))),
        _ => mutate_value(entry, rng),
    }
}

fn rename(parts: &mut Parts, rng: &mut Rng) {
    let name = parts.tensor(rng);
    let Some(entry) = parts.header.remove(&name) else { return };
    let strange = "x".repeat(rng.below(100_000));
    let to = match rng.below(4) {
        0 => return,
        1 => format!("{name}\u{1b}[2J"),
        2 => format!("quant.{name}"),
        _ => strange,
    };
    parts.header.insert(to, entry);
}

fn repeated_key(parts: &Parts, rng: &mut Rng) -> String {
    let name = parts.tensor(rng);
    match rng.below(3) {
        0 => ",\"__metadata__\":{}".to_owned(),
        1 => r#","__metadata__":{"radnet.format":"1","radnet.format":"2"}"#.to_owned(),
        _ => parts.header.get(&name).map(|entry| format!(",{}:{entry}", json!(name))).unwrap_or_default(),
    }
}

fn mutate_number(parts: &mut Parts, rng: &mut Rng) {
    let name = parts.tensor(rng);
    let Some(begin) = parts.header.get(&name).and_then(|entry| entry["data_offsets"][0].as_u64()) else { return };
    let value = *rng.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -0.0, 1e-40, f32::MAX, f32::MIN_POSITIVE]);
    let at = (begin as usize).saturating_add(2 * rng.below(8));
    if let Some(bytes) = parts.data.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *bytes = if rng.chance(50) { value.to_le_bytes() } else { [0x00, 0x7C, 0xC0, 0x7F] };
    }
}
