//! One scan after the other through an engine: Hounsfield units in, probabilities and a decision out.

use crate::backend::{BackendSession, ScanMaps};
use crate::decision::{ScanDecision, decide, sigmoid};
use crate::engine::Engine;
use crate::observer::Observer;
use crate::preprocess::{HuStack, ScannedStack};
use crate::tensor::SliceSource;
use crate::volume::HuVolume;
use crate::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

/// Scratch memory for one scan at a time.
pub struct Session<'e> {
    engine: &'e Engine,
    backend: Box<dyn BackendSession + 'e>,
    pooled: Vec<f32>,
    logits: Vec<f32>,
}

/// What the model says of one slice, classes in the model's order.
#[derive(Clone, Debug, PartialEq)]
pub struct SlicePrediction {
    /// z.
    pub logit: Vec<f64>,
    /// σ(z).
    pub probability: Vec<f64>,
}

/// What the model says of a scan.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Inferior to superior.
    pub slices: Vec<SlicePrediction>,
    /// Per class, in the model's order.
    pub scan: Vec<ScanDecision>,
    /// Where the model looked, when asked for.
    pub maps: Option<PredictionMaps>,
    /// Time in pre-processing.
    pub preprocess: Duration,
    /// Time in the network.
    pub inference: Duration,
}

/// Maps with the images they lie over.
#[derive(Clone, Debug)]
pub struct PredictionMaps {
    /// Attention and segmentation.
    pub maps: ScanMaps,
    /// The slices in HU, in the network's geometry; none when the host handed in a tensor.
    pub stack: Option<HuStack>,
}

impl<'e> Session<'e> {
    pub(crate) fn new(engine: &'e Engine, backend: Box<dyn BackendSession + 'e>) -> Result<Self> {
        Ok(Self { engine, backend, pooled: Vec::new(), logits: Vec::new() })
    }

    /// Pre-processes and judges a scan.
    ///
    /// # Errors
    /// `bad_geometry` when the model resamples to a spacing and the volume has none; `cancelled`; `out_of_memory`;
    /// `bad_model` when the weights make a logit that is not finite.
    pub fn predict(&mut self, volume: &HuVolume, observer: &dyn Observer, want_maps: bool) -> Result<Prediction> {
        let start = Instant::now();
        let input = &self.engine.model().config.input;
        if !want_maps
            && self.engine.resamples()
            && let Some(scanned) = ScannedStack::new(volume, input)?
        {
            return self.predict_source(&scanned, observer, false);
        }
        let stack = self.engine.pool().install(|| HuStack::new(volume, input, observer))?;
        let preprocess = start.elapsed();
        let mut prediction = self.predict_source(&stack, observer, want_maps)?;
        prediction.preprocess = preprocess;
        if let Some(maps) = &mut prediction.maps {
            maps.stack = Some(stack);
        }
        Ok(prediction)
    }

    /// Judges a scan whose slices the host windows itself.
    ///
    /// # Errors
    /// `bad_geometry` when the source's shape is not the model's; else as [`Session::predict`].
    pub fn predict_source(&mut self, scan: &dyn SliceSource, observer: &dyn Observer, want_maps: bool) -> Result<Prediction> {
        let start = Instant::now();
        let model = self.engine.model();
        let network = &model.network;
        let shape = (scan.channels(), scan.extent());
        if scan.slices() == 0 || shape != (network.channels, network.input) {
            let message = format!("{} slices of {shape:?}, but the model takes {:?}", scan.slices(), (network.channels, network.input));
            return Err(Error::new(ErrorKind::BadGeometry, message));
        }
        resize(&mut self.pooled, scan.slices(), network.slice_vector)?;
        resize(&mut self.logits, scan.slices(), network.classes)?;
        let mut maps = want_maps.then(ScanMaps::default);
        self.backend.judge(scan, observer, &mut self.pooled, &mut self.logits, maps.as_mut())?;
        if let Some(i) = self.logits.iter().position(|z| !z.is_finite()) {
            let (slice, class) = (i / network.classes, &model.config.classes[i % network.classes]);
            let message = format!("the weights overflow: the logit of `{class}` is {} on slice {slice}", self.logits[i]);
            return Err(Error::new(ErrorKind::BadModel, message));
        }
        let slices: Vec<SlicePrediction> = self.logits.chunks_exact(network.classes).map(SlicePrediction::new).collect();
        let scan = decide(&model.config, &slices.iter().map(|s| s.probability.as_slice()).collect::<Vec<_>>());
        let maps = maps.map(|maps| PredictionMaps { maps, stack: None });
        Ok(Prediction { slices, scan, maps, preprocess: Duration::ZERO, inference: start.elapsed() })
    }

    /// Milliseconds that a GPU spent on the last scan by its own clock; none on a processor.
    pub fn device_ms(&self) -> Option<f64> {
        self.backend.device_ms()
    }
}

impl SlicePrediction {
    fn new(logits: &[f32]) -> Self {
        let logit: Vec<f64> = logits.iter().map(|&z| f64::from(z)).collect();
        let probability = logit.iter().map(|&z| sigmoid(z)).collect();
        Self { logit, probability }
    }
}

fn resize(buffer: &mut Vec<f32>, slices: usize, width: usize) -> Result<()> {
    let values = slices.saturating_mul(width);
    buffer.clear();
    buffer
        .try_reserve(values)
        .map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("{slices} slice vectors of {width} do not fit in memory")).caused_by(e))?;
    buffer.resize(values, 0.0);
    Ok(())
}
