//! Models with seeded random weights, for benchmarks and tests: any configuration, no file, the same bits on every machine.

use super::Weights;
use super::file::Model;
use super::names::TensorSource;
use super::writer::{Extras, Storage, model_bytes};
use crate::Result;
use crate::model::{Config, Network};

/// A model of `config` with random weights. Their scale keeps activations near unit variance through any depth and logits of order one,
/// so that neither overflow nor vanishing numbers make a benchmark or a comparison meaningless.
///
/// # Errors
/// `bad_model` when the configuration is out of range.
pub fn synthetic(config: &Config, seed: u64) -> Result<Model> {
    let network = Network::new(config)?;
    let weights = Weights::collect(&network, &mut Generator { state: seed })?;
    let model = Model {
        config: config.clone(),
        network,
        weights,
        name: format!("synthetic-{seed}"),
        version: "1".to_owned(),
        intended_use: "Benchmarks and tests: the weights are random numbers.".to_owned(),
        calibration: String::new(),
        quantisation_record: String::new(),
        quantisation: None,
        sha256: String::new(),
        path: None,
    };
    Model::from_bytes(&model_bytes(&model, Storage::F32, &Extras::default())?)
}

/// SplitMix64; floating-point operations are additions and multiplications only, which are the same everywhere.
struct Generator {
    state: u64,
}

impl TensorSource for Generator {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let fan_in: usize = shape[1..].iter().product();
        let part = name.rsplit('.').next().unwrap_or(name);
        let (centre, half_width) = match part {
            "running_var" => (1.0, 0.5),
            "running_mean" | "bias" => (0.0, 0.1),
            "weight" if name.contains("norm") => (1.0, 0.2),
            // Uniform of variance 2 / fan_in: the ReLU before a convolution halves the power it receives.
            "weight" => (0.0, (6.0 / fan_in as f64).sqrt()),
            // PyTorch's own range for recurrent tensors, 1 / √hidden, with hidden at least a quarter of the rows.
            _ => (0.0, (4.0 / shape[0] as f64).sqrt()),
        };
        let count = shape.iter().product();
        Ok((0..count).map(|_| (centre + half_width * self.symmetric()) as f32).collect())
    }
}

impl Generator {
    /// Uniform in [-1, 1).
    fn symmetric(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0
    }
}
