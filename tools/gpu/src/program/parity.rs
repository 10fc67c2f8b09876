//! The device against the CPU, by the tolerances of the model format: fp32 against the float64 oracle where there is one, else against the
//! CPU's fp32; fp16 and bf16 against the CPU's fp32. And the device against itself: the same bits on every run and for any batch split.

use super::fixtures::{self, Fixture};
use super::words;
use radnet::backend::cuda::{CudaBackend, CudaOptions, Element};
use radnet::backend::{Backend, ScanMaps};
use radnet::preprocess::HuStack;
use radnet::{Device, Engine, Precision, Prediction, Unobserved};
use radnet_gpu::launches::PRECISIONS;
use radnet_kernels::cuda::Gpu;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// |Δp| of fp16 and bf16, and of their maps.
const REDUCED: f64 = 1e-2;
/// |Δp| of fp32, and of its maps.
const SINGLE: f64 = 1e-4;
/// |Δz| of fp32, relative to max(1, |z|).
const LOGIT: f64 = 1e-3;

/// One fixture in one precision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) fixture: String,
    pub(crate) precision: String,
    pub(crate) slices: usize,
    /// Largest |Δp| of a slice.
    pub(crate) probability: f64,
    /// Largest |Δz| / max(1, |z|).
    pub(crate) logit: f64,
    /// Largest difference of an attention weight or a segmentation probability.
    pub(crate) maps: f64,
    /// Scan decisions that changed.
    pub(crate) flipped: usize,
    /// The same bits when run again, and one slice at a time.
    pub(crate) reproducible: bool,
    pub(crate) passed: bool,
}

/// Every fixture in every precision.
pub(crate) fn compare(gpu: &Arc<dyn Gpu>, fixtures: &[Fixture]) -> Result<Vec<Comparison>, String> {
    let mut all = Vec::new();
    for fixture in fixtures {
        let host = predict(Engine::builder(fixtures::open(&fixture.model)?).device(Device::Cpu), fixture)?;
        for precision in PRECISIONS {
            let builder = Engine::builder(fixtures::open(&fixture.model)?).gpu(Arc::clone(gpu)).precision(precision);
            let device = predict(builder, fixture).map_err(|error| format!("{}, {}: {error}", fixture.name, precision.name()))?;
            let reproducible = reproducible(gpu, fixture, precision)?;
            all.push(comparison(fixture, precision, (&host, &device), reproducible));
        }
    }
    Ok(all)
}

fn predict(builder: radnet::EngineBuilder, fixture: &Fixture) -> Result<Prediction, String> {
    let engine = builder.build().map_err(words)?;
    let mut session = engine.session().map_err(words)?;
    session.predict(&fixture.volume, &Unobserved, true).map_err(words)
}

fn comparison(fixture: &Fixture, precision: Precision, (host, device): (&Prediction, &Prediction), reproducible: bool) -> Comparison {
    let logits = |prediction: &Prediction| prediction.slices.iter().flat_map(|slice| slice.logit.clone()).collect::<Vec<f64>>();
    let oracle = fixture.logits.clone().filter(|_| precision == Precision::Fp32);
    let (expected, got) = (oracle.unwrap_or_else(|| logits(host)), logits(device));
    let pairs = || expected.iter().zip(&got);
    let logit = largest(pairs().map(|(z, got)| (z - got).abs() / z.abs().max(1.0)));
    let probability = largest(pairs().map(|(z, got)| (radnet::decision::sigmoid(*z) - radnet::decision::sigmoid(*got)).abs()));
    let maps = match (&host.maps, &device.maps) {
        (Some(host), Some(device)) => map_difference(&host.maps, &device.maps),
        _ => f64::INFINITY,
    };
    let flipped = host.scan.iter().zip(&device.scan).filter(|(host, device)| host.positive != device.positive).count();
    let close = match precision {
        Precision::Fp32 => logit <= LOGIT && probability <= SINGLE && maps <= SINGLE,
        _ => probability <= REDUCED && maps <= REDUCED,
    };
    Comparison {
        fixture: fixture.name.clone(),
        precision: precision.name().to_owned(),
        slices: device.slices.len(),
        probability,
        logit,
        maps,
        flipped,
        reproducible,
        passed: close && flipped == 0 && reproducible && expected.len() == got.len(),
    }
}

/// NaN counts as infinitely far.
fn largest(differences: impl Iterator<Item = f64>) -> f64 {
    differences.fold(0.0, |worst, difference| if difference.is_nan() { f64::INFINITY } else { worst.max(difference) })
}

fn map_difference(host: &ScanMaps, device: &ScanMaps) -> f64 {
    let differ = |a: &[Vec<f32>], b: &[Vec<f32>]| {
        let (a, b) = (a.concat(), b.concat());
        if a.len() == b.len() { largest(a.iter().zip(&b).map(|(a, b)| f64::from((a - b).abs()))) } else { f64::INFINITY }
    };
    differ(&host.attention, &device.attention).max(differ(&host.segmentation, &device.segmentation))
}

/// Whether logits have the same bits on a second run, and when every slice runs alone.
fn reproducible(gpu: &Arc<dyn Gpu>, fixture: &Fixture, precision: Precision) -> Result<bool, String> {
    let model = fixtures::open(&fixture.model)?;
    let stack = HuStack::new(&fixture.volume, &model.config.input, &Unobserved).map_err(words)?;
    let slices = fixture.volume.slices().len();
    let element = match precision {
        Precision::Fp32 => Element::F32,
        Precision::Bf16 => Element::Bf16,
        _ => Element::F16,
    };
    let bits = |most_slices: Option<usize>, runs: usize| -> Result<Vec<Vec<u32>>, String> {
        let options = CudaOptions { element, most_slices, ..CudaOptions::default() };
        let backend = CudaBackend::new(Arc::clone(gpu), &model.network, &model.weights, options).map_err(words)?;
        let mut session = backend.session().map_err(words)?;
        let mut once = || {
            let mut pooled = vec![0.0; slices * model.network.slice_vector];
            let mut logits = vec![0.0f32; slices * model.network.classes];
            session.judge(&stack, &Unobserved, &mut pooled, &mut logits, None).map_err(words)?;
            Ok(logits.iter().map(|logit| logit.to_bits()).collect())
        };
        (0..runs).map(|_| once()).collect()
    };
    let (together, alone) = (bits(None, 2)?, bits(Some(1), 1)?);
    Ok(together[0] == together[1] && together[0] == alone[0])
}
