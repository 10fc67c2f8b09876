//! Model files: valid small ones of every kind, mutated in the container, the header, the configuration and the numbers.

mod mutate;

use crate::drive::Outcome;
use crate::rng::Rng;
use mutate::{Parts, mutate_bytes, mutate_parts};
use radnet::Unobserved;
use radnet::backend::Backend;
use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::decision::{decide, sigmoid};
use radnet::model::Quantisation;
use radnet::model::config::{Attention, Backbone, Config, Rnn, RnnShape, ScanRule};
use radnet::preprocess::ScanTensor;
use radnet::weights::{Dtype, Extras, Model, Storage, TensorView, model_bytes, synthetic};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Pixels of the largest input that is run through the network.
const LARGEST_RUN: usize = 64 * 64;

/// The fuzz target with the files it starts from.
pub(crate) struct Target {
    starts: Vec<Parts>,
}

impl Target {
    /// The built-in models and those in `files`.
    pub(crate) fn new(files: &[PathBuf]) -> Result<Self, String> {
        let mut starts: Vec<Parts> = built_in().iter().map(|bytes| Parts::split(bytes)).collect::<Result<_, _>>()?;
        for path in files {
            let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Model::from_bytes(&bytes).map_err(|e| format!("{}: not a valid start: {e}", path.display()))?;
            starts.push(Parts::split(&bytes).map_err(|e| format!("{}: {e}", path.display()))?);
        }
        Ok(Self { starts })
    }

    /// Mutates one start by `seed` and reads it.
    pub(crate) fn run(&self, seed: u64) -> Outcome {
        let rng = &mut Rng::new(seed);
        let mut parts = rng.pick(&self.starts).clone();
        for _ in 0..rng.below(4) {
            mutate_parts(&mut parts, rng);
        }
        let mut bytes = parts.join();
        if rng.chance(50) {
            mutate_bytes(&mut bytes, rng);
        }
        match Model::from_bytes(&bytes) {
            Ok(model) => {
                keeps_its_promises(&model)?;
                if model.network.input.area() > LARGEST_RUN || !rng.chance(25) {
                    return Ok("accepted");
                }
                runs(&model).map(|()| "accepted and run")
            }
            Err(error) if error.message().is_empty() => Err("an error without a message".to_owned()),
            Err(error) => Ok(error.kind().code()),
        }
    }
}

/// What every accepted model must allow: to be written and read back equal, to fold its norms, to decide.
fn keeps_its_promises(model: &Model) -> Result<(), String> {
    let written = model_bytes(model, Storage::F32, &Extras::default()).map_err(|e| format!("accepted, but not written: {e}"))?;
    let read = Model::from_bytes(&written).map_err(|e| format!("written, but not accepted: {e}"))?;
    if (&read.weights, &read.quantisation) != (&model.weights, &model.quantisation)
        || read.config != model.config
        || read.network != model.network
    {
        return Err("written and read back to another model".to_owned());
    }
    let (scale, shift) = model.weights.norm5.scale_shift(model.network.bn_eps);
    if scale.iter().chain(&shift).any(|v| !v.is_finite()) {
        return Err("a norm of an accepted model is not finite".to_owned());
    }
    let p: Vec<f64> = model.weights.classifier.bias.iter().map(|z| sigmoid(f64::from(*z))).collect();
    match decide(&model.config, &[&p, &p]).iter().find(|d| !(0.0..=1.0).contains(&d.score)) {
        Some(decision) => Err(format!("a score of {}", decision.score)),
        None => Ok(()),
    }
}

/// An accepted model runs on the CPU, on its own thread; what its logits are is its own affair.
fn runs(model: &Model) -> Result<(), String> {
    const SLICES: usize = 2;
    let network = &model.network;
    let x = vec![0.5; SLICES * network.channels * network.input.area()];
    let scan = ScanTensor::new(x, SLICES, network.channels, network.input).map_err(|e| e.to_string())?;
    let options = CpuOptions { threads: 1, ..CpuOptions::default() };
    let backend = CpuBackend::new(network, &model.weights, options).map_err(|e| format!("accepted, but not packed: {e}"))?;
    let mut session = backend.session().map_err(|e| format!("accepted, but no session: {e}"))?;
    let mut pooled = vec![0.0; SLICES * network.slice_vector];
    let mut logits = vec![0.0; SLICES * network.classes];
    session.pool_slices(&scan, &Unobserved, &mut pooled, None).map_err(|e| format!("accepted, but not run: {e}"))?;
    session.classify(&pooled, &mut logits).map_err(|e| format!("accepted, but not classified: {e}"))
}

/// Small models that together have every part of the format.
fn built_in() -> Vec<Vec<u8>> {
    let kinds = [
        (Attention::Sigmoid { heads: 2 }, Rnn::Lstm(RnnShape { hidden: 3, layers: 1, bidirectional: true }), ScanRule::NoisyOr {}),
        (Attention::Softmax { heads: 1 }, Rnn::Gru(RnnShape { hidden: 2, layers: 2, bidirectional: false }), ScanRule::MeanTopK { k: 2 }),
        (Attention::None, Rnn::None, ScanRule::Consecutive { n: 3 }),
    ];
    let mut files = Vec::new();
    for (i, (attention, rnn, scan)) in kinds.into_iter().enumerate() {
        let mut config = Config::densenet(&[1, 2][..1 + i % 2]);
        config.input.size = [[32, 37], [45, 33], [40, 40]][i];
        config.backbone = Backbone::Densenet { init_features: 4, growth_rate: 2, block_config: vec![1; 1 + i], bn_size: 2, bn_eps: 1e-5 };
        config.segmentation = (1..=i).collect();
        (config.attention, config.rnn, config.scan) = (attention, rnn, scan);
        let model = synthetic(&config, i as u64).expect("a valid configuration");
        let mut quantised = model.clone();
        quantised.quantisation = Some(Quantisation::from_norms(&model.network, &model.weights));
        files.push(model_bytes(&quantised, Storage::BF16, &Extras::default()).expect("a valid model"));
        let codes = TensorView { dtype: Dtype::I8, shape: vec![2, 3], bytes: &[1, 2, 3, 4, 5, 6] };
        for (storage, quant) in [
            (Storage::F32, BTreeMap::new()),
            (Storage::F16, BTreeMap::from([("quant.codes".to_owned(), codes)])),
            (Storage::BF16, BTreeMap::new()),
        ] {
            let metadata = BTreeMap::from([("foreign".to_owned(), "text".to_owned())]);
            files.push(model_bytes(&model, storage, &Extras { quant, metadata }).expect("a valid model"));
        }
    }
    files
}
