//! bf16 on the processor, on the golden set: no decision flips, and how far probabilities are from PyTorch's float64.

use crate::backends::run;
use crate::fixture::cases;
use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::decision::{decide, sigmoid};
use radnet_kernels::Isa;

/// |Δp| of reduced precision (spec: model, "Tolerances").
const REDUCED: f64 = 1e-2;
/// Untrained models whose weights amplify what eight bits lose.
const MISSES: [&str; 3] = ["odd_channels", "one_block", "sigmoid_lstm"];

#[test]
fn bf16_flips_no_decision() {
    for isa in Isa::available() {
        let mut beyond = Vec::new();
        for case in cases() {
            let options = CpuOptions { isa: Some(isa.name().to_owned()), threads: 2, bf16: true, ..CpuOptions::default() };
            let backend = CpuBackend::new(&case.model.network, &case.model.weights, options).unwrap();
            let (logits, _) = run(&backend, &case);
            let p: Vec<f64> = logits.iter().map(|z| sigmoid(*z)).collect();
            let slices: Vec<&[f64]> = p.chunks_exact(case.model.config.classes.len()).collect();
            for (class, decision) in case.model.config.classes.iter().zip(decide(&case.model.config, &slices)) {
                assert_eq!(decision.positive, case.positive[class], "{} {} {class}", isa.name(), case.name);
            }
            let off = p.iter().zip(&case.probabilities).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
            eprintln!("{} {}: |Δp| {off:.2e}", isa.name(), case.name);
            if off > REDUCED {
                beyond.push(case.name.clone());
            }
        }
        assert_eq!(beyond, MISSES, "{}: |Δp| beyond {REDUCED}", isa.name());
    }
}
