//! The float64 oracle and the decision against PyTorch's float64, stage by stage, over every golden case.

use crate::fixture::{Case, cases};
use radnet::backend::reference::{Reference, Stage};
use radnet::decision::{decide, sigmoid};
use radnet::model::config::{Attention, Rnn, ScanRule};
use std::collections::BTreeMap;

/// Stages are stored as float32: half a unit in the last place.
const STORED: f64 = 1.0 / (1 << 24) as f64;
/// Two float64 evaluations in different orders, relative to the largest magnitude of the tensor.
const FLOAT64: f64 = 1e-11;
/// After a resampling, whose HU are rounded to float32 by the format (PyTorch's float64 keeps them in float64).
const RESAMPLED: f64 = 2e-6;

fn stages(case: &Case) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let oracle = Reference::new(case.model.clone());
    let mut all: BTreeMap<String, (Vec<usize>, Vec<f64>)> = BTreeMap::new();
    for slice in 0..case.slices {
        let x = case.input(slice);
        let [height, width] = case.model.config.input.size;
        let shape = vec![x.len() / (height * width), height, width];
        let input = Stage { name: "input".to_owned(), shape, values: x.clone() };
        for Stage { name, shape, values } in [input].into_iter().chain(oracle.slice_stages(&x)) {
            let stacked = all.entry(name).or_insert_with(|| ([&[case.slices], &shape[..]].concat(), Vec::new()));
            stacked.1.extend(values);
        }
    }
    for Stage { name, shape, values } in oracle.scan_stages(&all["pooled"].1) {
        all.insert(name, (shape, values));
    }
    all
}

fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
    (ours - theirs).abs() <= tolerance
}

#[test]
fn every_stage_equals_pytorch() {
    for case in cases() {
        let mut stages = stages(&case);
        let computed = if case.resampled { RESAMPLED } else { FLOAT64 };
        let (_, logits) = stages.remove("logits").unwrap();
        assert_eq!(logits.len(), case.logits.len(), "{}", case.name);
        let sumsq: f64 = logits.iter().zip(&case.logits).map(|(z, expected)| (z - expected).powi(2)).sum();
        assert!(case.resampled || sumsq < 1e-6 * case.torch_dz_sumsq, "{}: no oracle next to PyTorch's float32", case.name);
        for (i, (z, expected)) in logits.iter().zip(&case.logits).enumerate() {
            assert!(close(*z, *expected, computed * expected.abs().max(1.0) * 10.0), "{}, logit {i}: {z}, PyTorch {expected}", case.name);
            let p = case.probabilities[i];
            assert!(close(sigmoid(*expected), p, 4.0 * f64::EPSILON * p), "{}: sigma({expected}) = {}", case.name, sigmoid(*expected));
        }
        for (name, sample) in &case.stages {
            let (shape, values) = stages.remove(name).unwrap_or_else(|| panic!("{}: the oracle has no stage {name}", case.name));
            assert_eq!(shape, sample.shape, "{} {name}", case.name);
            assert_eq!(values.len().div_ceil(sample.stride), sample.values.len(), "{} {name}", case.name);
            for (i, (v, expected)) in values.iter().step_by(sample.stride).zip(&sample.values).enumerate() {
                let expected = f64::from(*expected);
                let tolerance = STORED * expected.abs() + computed * sample.max;
                assert!(close(*v, expected, tolerance), "{} {name}[{}]: {v}, PyTorch {expected}", case.name, i * sample.stride);
            }
        }
        assert_eq!(stages.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "{}: stages that PyTorch does not have", case.name);
    }
}

#[test]
fn the_scan_is_decided_as_in_pytorch() {
    for case in cases() {
        let config = &case.model.config;
        let slices: Vec<&[f64]> = case.probabilities.chunks_exact(config.classes.len()).collect();
        let decisions = decide(config, &slices);
        assert_eq!(decisions.len(), config.classes.len());
        for ((class, decision), expected) in config.classes.iter().zip(decisions).zip(&case.scan) {
            assert!(close(decision.score, *expected, 1e-14), "{} {class}: {}, PyTorch {expected}", case.name, decision.score);
            assert_eq!(decision.positive, case.positive[class], "{} {class}", case.name);
        }
    }
}

#[test]
fn the_golden_set_has_every_kind() {
    let cases = cases();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    let any = |holds: &dyn Fn(&Case) -> bool| cases.iter().any(holds);
    let config = |f: fn(&radnet::Config) -> bool| any(&|c| f(&c.model.config));
    assert!(config(|c| c.attention == Attention::None));
    assert!(config(|c| matches!(c.attention, Attention::Sigmoid { heads } if heads > 1)));
    assert!(config(|c| matches!(c.attention, Attention::Softmax { heads } if heads > 1)));
    assert!(config(|c| c.rnn == Rnn::None));
    assert!(config(|c| matches!(c.rnn, Rnn::Lstm(r) if r.bidirectional)));
    assert!(config(|c| matches!(c.rnn, Rnn::Lstm(r) if !r.bidirectional)));
    assert!(config(|c| matches!(c.rnn, Rnn::Gru(r) if r.bidirectional && r.layers > 1)));
    assert!(config(|c| matches!(c.scan, ScanRule::Consecutive { .. })));
    assert!(config(|c| matches!(c.scan, ScanRule::MeanTopK { .. })));
    assert!(config(|c| c.scan == ScanRule::NoisyOr {}));
    assert!(config(|c| c.segmentation.is_empty()) && config(|c| c.segmentation.len() > 1));
    assert!(config(|c| c.classes.len() == 5));
    assert!(config(|c| c.input.channels.iter().any(|c| c.slice_offset != 0)));
    assert!(any(&|c| c.slices == 1) && any(&|c| c.resampled));
}
