//! JSON → [`Config`]: each object must hold exactly the keys of the format; errors name the key by its path.

use super::{Attention, Backbone, Channel, Config, Input, Rnn, RnnShape, ScanRule, Window};
use crate::model::json::{Json, printable};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Longest configuration text read; a real one has under 2 KB.
const LONGEST_TEXT: usize = 1 << 20;

pub(super) fn config(text: &str) -> Result<Config> {
    if text.len() > LONGEST_TEXT {
        return Err(bad(format!("radnet.config has {} bytes; at most {LONGEST_TEXT} are read", text.len())));
    }
    let root: Json = serde_json::from_str(text).map_err(|e| bad(format!("radnet.config is not valid JSON: {e}")))?;
    let mut root = Object::new(String::new(), root)?;
    let config = Config {
        input: input(root.object("input")?)?,
        backbone: backbone(root.object("backbone")?)?,
        segmentation: root.list("segmentation", whole)?,
        attention: attention(root.object("attention")?)?,
        rnn: rnn(root.object("rnn")?)?,
        classes: root.list("classes", text_of)?,
        scan: scan(root.object("scan")?)?,
        thresholds: thresholds(root.object("thresholds")?)?,
    };
    root.finish()?;
    Ok(config)
}

fn input(mut object: Object) -> Result<Input> {
    let (path, sides) = object.take("size")?;
    let [height, width] = <[usize; 2]>::try_from(items(&path, sides, whole)?)
        .map_err(|sides| bad(format!("`{path}` has {} numbers, not [height, width]", sides.len())))?;
    let spacing_mm = match object.take("spacing_mm")? {
        (_, Json::Null) => None,
        (path, value) => Some(real(&path, value)?),
    };
    let input = Input {
        size: [height, width],
        spacing_mm,
        outside_hu: object.value("outside_hu", real)?,
        channels: object.list("channels", channel)?,
        mean: object.list("mean", real)?,
        std: object.list("std", real)?,
    };
    object.finish()?;
    Ok(input)
}

fn channel(path: &str, value: Json) -> Result<Channel> {
    let mut object = Object::new(path.to_owned(), value)?;
    let slice_offset = object.value("slice_offset", signed)?;
    let mut window = object.object("window")?;
    object.finish()?;
    let channel = Channel { slice_offset, window: Window { level: window.value("level", real)?, width: window.value("width", real)? } };
    window.finish()?;
    Ok(channel)
}

fn backbone(mut object: Object) -> Result<Backbone> {
    let kind = object.value("kind", text_of)?;
    if kind != "densenet" {
        return Err(object.refuse("kind", &kind, "densenet"));
    }
    let backbone = Backbone::Densenet {
        init_features: object.value("init_features", whole)?,
        growth_rate: object.value("growth_rate", whole)?,
        block_config: object.list("block_config", whole)?,
        bn_size: object.value("bn_size", whole)?,
        bn_eps: object.value("bn_eps", real)?,
    };
    object.finish()?;
    Ok(backbone)
}

fn attention(mut object: Object) -> Result<Attention> {
    let kind = object.value("kind", text_of)?;
    let attention = match kind.as_str() {
        "none" => {
            object.ignore(&["heads"]);
            Attention::None
        }
        "sigmoid" => Attention::Sigmoid { heads: object.value("heads", whole)? },
        "softmax" => Attention::Softmax { heads: object.value("heads", whole)? },
        _ => return Err(object.refuse("kind", &kind, "none, sigmoid or softmax")),
    };
    object.finish()?;
    Ok(attention)
}

fn rnn(mut object: Object) -> Result<Rnn> {
    let kind = object.value("kind", text_of)?;
    let cell: fn(RnnShape) -> Rnn = match kind.as_str() {
        "none" => {
            object.ignore(&["hidden", "layers", "bidirectional"]);
            object.finish()?;
            return Ok(Rnn::None);
        }
        "lstm" => Rnn::Lstm,
        "gru" => Rnn::Gru,
        _ => return Err(object.refuse("kind", &kind, "none, lstm or gru")),
    };
    let shape = RnnShape {
        hidden: object.value("hidden", whole)?,
        layers: object.value("layers", whole)?,
        bidirectional: object.value("bidirectional", boolean)?,
    };
    object.finish()?;
    Ok(cell(shape))
}

fn scan(mut object: Object) -> Result<ScanRule> {
    let rule = object.value("rule", text_of)?;
    let scan = match rule.as_str() {
        "consecutive" => ScanRule::Consecutive { n: object.value("n", whole)? },
        "mean_top_k" => ScanRule::MeanTopK { k: object.value("k", whole)? },
        "noisy_or" => ScanRule::NoisyOr {},
        _ => return Err(object.refuse("rule", &rule, "consecutive, mean_top_k or noisy_or")),
    };
    object.finish()?;
    Ok(scan)
}

fn thresholds(object: Object) -> Result<BTreeMap<String, f64>> {
    let Object { path, entries } = object;
    entries
        .into_iter()
        .map(|(class, value)| {
            let threshold = real(&join(&path, &class), value)?;
            Ok((class, threshold))
        })
        .collect()
}

/// An object whose keys are taken one by one; what is left at the end is unknown.
struct Object {
    path: String,
    entries: BTreeMap<String, Json>,
}

impl Object {
    fn new(path: String, value: Json) -> Result<Self> {
        match value {
            Json::Object(entries) => Ok(Self { path, entries }),
            _ if path.is_empty() => Err(bad(format!("radnet.config is {}, not an object", value.describe()))),
            _ => Err(mismatch(&path, &value, "an object")),
        }
    }

    fn take(&mut self, key: &str) -> Result<(String, Json)> {
        let path = join(&self.path, key);
        let value = self.entries.remove(key).ok_or_else(|| bad(format!("radnet.config lacks the key `{path}`")))?;
        Ok((path, value))
    }

    fn value<T>(&mut self, key: &str, read: fn(&str, Json) -> Result<T>) -> Result<T> {
        let (path, value) = self.take(key)?;
        read(&path, value)
    }

    fn object(&mut self, key: &str) -> Result<Self> {
        let (path, value) = self.take(key)?;
        Self::new(path, value)
    }

    fn list<T>(&mut self, key: &str, read: fn(&str, Json) -> Result<T>) -> Result<Vec<T>> {
        let (path, value) = self.take(key)?;
        items(&path, value, read)
    }

    fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.entries.remove(*key);
        }
    }

    fn refuse(&self, key: &str, value: &str, known: &str) -> Error {
        bad(format!("`{}` is \"{}\"; known: {known}", join(&self.path, key), printable(value)))
    }

    fn finish(self) -> Result<()> {
        match self.entries.keys().next() {
            Some(key) => Err(bad(format!("radnet.config has the unknown key `{}`", join(&self.path, key)))),
            None => Ok(()),
        }
    }
}

fn items<T>(path: &str, value: Json, read: fn(&str, Json) -> Result<T>) -> Result<Vec<T>> {
    match value {
        Json::List(items) => items.into_iter().enumerate().map(|(i, item)| read(&format!("{path}[{i}]"), item)).collect(),
        _ => Err(mismatch(path, &value, "a list")),
    }
}

fn whole(path: &str, value: Json) -> Result<usize> {
    match value {
        Json::Whole(v) => usize::try_from(v).map_err(|_| mismatch(path, &value, "a whole number from 0")),
        _ => Err(mismatch(path, &value, "a whole number")),
    }
}

fn signed(path: &str, value: Json) -> Result<i64> {
    match value {
        Json::Whole(v) => i64::try_from(v).map_err(|_| mismatch(path, &value, "a 64-bit whole number")),
        _ => Err(mismatch(path, &value, "a whole number")),
    }
}

fn real(path: &str, value: Json) -> Result<f64> {
    match value {
        Json::Real(v) => Ok(v),
        #[expect(clippy::cast_precision_loss, reason = "a number is read as the nearest float64, however it is written")]
        Json::Whole(v) => Ok(v as f64),
        _ => Err(mismatch(path, &value, "a number")),
    }
}

fn boolean(path: &str, value: Json) -> Result<bool> {
    match value {
        Json::Bool(v) => Ok(v),
        _ => Err(mismatch(path, &value, "true or false")),
    }
}

fn text_of(path: &str, value: Json) -> Result<String> {
    match value {
        Json::Text(v) => Ok(v),
        _ => Err(mismatch(path, &value, "a text")),
    }
}

fn join(path: &str, key: &str) -> String {
    let key = printable(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn mismatch(path: &str, value: &Json, wanted: &str) -> Error {
    bad(format!("`{path}` is {}, not {wanted}", value.describe()))
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}
