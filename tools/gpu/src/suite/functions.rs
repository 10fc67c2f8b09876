//! The cases of `kernels/cuda/common/math.cuh`, through `functions.cu`.

use super::support::{Bounded, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::Element;
use radnet_kernels::cuda::functions::{Function, functions};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// Bits from one argument to the next: every exponent, many mantissas.
const STEP: usize = 100_003;

pub(super) fn cases() -> Vec<Case> {
    let stated = [("exp", Function::Exp, 1.5), ("sigmoid", Function::Sigmoid, 3.0), ("tanh", Function::Tanh, 3.0)];
    let dense = stated.into_iter().map(|(name, function, ulp)| {
        Case::new("functions", format!("{name} over all exponents within {ulp} ulp"), move |gpu| within(gpu, function, ulp))
    });
    let ends = stated.into_iter().map(|(name, function, _)| {
        Case::new("functions", format!("{name} saturates, and keeps a NaN"), move |gpu| saturates(gpu, function))
    });
    dense.chain(ends).collect()
}

fn run(gpu: &Gpu, function: Function, x: &[f64]) -> Result<Vec<f32>, String> {
    let mut bench = Workbench::new(gpu)?;
    let arguments = bench.upload(Element::F32, x)?;
    let values = bench.output(4 * x.len())?;
    functions(bench.stream(), function, arguments.all(), values.all(), x.len()).map_err(|e| e.message)?;
    bench.download(Element::F32, &values)
}

fn exact(function: Function, x: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
    }
}

/// One unit in the last place of float32 at a value.
fn unit(value: f64) -> f64 {
    let float = (value.abs() as f32).max(f32::MIN_POSITIVE);
    f64::from(float.next_up()) - f64::from(float)
}

fn within(gpu: &Gpu, function: Function, ulp: f64) -> Result<Checked, String> {
    let limit: f32 = match function {
        Function::Exp => 87.0,
        Function::Sigmoid => 80.0,
        Function::Tanh => 1e4,
    };
    let magnitudes = (0..limit.to_bits()).step_by(STEP).chain([limit.to_bits()]).map(f32::from_bits);
    let x: Vec<f64> = magnitudes.flat_map(|m| [f64::from(m), -f64::from(m)]).collect();
    let expected: Vec<Bounded> = x
        .iter()
        .map(|&x| {
            let value = exact(function, x);
            Bounded { value, error: ulp * unit(value) }
        })
        .collect();
    compare("function", &run(gpu, function, &x)?, &expected, |at| format!("x = {:e}", x[at]))
}

fn saturates(gpu: &Gpu, function: Function) -> Result<Checked, String> {
    let x = [f64::from(f32::MAX), 1e4, 100.0, -100.0, -1e4, f64::from(f32::MIN), f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let got = run(gpu, function, &x)?;
    for (&x, &y) in x.iter().zip(&got) {
        let wanted = match function {
            _ if x.is_nan() => y.is_nan(),
            Function::Exp if x > 0.0 => y > 1e38 && y.is_finite(),
            Function::Tanh => f64::from(y) == x.signum(),
            Function::Sigmoid if x > 0.0 => y == 1.0,
            _ => (0.0..2e-38).contains(&y),
        };
        if !wanted {
            return Err(format!("{function:?} of {x:e} is {y:e}"));
        }
    }
    Ok(Checked::exact(got.len()))
}
