//! Model files: valid small ones of every kind, mutated in the container, the header, the configuration and the numbers.

mod mutate;

use crate::drive::Outcome;
use crate::rng::Rng;
use mutate::{Parts, mutate_bytes, mutate_parts};
use radnet::decision::{decide, sigmoid};
use radnet::model::config::{Attention, Backbone, Config, Rnn, RnnShape, ScanRule};
use radnet::weights::{Dtype, Extras, Model, Storage, TensorView, model_bytes, synthetic};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
            Ok(model) => keeps_its_promises(&model).map(|()| "accepted"),
            Err(error) if error.message().is_empty() => Err("an error without a message".to_owned()),
            Err(error) => Ok(error.kind().code()),
        }
    }
}

/// What every accepted model must allow: to be written and read back equal, to fold its norms, to decide.
fn keeps_its_promises(model: &Model) -> Result<(), String> {
    let written = model_bytes(model, Storage::F32, &Extras::default()).map_err(|e| format!("accepted, but not written: {e}"))?;
    let read = Model::from_bytes(&written).map_err(|e| format!("written, but not accepted: {e}"))?;
    if read.weights != model.weights || read.config != model.config || read.network != model.network {
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
        config.backbone = Backbone::Densenet { init_features: 4, growth_rate: 2, block_config: vec![1; 1 + i], bn_size: 2, bn_eps: 1e-5 };
        config.segmentation = (1..=i).collect();
        (config.attention, config.rnn, config.scan) = (attention, rnn, scan);
        let model = synthetic(&config, i as u64).expect("a valid configuration");
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
