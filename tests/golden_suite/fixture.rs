//! Reads the fixtures of `tests/golden` (format: tools/reference/README.md).

use radnet::model::config::Channel;
use radnet::preprocess::HuStack;
use radnet::weights::Model;
use radnet::{HuPixels, HuSlice, HuVolume, Unobserved};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A sample of a stage: every `stride`-th element of the flattened tensor.
pub(crate) struct Sample {
    pub(crate) shape: Vec<usize>,
    pub(crate) stride: usize,
    /// Largest magnitude of the whole tensor.
    pub(crate) max: f64,
    pub(crate) values: Vec<f32>,
}

/// One model with a scan and what PyTorch's float64 makes of it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
    pub(crate) stack: HuStack,
    /// Whether the scan had the network's size already.
    pub(crate) resampled: bool,
    pub(crate) slices: usize,
    pub(crate) stages: BTreeMap<String, Sample>,
    pub(crate) logits: Vec<f64>,
    pub(crate) probabilities: Vec<f64>,
    pub(crate) scan: Vec<f64>,
    pub(crate) positive: BTreeMap<String, bool>,
    /// Σ Δz² of PyTorch's float32.
    pub(crate) torch_dz_sumsq: f64,
}

#[derive(Deserialize)]
struct Index {
    cases: Vec<String>,
    torch_f32_rms_dz: f64,
}

impl Index {
    fn read() -> Self {
        serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap()
    }
}

#[derive(Deserialize)]
struct Description {
    shape: Vec<usize>,
    stride: usize,
    max: f64,
}

/// Every case of the golden set.
pub(crate) fn cases() -> Vec<Case> {
    Index::read().cases.iter().map(|name| Case::read(name)).collect()
}

/// The rms of Δz of PyTorch's float32 over every case.
pub(crate) fn torch_f32_rms_dz() -> f64 {
    Index::read().torch_f32_rms_dz
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Case {
    fn read(name: &str) -> Self {
        let bytes = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let model = Model::open(folder().join(&metadata["golden.model"])).unwrap();
        let doubles = |tensor: &str| numbers(file.tensor(tensor).unwrap().data(), f64::from_le_bytes);

        let hu = file.tensor("hu").unwrap();
        let &[slices, rows, cols] = hu.shape() else { panic!("{name}: hu is [S, rows, cols]") };
        let pixels = numbers(hu.data(), i16::from_le_bytes);
        let slice = |pixels: &[i16]| HuSlice {
            pixels: HuPixels::Int(pixels.to_vec()),
            sop_instance_uid: None,
            instance_number: None,
            position_mm: None,
        };
        let spacing = serde_json::from_str(&metadata["golden.pixel_spacing_mm"]).unwrap();
        let volume = HuVolume::new(pixels.chunks_exact(rows * cols).map(slice).collect(), rows, cols, Some(spacing)).unwrap();

        let described: BTreeMap<String, Description> = serde_json::from_str(&metadata["golden.stages"]).unwrap();
        let sample = |(stage, Description { shape, stride, max }): (String, Description)| {
            let values = numbers(file.tensor(&format!("stage.{stage}")).unwrap().data(), f32::from_le_bytes);
            (stage, Sample { shape, stride, max, values })
        };
        Self {
            name: name.to_owned(),
            stack: HuStack::new(&volume, &model.config.input, &Unobserved).unwrap(),
            resampled: model.config.input.size != [rows, cols],
            slices,
            stages: described.into_iter().map(sample).collect(),
            logits: doubles("logits"),
            probabilities: doubles("probabilities"),
            scan: doubles("scan"),
            positive: serde_json::from_str(&metadata["golden.positive"]).unwrap(),
            torch_dz_sumsq: metadata["golden.torch_f32_dz_sumsq"].parse().unwrap(),
            model: Arc::new(model),
        }
    }

    /// The network's input for one slice, windowed in float64 here: x = (clip((hu − (L − W/2)) / W, 0, 1) − mean) / std.
    pub(crate) fn input(&self, slice: usize) -> Vec<f64> {
        let input = &self.model.config.input;
        let mut x = Vec::new();
        for (c, Channel { slice_offset, window }) in input.channels.iter().enumerate() {
            let neighbour = (slice as i64 + slice_offset).clamp(0, self.slices as i64 - 1) as usize;
            x.extend(self.stack.plane(neighbour).iter().map(|&hu| {
                let v = ((f64::from(hu) - (window.level - window.width / 2.0)) / window.width).clamp(0.0, 1.0);
                (v - input.mean[c]) / input.std[c]
            }));
        }
        x
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|c| read(*c)).collect()
}
