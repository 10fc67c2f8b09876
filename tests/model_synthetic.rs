//! The standard networks with synthetic weights: what benchmarks run is a network whose numbers mean something, and the CPU backend
//! follows the oracle through its full depth.

use radnet::Unobserved;
use radnet::backend::Backend;
use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::backend::reference::Reference;
use radnet::decision::sigmoid;
use radnet::model::Config;
use radnet::preprocess::ScanTensor;
use radnet::weights::synthetic;
use std::sync::Arc;

/// |Δz| relative to max(1, |z|) and |Δp| (spec: model, "Tolerances").
const LOGIT: f64 = 1e-3;
const PROBABILITY: f64 = 1e-4;

const SLICES: usize = 3;

/// Slices in [0, 1] that differ from each other: a ramp, a flat field and a pattern without structure.
fn scan(values: usize) -> Vec<f32> {
    let value = |slice: usize, i: usize| match slice {
        0 => i as f32 / values as f32,
        1 => 0.25,
        _ => (i.wrapping_mul(2_654_435_761) >> 7 & 1023) as f32 / 1023.0,
    };
    (0..SLICES).flat_map(|slice| (0..values).map(move |i| value(slice, i))).collect()
}

fn logits(backend: &dyn Backend, scan: &ScanTensor, slice_vector: usize, classes: usize) -> Vec<f64> {
    let mut session = backend.session().unwrap();
    let (mut pooled, mut logits) = (vec![f32::NAN; SLICES * slice_vector], vec![f32::NAN; SLICES * classes]);
    session.pool_slices(scan, &Unobserved, &mut pooled, None).unwrap();
    session.classify(&pooled, &mut logits).unwrap();
    logits.iter().map(|z| f64::from(*z)).collect()
}

#[test]
fn the_standard_networks_follow_the_oracle_with_logits_of_order_one() {
    for name in ["densenet121", "densenet169", "densenet201"] {
        let mut config = Config::preset(name).unwrap();
        config.input.size = [48, 40];
        let model = Arc::new(synthetic(&config, 1).unwrap());
        let network = &model.network;
        let values = network.channels * network.input.area();
        let scan = ScanTensor::new(scan(values), SLICES, network.channels, network.input).unwrap();
        let oracle = logits(&Reference::new(Arc::clone(&model)), &scan, network.slice_vector, network.classes);
        let cpu = CpuBackend::new(network, &model.weights, CpuOptions { threads: 2, ..CpuOptions::default() }).unwrap();
        let fast = logits(&cpu, &scan, network.slice_vector, network.classes);
        eprintln!("{name}: oracle {oracle:?}, cpu {fast:?}");
        for (z, expected) in fast.iter().zip(&oracle) {
            assert!((z - expected).abs() <= LOGIT * expected.abs().max(1.0), "{name}: {z}, oracle {expected}");
            assert!((sigmoid(*z) - sigmoid(*expected)).abs() <= PROBABILITY, "{name}: {z}, oracle {expected}");
            assert!((1e-3..20.0).contains(&expected.abs()), "{name}: a logit of {expected}");
        }
        assert!((oracle[0] - oracle[2]).abs() > 1e-3, "{name}: slices that differ get logits that differ");
    }
}

#[test]
fn there_is_no_other_preset() {
    assert_eq!(Config::preset("densenet"), None);
}
