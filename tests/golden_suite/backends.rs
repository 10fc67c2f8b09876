//! Every backend from HU to probabilities, against PyTorch's float64, within the tolerances of the model format.

use crate::fixture::{Case, Sample, cases, torch_f32_rms_dz};
use radnet::Unobserved;
use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::backend::reference::Reference;
use radnet::backend::{Backend, ScanMaps};
use radnet::decision::{decide, sigmoid};
use radnet_kernels::Isa;

/// |Δz| relative to max(1, |z|) (spec: model, "Tolerances").
const LOGIT: f64 = 1e-3;
/// |Δp|.
const PROBABILITY: f64 = 1e-4;
/// rms of Δz over the golden set, in that of PyTorch's float32.
const RMS: f64 = 1.25;
/// Attention weights and segmentation probabilities: as probabilities.
const MAP: f64 = 1e-4;

/// One scan through a backend: logits and maps.
pub(crate) fn run(backend: &dyn Backend, case: &Case) -> (Vec<f64>, ScanMaps) {
    let network = &case.model.network;
    let mut session = backend.session().unwrap();
    let mut pooled = vec![f32::NAN; case.slices * network.slice_vector];
    let mut logits = vec![f32::NAN; case.slices * network.classes];
    let mut maps = ScanMaps::default();
    session.pool_slices(&case.stack, &Unobserved, &mut pooled, Some(&mut maps)).unwrap();
    session.classify(&pooled, &mut logits).unwrap();
    (logits.iter().map(|z| f64::from(*z)).collect(), maps)
}

fn check_map(name: &str, map: &[f32], sample: &Sample) {
    assert_eq!(map.len(), sample.shape.iter().product::<usize>(), "{name}");
    for (i, (v, expected)) in map.iter().step_by(sample.stride).zip(&sample.values).enumerate() {
        let difference = f64::from(v - expected).abs();
        assert!(difference <= MAP, "{name}[{}]: {v}, PyTorch {expected}", i * sample.stride);
    }
}

fn check_maps(case: &Case, maps: &ScanMaps) {
    match case.stages.get("attention") {
        Some(sample) => {
            let extent = maps.attention_extent.expect("an extent");
            assert_eq!([extent.height, extent.width], sample.shape[2..], "{}", case.name);
            check_map(&format!("{} attention", case.name), &maps.attention.concat(), sample);
        }
        None => assert!(maps.attention.is_empty() && maps.attention_extent.is_none(), "{}", case.name),
    }
    let mut blocks = case.model.config.segmentation.clone();
    blocks.sort_unstable();
    assert_eq!(maps.segmentation_blocks, blocks, "{}", case.name);
    let area = case.model.network.input.area();
    for (head, block) in blocks.iter().enumerate() {
        let map: Vec<f32> = maps.segmentation.iter().flat_map(|slice| &slice[head * area..][..area]).copied().collect();
        check_map(&format!("{} segmentation {block}", case.name), &map, &case.stages[&format!("segmentation{block}")]);
    }
}

/// Checks every case and the rms over all of them.
pub(crate) fn check(make: &dyn Fn(&Case) -> Box<dyn Backend>) {
    let (mut sumsq, mut count) = (0.0, 0);
    for case in cases() {
        let (logits, maps) = run(&*make(&case), &case);
        let p: Vec<f64> = logits.iter().map(|z| sigmoid(*z)).collect();
        for (i, (z, expected)) in logits.iter().zip(&case.logits).enumerate() {
            assert!((z - expected).abs() <= LOGIT * expected.abs().max(1.0), "{} logit {i}: {z}, PyTorch {expected}", case.name);
            assert!(
                (p[i] - case.probabilities[i]).abs() <= PROBABILITY,
                "{} p {i}: {}, PyTorch {}",
                case.name,
                p[i],
                case.probabilities[i]
            );
            sumsq += (z - expected).powi(2);
            count += 1;
        }
        let config = &case.model.config;
        let slices: Vec<&[f64]> = p.chunks_exact(config.classes.len()).collect();
        for (class, decision) in config.classes.iter().zip(decide(config, &slices)) {
            assert_eq!(decision.positive, case.positive[class], "{} {class}", case.name);
        }
        check_maps(&case, &maps);
    }
    let (rms, bound) = ((sumsq / f64::from(count)).sqrt(), RMS * torch_f32_rms_dz());
    eprintln!("rms of dz {rms:.3e}, PyTorch float32 {:.3e}", torch_f32_rms_dz());
    assert!(rms <= bound, "rms of dz {rms:.3e}, allowed {bound:.3e}");
}

#[test]
fn the_reference_agrees_with_pytorch() {
    check(&|case| Box::new(Reference::new(case.model.clone())));
}

#[test]
fn the_cpu_agrees_with_pytorch_on_every_tier() {
    for isa in Isa::available() {
        check(&|case| {
            let options = CpuOptions { isa: Some(isa.name().to_owned()), threads: 2, ..CpuOptions::default() };
            Box::new(CpuBackend::new(&case.model.network, &case.model.weights, options).unwrap())
        });
    }
}
