//! The 8-bit network on the golden set, as it is defined: how far it is from PyTorch's float64.

use crate::backends::run;
use crate::fixture::{Case, cases};
use radnet::backend::reference::Reference;
use radnet::decision::sigmoid;
use radnet::model::Quantisation;

/// |Δp| of 8 bits with ranges from the norms alone.
const INT8: f64 = 5e-2;
/// Untrained models that go beyond it; `radnet quantize --scans` is there for models whose norms say little of their ranges.
const MISSES: [&str; 3] = ["hard_gammas", "odd_channels", "one_block"];

fn largest(logits: &[f64], case: &Case) -> f64 {
    logits.iter().zip(&case.probabilities).map(|(z, p)| (sigmoid(*z) - p).abs()).fold(0.0, f64::max)
}

#[test]
fn eight_bits_are_close_to_pytorch() {
    let mut beyond = Vec::new();
    for case in cases() {
        let ranges = Quantisation::from_norms(&case.model.network, &case.model.weights);
        let off = [false, true].map(|directly| largest(&run(&Reference::quantised(case.model.clone(), &ranges, directly), &case).0, &case));
        eprintln!("int8 {}: |Δp| {:.2e}, directly {:.2e}", case.name, off[0], off[1]);
        if off.iter().any(|off| *off > INT8) {
            beyond.push(case.name.clone());
        }
    }
    assert_eq!(beyond, MISSES, "|Δp| beyond {INT8}");
}
