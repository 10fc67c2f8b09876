//! The scans that the device is compared on: the golden set (format: tools/reference/README.md) and the demo model's phantoms.

use super::words;
use radnet::dicom::{DiscoverOptions, discover};
use radnet::{HuPixels, HuSlice, HuVolume, Model, Unobserved};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// One model with a scan.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) model: PathBuf,
    pub(crate) volume: HuVolume,
    /// What PyTorch's float64 makes of it, slices by classes.
    pub(crate) logits: Option<Vec<f64>>,
}

/// All fixtures of a repository.
pub(crate) fn all(repository: &Path) -> Result<Vec<Fixture>, String> {
    let folder = repository.join("tests/golden");
    let index = folder.join("index.json");
    let text = std::fs::read_to_string(&index).map_err(|error| format!("{}: {error}", index.display()))?;
    let index: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", index.display()))?;
    let names = index["cases"].as_array().ok_or("tests/golden/index.json has no cases")?;
    let golden = names.iter().filter_map(|name| name.as_str()).map(|name| golden(&folder, name));
    golden.chain(["bleed", "normal"].map(|name| phantom(repository, name))).collect()
}

fn golden(folder: &Path, name: &str) -> Result<Fixture, String> {
    let file = folder.join(format!("{name}.safetensors"));
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(words)?;
    let metadata = header.metadata().as_ref().ok_or_else(|| format!("{name}: no metadata"))?;
    let text = |key: &str| metadata.get(key).ok_or_else(|| format!("{name}: no {key}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(words)?;
    let hu = tensors.tensor("hu").map_err(words)?;
    let &[_, rows, cols] = hu.shape() else { return Err(format!("{name}: hu is no [S, rows, cols]")) };
    let pixels: Vec<i16> = hu.data().as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect();
    let spacing: [f64; 2] = serde_json::from_str(text("golden.pixel_spacing_mm")?).map_err(words)?;
    let slice = |pixels: &[i16]| HuSlice {
        pixels: HuPixels::Int(pixels.to_vec()),
        sop_instance_uid: None,
        instance_number: None,
        position_mm: None,
    };
    let slices = pixels.chunks_exact(rows * cols).map(slice).collect();
    let logits = tensors.tensor("logits").map_err(words)?;
    Ok(Fixture {
        name: name.to_owned(),
        model: folder.join(text("golden.model")?),
        volume: HuVolume::new(slices, rows, cols, Some(spacing)).map_err(words)?,
        logits: Some(logits.data().as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()),
    })
}

fn phantom(repository: &Path, name: &str) -> Result<Fixture, String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().map_err(words)?;
    let folder = repository.join("tests/data/phantom").join(name);
    let found = discover(&[&folder], &DiscoverOptions::default(), &pool, &Unobserved).map_err(words)?;
    let outcome = found.outcomes.into_iter().next().ok_or_else(|| format!("{}: no series", folder.display()))?;
    let decoded = outcome.result.map_err(words)?.read(&pool, &Unobserved).map_err(words)?;
    Ok(Fixture { name: format!("demo, {name}"), model: demo_model(repository), volume: decoded.volume, logits: None })
}

/// The model that ships with the repository.
pub(crate) fn demo_model(repository: &Path) -> PathBuf {
    repository.join("weights/radnet-demo.safetensors")
}

/// A model from its file.
pub(crate) fn open(file: &Path) -> Result<Model, String> {
    Model::open(file).map_err(|error| format!("{}: {error}", file.display()))
}
