//! Models are read, refused and written as the format says; each refusal names its culprit.

use super::*;
use crate::model::config::{Attention, Rnn, RnnShape};
use crate::model::{Config, Network, Quantisation};
use crate::{Error, ErrorKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every kind of tensor there is, in a few kilobytes.
fn small_config() -> Config {
    let mut config = Config::densenet(&[1, 2]);
    config.input.size = [32, 33];
    let crate::model::config::Backbone::Densenet { init_features, growth_rate, bn_size, .. } = &mut config.backbone;
    (*init_features, *growth_rate, *bn_size) = (5, 3, 2);
    config.segmentation = vec![2];
    config.attention = Attention::Sigmoid { heads: 2 };
    config.rnn = Rnn::Gru(RnnShape { hidden: 3, layers: 2, bidirectional: true });
    config
}

fn small_file(storage: Storage) -> Vec<u8> {
    model_bytes(&synthetic(&small_config(), 7).unwrap(), storage, &Extras::default()).unwrap()
}

/// A file taken apart, to be changed and put together again.
struct Parts {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Parts {
    fn new() -> Self {
        Self::split(&small_file(Storage::F32))
    }

    fn split(file: &[u8]) -> Self {
        let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
        Self { header: serde_json::from_slice(&file[8..8 + length]).unwrap(), data: file[8 + length..].to_vec() }
    }

    fn metadata(&mut self) -> &mut Map<String, Value> {
        self.header["__metadata__"].as_object_mut().unwrap()
    }

    fn config(&mut self, change: impl FnOnce(&mut Value)) {
        let mut config: Value = serde_json::from_str(self.metadata()["radnet.config"].as_str().unwrap()).unwrap();
        change(&mut config);
        self.metadata().insert("radnet.config".to_owned(), json!(config.to_string()));
    }

    fn value(&mut self, tensor: &str, index: usize, value: f32) {
        let begin = usize::try_from(self.header[tensor]["data_offsets"][0].as_u64().unwrap()).unwrap();
        self.data[begin + 4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    }

    fn append(&mut self, tensor: &str, dtype: &str, shape: &[usize], bytes: &[u8]) {
        let begin = self.data.len();
        self.data.extend_from_slice(bytes);
        self.header.insert(tensor.to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, self.data.len()]}));
    }

    fn open(&self) -> Result<Model, Error> {
        let text = Value::Object(self.header.clone()).to_string();
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(text.as_bytes());
        file.extend_from_slice(&self.data);
        Model::from_bytes(&file)
    }
}

fn refusal(change: impl FnOnce(&mut Parts)) -> String {
    let mut parts = Parts::new();
    change(&mut parts);
    let error = parts.open().expect_err("the file is not sound");
    assert_eq!(error.kind(), ErrorKind::BadModel, "{error}");
    error.message().to_owned()
}

#[test]
fn what_is_written_reads_back_to_the_bit() {
    let model = synthetic(&small_config(), 7).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let metadata = BTreeMap::from([("foreign".to_owned(), "kept \"as it is\"".to_owned())]);
    write_model(&path, &model, Storage::F32, &Extras { quant: BTreeMap::new(), metadata }).unwrap();
    let read = Model::open(&path).unwrap();
    assert_eq!(read.weights, model.weights);
    assert_eq!(read.config, model.config);
    assert_eq!((read.name.as_str(), read.version.as_str()), ("synthetic-7", "1"));
    assert_eq!(read.intended_use, model.intended_use);
    assert_eq!(read.path.as_deref(), Some(path.as_path()));
    let file = std::fs::read(&path).unwrap();
    assert_eq!(Container::parse(&file).unwrap().metadata["foreign"], "kept \"as it is\"");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn the_hash_is_of_the_whole_file() {
    // SHA-256 of the file, as any other tool computes it.
    use sha2::Digest;
    let file = small_file(Storage::F32);
    let expected: String = sha2::Sha256::digest(&file).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(Model::from_bytes(&file).unwrap().sha256, expected);
}

#[test]
fn half_precision_storage_is_rounded_and_widened_exactly() {
    let model = synthetic(&small_config(), 7).unwrap();
    let f16 = Model::from_bytes(&small_file(Storage::F16)).unwrap();
    let bf16 = Model::from_bytes(&small_file(Storage::BF16)).unwrap();
    for (i, &v) in model.weights.conv0.iter().enumerate() {
        assert_eq!(f16.weights.conv0[i], half::f16::from_f32(v).to_f32());
        assert_eq!(bf16.weights.conv0[i], half::bf16::from_f32(v).to_f32());
    }
    assert_ne!(f16.weights.conv0, model.weights.conv0);
}

#[test]
fn storage_types_may_be_mixed_in_a_file() {
    let mut parts = Parts::new();
    let name = "classifier.bias";
    parts.header.remove(name);
    let other = parts.header["classifier.weight"].clone();
    let shape: Vec<usize> = other["shape"].as_array().unwrap().iter().map(|v| usize::try_from(v.as_u64().unwrap()).unwrap()).collect();
    assert_eq!(shape, [1, 6]);
    // classifier.bias is the last tensor of the file: its four bytes go, two come.
    parts.data.truncate(parts.data.len() - 4);
    parts.append(name, "F16", &[1], &half::f16::from_f32(-2.5).to_le_bytes());
    assert_eq!(parts.open().unwrap().weights.classifier.bias, [-2.5]);
}

#[test]
fn each_missing_tensor_is_named() {
    let names: Vec<String> = Parts::new().header.keys().filter(|k| *k != "__metadata__").cloned().collect();
    // stem 5; dense layers 3 · 10; transition 5; head 6; norm5 4; attention 2; recurrence 2 · 2 · 4; classifier 2.
    assert_eq!(names.len(), 5 + 30 + 5 + 6 + 4 + 2 + 16 + 2);
    for name in names {
        let message = refusal(|parts| {
            // Renamed rather than removed, so that the bytes stay covered.
            let entry = parts.header.remove(&name).unwrap();
            parts.header.insert("stray".to_owned(), entry);
        });
        assert_eq!(message, format!("tensor `{name}` is missing"));
    }
}

#[test]
fn unknown_tensors_are_named() {
    let message = refusal(|p| p.append("features.norm0.num_batches_tracked", "I64", &[], &[0; 8]));
    assert_eq!(message, "tensor `features.norm0.num_batches_tracked` is not part of the configured network");
    let message = refusal(|p| p.append("evil\u{1b}[31m", "F32", &[1], &[0; 4]));
    assert_eq!(message, "tensor `evil\\u{1b}[31m` is not part of the configured network");
}

#[test]
fn format_2_reads_as_format_1_under_another_programs_quantisation_data() {
    let format_2 = |name: &str| {
        let mut parts = Parts::new();
        parts.append(name, "I8", &[3], &[1, 2, 3]);
        parts.metadata().insert("radnet.format".to_owned(), json!("2"));
        parts.open()
    };
    assert_eq!(format_2("quant.features.conv0.codes").unwrap().weights, synthetic(&small_config(), 7).unwrap().weights);
    assert!(format_2("quantum").unwrap_err().message().contains("tensor `quantum` is not part"));
    let message = refusal(|p| p.append("quant.scale", "F32", &[1], &[0; 4]));
    assert_eq!(message, "tensor `quant.scale` is not part of the configured network");
}

/// The small model with ranges, as a file taken apart.
fn quantised() -> (Model, Parts) {
    let mut model = synthetic(&small_config(), 7).unwrap();
    model.quantisation = Some(Quantisation::from_norms(&model.network, &model.weights));
    model.quantisation_record = "{}".to_owned();
    let parts = Parts::split(&model_bytes(&model, Storage::F16, &Extras::default()).unwrap());
    (model, parts)
}

fn quantised_refusal(change: impl FnOnce(&mut Parts)) -> String {
    let (_, mut parts) = quantised();
    change(&mut parts);
    parts.open().expect_err("the file is not sound").message().to_owned()
}

/// Ranges stay what they are whatever the weights are stored as, and no weight depends on them.
#[test]
fn ranges_are_written_and_read_back() {
    let (model, mut parts) = quantised();
    let read = parts.open().unwrap();
    assert_eq!((&read.quantisation, read.quantisation_record.as_str()), (&model.quantisation, "{}"));
    assert_eq!(read.weights, Model::from_bytes(&small_file(Storage::F16)).unwrap().weights);
    assert_eq!(parts.metadata()["radnet.format"], "2");
    let ours = parts.header.iter().filter(|(name, _)| name.starts_with("quant."));
    let shapes: Vec<String> = ours.map(|(name, entry)| format!("{name} {} {}", entry["dtype"], entry["shape"])).collect();
    assert_eq!(
        shapes,
        [
            "quant.denseblock1.denselayer1.high \"F32\" [6]",
            "quant.denseblock1.high \"F32\" [8]",
            "quant.denseblock1.low \"F32\" [8]",
            "quant.denseblock2.denselayer1.high \"F32\" [6]",
            "quant.denseblock2.denselayer2.high \"F32\" [6]",
            "quant.denseblock2.high \"F32\" [10]",
            "quant.denseblock2.low \"F32\" [10]",
        ]
    );
}

#[test]
fn ranges_are_there_whole_or_not_at_all() {
    let (_, parts) = quantised();
    for name in parts.header.keys().filter(|name| name.starts_with("quant.")) {
        let message = quantised_refusal(|parts| {
            let entry = parts.header.remove(name).unwrap();
            parts.header.insert("quant.stray".to_owned(), entry);
        });
        assert_eq!(message, format!("tensor `{name}` is missing"));
    }
    for name in ["quant.denseblock1.denselayer2.high", "quant.denseblock3.low", "quant.codes"] {
        let message = quantised_refusal(|p| p.append(name, "F32", &[1], &[0; 4]));
        assert_eq!(message, format!("tensor `{name}` is not part of the configured network"));
    }
    let message = quantised_refusal(|p| drop(p.metadata().insert("radnet.format".to_owned(), json!("1"))));
    assert_eq!(message, "tensor `quant.denseblock1.denselayer1.high` is not part of the configured network");
}

#[test]
fn unsound_ranges_are_refused_with_their_place() {
    let (low, high, mid) = ("quant.denseblock2.low", "quant.denseblock2.high", "quant.denseblock2.denselayer2.high");
    assert_eq!(quantised_refusal(|p| p.value(low, 3, f32::NAN)), format!("tensor `{low}` has the value NaN at index 3"));
    assert_eq!(quantised_refusal(|p| p.value(mid, 1, f32::INFINITY)), format!("tensor `{mid}` has the value inf at index 1"));
    assert_eq!(quantised_refusal(|p| p.value(mid, 5, -0.5)), format!("tensor `{mid}` has the negative bound -0.5 at index 5"));
    let message = quantised_refusal(|p| {
        p.value(low, 9, 2.5);
        p.value(high, 9, 2.25);
    });
    assert_eq!(message, format!("tensor `{low}` is 2.5 at index 9, above the 2.25 of `{high}`"));
    let message = quantised_refusal(|p| {
        p.value(low, 9, -3e38);
        p.value(high, 9, 3e38);
    });
    assert!(message.starts_with("the range of channel 9 of block 2 is -3"), "{message}");
    let message = quantised_refusal(|p| p.header[low]["dtype"] = json!("I32"));
    assert_eq!(message, format!("tensor `{low}` has the type I32, not F32, F16 or BF16"));
    let message = quantised_refusal(|p| p.header[low]["shape"] = json!([10, 1]));
    assert_eq!(message, format!("tensor `{low}` has the shape [10, 1]; the configuration asks for [10]"));
    let (_, mut constant) = quantised();
    constant.value(low, 9, 2.5);
    constant.value(high, 9, 2.5);
    constant.value(mid, 5, 0.0);
    constant.open().unwrap();
}

/// Every tensor of the old file byte for byte, aligned, and the new ones.
#[test]
fn tensors_are_added_to_a_file() {
    let (model, _) = quantised();
    for storage in [Storage::F32, Storage::F16] {
        let file = small_file(storage);
        let ranges = model.quantisation.as_ref().unwrap().tensors().into_iter();
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let added = ranges.map(|t| (t.name, (Dtype::F32, bytes(&t.values)))).collect();
        let metadata = BTreeMap::from([("radnet.format".to_owned(), "2".to_owned())]);
        let amendment = Amendment { metadata, added, ..Amendment::default() };
        let new = amend(&file, &amendment).unwrap();
        assert_eq!(Model::from_bytes(&new).unwrap().quantisation, model.quantisation);
        let (old, container) = (Container::parse(&file).unwrap(), Container::parse(&new).unwrap());
        assert!(old.tensors.iter().all(|(name, view)| container.tensors[name] == *view));
        assert_eq!(container.tensors.len(), old.tensors.len() + 7);
        let start = new.as_ptr().addr();
        assert!(container.tensors.values().all(|view| (view.bytes.as_ptr().addr() - start).is_multiple_of(view.dtype.size())));
        let error = amend(&new, &amendment).unwrap_err();
        assert_eq!(error.message(), "tensor `quant.denseblock1.denselayer1.high` is there already");
    }
}

#[test]
fn the_format_and_the_configuration_must_be_there() {
    let without = |key: &'static str| refusal(move |p| drop(p.metadata().remove(key)));
    assert!(without("radnet.format").contains("`radnet.format`"));
    assert!(without("radnet.config").contains("`radnet.config`"));
    assert!(refusal(|p| drop(p.header.remove("__metadata__"))).contains("`radnet.format`"));
    assert!(refusal(|p| drop(p.metadata().insert("radnet.format".to_owned(), json!("3")))).contains("radnet.format is \"3\""));
    assert!(refusal(|p| p.config(|c| c["backbone"]["depth"] = json!(1))).contains("unknown key `backbone.depth`"));
    let mut parts = Parts::new();
    for key in ["radnet.name", "radnet.version", "radnet.intended_use"] {
        parts.metadata().remove(key);
    }
    assert_eq!(parts.open().unwrap().name, "");
}

#[test]
fn numbers_that_cannot_be_weights_are_refused_with_their_place() {
    let conv1 = "features.denseblock2.denselayer1.conv1.weight";
    assert_eq!(refusal(|p| p.value(conv1, 4, f32::NAN)), format!("tensor `{conv1}` has the value NaN at index 4"));
    assert_eq!(refusal(|p| p.value(conv1, 0, f32::INFINITY)), format!("tensor `{conv1}` has the value inf at index 0"));
    assert_eq!(refusal(|p| p.value("attention.bias", 1, f32::NEG_INFINITY)), "tensor `attention.bias` has the value -inf at index 1");
    let var = "features.transition1.norm.running_var";
    assert_eq!(refusal(|p| p.value(var, 2, -0.5)), format!("tensor `{var}` has the negative variance -0.5 at index 2"));
    let mut parts = Parts::new();
    parts.value(var, 2, 0.0);
    parts.open().unwrap();
}

#[test]
fn half_precision_infinity_is_refused() {
    let mut parts = Parts::new();
    parts.header.remove("classifier.bias");
    parts.data.truncate(parts.data.len() - 4);
    parts.append("classifier.bias", "F16", &[1], &half::f16::NAN.to_le_bytes());
    assert!(parts.open().unwrap_err().message().contains("tensor `classifier.bias` has the value NaN"));
    let mut model = synthetic(&small_config(), 7).unwrap();
    model.weights.classifier.bias[0] = 70000.0;
    let error = model_bytes(&model, Storage::F16, &Extras::default()).unwrap_err();
    assert_eq!(error.message(), "tensor `classifier.bias` has the value inf at index 0");
}

#[test]
fn a_norm_beyond_float32_is_refused() {
    let message = refusal(|p| {
        p.value("segmentation.2.norm.weight", 1, 3e38);
        p.value("segmentation.2.norm.running_var", 1, 0.0);
    });
    assert!(message.starts_with("norm `segmentation.2.norm` maps x to"), "{message}");
    assert!(message.ends_with("in channel 1, beyond float32"), "{message}");
}

#[test]
fn types_other_than_float_are_refused() {
    let message = refusal(|p| {
        p.header["classifier.bias"]["dtype"] = json!("I32");
    });
    assert_eq!(message, "tensor `classifier.bias` has the type I32, not F32, F16 or BF16");
    assert!(
        refusal(|p| p.header["classifier.bias"]["dtype"] = json!("F16")).contains("tensor `classifier.bias` of shape [1] and type F16")
    );
}

#[test]
fn a_configuration_that_contradicts_the_tensors_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 12] = [
        (
            |c| c["backbone"]["init_features"] = json!(6),
            "tensor `features.conv0.weight` has the shape [5, 3, 7, 7]; the configuration asks for [6, 3, 7, 7]",
        ),
        (|c| c["backbone"]["growth_rate"] = json!(4), "tensor `features.denseblock1.denselayer1.conv1.weight` has the shape [6, 5, 1, 1]"),
        (|c| c["backbone"]["bn_size"] = json!(1), "tensor `features.denseblock1.denselayer1.conv1.weight` has the shape [6, 5, 1, 1]"),
        (
            |c| c["backbone"]["block_config"] = json!([1, 1]),
            "tensor `segmentation.2.norm.weight` has the shape [10]; the configuration asks for [7]",
        ),
        (|c| c["backbone"]["block_config"] = json!([1, 3]), "tensor `features.denseblock2.denselayer3.norm1.weight` is missing"),
        (|c| c["segmentation"] = json!([]), "tensor `segmentation.2.conv.bias` is not part"),
        (|c| c["segmentation"] = json!([1, 2]), "tensor `segmentation.1.norm.weight` is missing"),
        (
            |c| c["attention"] = json!({"kind": "none"}),
            "tensor `rnn.weight_ih_l0` has the shape [9, 20]; the configuration asks for [9, 10]",
        ),
        (|c| c["attention"]["heads"] = json!(1), "tensor `attention.weight` has the shape [2, 10, 1, 1]"),
        (|c| c["rnn"]["kind"] = json!("lstm"), "tensor `rnn.weight_ih_l0` has the shape [9, 20]; the configuration asks for [12, 20]"),
        (|c| c["rnn"]["bidirectional"] = json!(false), "tensor `rnn.weight_ih_l1` has the shape [9, 6]; the configuration asks for [9, 3]"),
        (
            |c| {
                c["classes"] = json!(["any", "sdh"]);
                c["thresholds"] = json!({"any": 0.5, "sdh": 0.5});
            },
            "tensor `classifier.weight` has the shape [1, 6]; the configuration asks for [2, 6]",
        ),
    ];
    for (change, culprit) in cases {
        let message = refusal(|p| p.config(change));
        assert!(message.contains(culprit), "{message}\nlacks: {culprit}");
    }
}

#[test]
fn any_truncation_is_an_error() {
    let file = small_file(Storage::F16);
    for n in (0..file.len()).step_by(11).chain([file.len() - 1]) {
        let error = Model::from_bytes(&file[..n]).expect_err("a part of a file");
        assert_eq!(error.kind(), ErrorKind::BadModel);
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Model::open(folder.path().join("absent")).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(folder.path().join("absent").as_path())));
    let error = Model::open(folder.path()).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Io, "not a regular file"));
    let empty = folder.path().join("empty");
    std::fs::write(&empty, []).unwrap();
    let error = Model::open(&empty).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::BadModel, Some(empty.as_path())));
    let sparse = folder.path().join("sparse");
    std::fs::File::create(&sparse).unwrap().set_len((1 << 30) + 1).unwrap();
    assert_eq!(Model::open(&sparse).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn extras_have_names_of_their_own() {
    let model = synthetic(&small_config(), 7).unwrap();
    let view = TensorView { dtype: Dtype::U8, shape: vec![1], bytes: &[9] };
    let quant = BTreeMap::from([("scale".to_owned(), view.clone())]);
    let error = model_bytes(&model, Storage::F32, &Extras { quant, ..Extras::default() }).unwrap_err();
    assert!(error.message().contains("tensor `scale`"), "{error}");
    let metadata = BTreeMap::from([("radnet.format".to_owned(), "9".to_owned())]);
    let error = model_bytes(&model, Storage::F32, &Extras { metadata, ..Extras::default() }).unwrap_err();
    assert!(error.message().contains("`radnet.format`"), "{error}");
    let quant = BTreeMap::from([("quant.scale".to_owned(), view)]);
    let file = model_bytes(&model, Storage::F32, &Extras { quant, ..Extras::default() }).unwrap();
    let container = Container::parse(&file).unwrap();
    assert_eq!((container.metadata["radnet.format"].as_str(), container.tensors["quant.scale"].bytes), ("2", &[9u8][..]));
}

#[test]
fn weights_that_do_not_fit_the_network_are_not_written() {
    let mut model = synthetic(&small_config(), 7).unwrap();
    model.weights.blocks[0].layers[0].conv1.pop();
    let error = model_bytes(&model, Storage::F32, &Extras::default()).unwrap_err();
    assert!(error.message().starts_with("tensor `features.denseblock1.denselayer1.conv1.weight` of shape [6, 5, 1, 1]"), "{error}");
    let mut model = synthetic(&small_config(), 7).unwrap();
    model.weights.attention = None;
    assert!(model_bytes(&model, Storage::F32, &Extras::default()).unwrap_err().message().contains("tensors"));
}

#[test]
fn synthetic_models_depend_on_the_seed_alone() {
    let config = small_config();
    assert_eq!(synthetic(&config, 1).unwrap().sha256, synthetic(&config, 1).unwrap().sha256);
    assert_ne!(synthetic(&config, 1).unwrap().weights, synthetic(&config, 2).unwrap().weights);
    assert_eq!(synthetic(&config, 1).unwrap().network, Network::new(&config).unwrap());
}

#[test]
fn a_norm_folds_in_float64() {
    let norm = Norm { weight: vec![2.0, 0.0], bias: vec![0.5, -1.0], running_mean: vec![3.0, 7.0], running_var: vec![0.25, 0.0] };
    let (scale, shift) = norm.scale_shift(1e-5);
    assert_eq!(scale, [2.0 / (0.25f64 + 1e-5).sqrt(), 0.0]);
    assert_eq!(shift, [0.5 - 3.0 * (2.0 / (0.25f64 + 1e-5).sqrt()), -1.0]);
}
