//! How long scans take: on the device by its own clock, and on the host from slices to probabilities; and where the time goes.

use super::roofs::Roofs;
use super::words;
use radnet::backend::cuda::{CudaBackend, CudaOptions, Element};
use radnet::backend::{Backend, BackendSession};
use radnet::weights::synthetic;
use radnet::{Config, Engine, Model, Unobserved};
use radnet_gpu::scans;
use radnet_kernels::cuda::Gpu;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// DenseNet-121 with attention and a bidirectional LSTM, random weights, noise, fp16.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScanTime {
    /// Side of the network's input.
    pub(crate) size: usize,
    pub(crate) slices: usize,
    /// From the upload's end to the logits, by the device's clock.
    pub(crate) device_ms: Option<Spread>,
    /// From float32 planes on the host to logits on the host.
    pub(crate) host_ms: Spread,
    /// From int16 HU slices of the network's own size on the host to probabilities.
    pub(crate) hu_ms: Spread,
    /// From int16 HU slices of 512×512.
    pub(crate) hu_512_ms: Spread,
    /// What issue 4 asks of an H200: device time, and int16 HU to probabilities.
    pub(crate) targets_ms: [Option<f64>; 2],
}

/// Repetitions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// One step of the network, launched by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) size: usize,
    pub(crate) name: String,
    /// For a scan of [`STEP_SLICES`] slices.
    pub(crate) ms: f64,
    /// The least that this device needs for its FLOP or its bytes.
    pub(crate) floor_ms: f64,
}

const SHAPES: [(usize, usize, [Option<f64>; 2]); 6] = [
    (256, 1, [Some(0.25), None]),
    (256, 32, [Some(0.5), Some(1.0)]),
    (256, 128, [None, None]),
    (512, 1, [None, None]),
    (512, 32, [Some(1.7), None]),
    (512, 128, [None, None]),
];
/// Slices of the scan whose steps are measured.
pub(crate) const STEP_SLICES: usize = 32;
const WARM_UP: usize = 5;
const REPETITIONS: usize = 30;
/// Inputs that take turns, so that none is found in a cache.
const INPUTS: u64 = 3;

/// Every shape.
pub(crate) fn scan_times(gpu: &Arc<dyn Gpu>) -> Result<Vec<ScanTime>, String> {
    SHAPES.into_iter().map(|(size, slices, targets_ms)| scan_time(gpu, size, slices, targets_ms)).collect()
}

fn model(size: usize) -> Result<Model, String> {
    let mut config = Config::densenet121();
    config.input.size = [size; 2];
    synthetic(&config, 1).map_err(words)
}

fn scan_time(gpu: &Arc<dyn Gpu>, size: usize, slices: usize, targets_ms: [Option<f64>; 2]) -> Result<ScanTime, String> {
    let (device_ms, host_ms) = tensor_times(gpu, size, slices)?;
    let engine = Engine::builder(model(size)?).gpu(Arc::clone(gpu)).build().map_err(words)?;
    let mut session = engine.session().map_err(words)?;
    let mut from_hu = |side: usize| {
        let volumes = (0..INPUTS).map(|seed| scans::noise(slices, side, seed)).collect::<Result<Vec<_>, _>>()?;
        repeat(|i| session.predict(&volumes[i % volumes.len()], &Unobserved, false).map_err(words).map(|_| None)).map(|(host, _)| host)
    };
    Ok(ScanTime { size, slices, device_ms, host_ms, hu_ms: from_hu(size)?, hu_512_ms: from_hu(512)?, targets_ms })
}

/// From windowed planes: the device's time, and the host's.
fn tensor_times(gpu: &Arc<dyn Gpu>, size: usize, slices: usize) -> Result<(Option<Spread>, Spread), String> {
    let model = model(size)?;
    let network = &model.network;
    let inputs = (0..INPUTS).map(|seed| scans::tensor(slices, network.channels, size, seed)).collect::<Result<Vec<_>, _>>()?;
    let options = CudaOptions { element: Element::F16, ..CudaOptions::default() };
    let backend = CudaBackend::new(Arc::clone(gpu), network, &model.weights, options).map_err(words)?;
    let mut session: Box<dyn BackendSession + '_> = backend.session().map_err(words)?;
    let mut pooled = vec![0.0; slices * network.slice_vector];
    let mut logits = vec![0.0; slices * network.classes];
    let (host, device) = repeat(|i| {
        session.judge(&inputs[i % inputs.len()], &Unobserved, &mut pooled, &mut logits, None).map_err(words)?;
        Ok(session.device_ms())
    })?;
    Ok((device, host))
}

/// Runs something often; returns the host's times, and those that it reports itself.
fn repeat(mut run: impl FnMut(usize) -> Result<Option<f64>, String>) -> Result<(Spread, Option<Spread>), String> {
    let (mut host, mut device) = (Vec::new(), Vec::new());
    for i in 0..WARM_UP + REPETITIONS {
        let started = Instant::now();
        let reported = run(i)?;
        if i >= WARM_UP {
            host.push(started.elapsed().as_secs_f64() * 1e3);
            device.extend(reported);
        }
    }
    let host = Spread::of(host).ok_or("no repetition")?;
    Ok((host, Spread::of(device)))
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        Some(Self { median: *times.get(times.len() / 2)?, least: *times.first()?, most: *times.last()? })
    }
}

/// The steps of a network at 256 and 512, each with its own mark: they do not overlap as they do in a graph, so that their sum is more than
/// a scan takes.
pub(crate) fn steps(gpu: &Arc<dyn Gpu>, roofs: &Roofs) -> Result<Vec<Step>, String> {
    let mut all = Vec::new();
    for size in [256, 512] {
        let engine = Engine::builder(model(size)?).gpu(Arc::clone(gpu)).measure(true).build().map_err(words)?;
        let mut session = engine.session().map_err(words)?;
        let input = scans::noise(STEP_SLICES, size, 1)?;
        for _ in 0..WARM_UP {
            session.predict(&input, &Unobserved, false).map_err(words)?;
        }
        engine.stage_times();
        for _ in 0..REPETITIONS {
            session.predict(&input, &Unobserved, false).map_err(words)?;
        }
        let scans = REPETITIONS as f64;
        all.extend(engine.stage_times().into_iter().map(|step| {
            let work = step.runs as f64 / scans;
            let floor_ms = roofs.floor_ms(step.flop as f64 * work, step.bytes as f64 * work);
            Step { size, name: step.name, ms: step.ns as f64 / 1e6 / scans, floor_ms }
        }));
    }
    Ok(all)
}
