//! exp, σ and tanh in f32, the same bits on every tier.
//!
//! exp: x = n·ln 2 + r with |r| ≤ ln 2 / 2, ln 2 split in two, a polynomial of degree 6 for eʳ (Cephes `expf`), times 2ⁿ.
//! tanh: an odd polynomial below 0.625 (Cephes `tanhf`), else 1 − 2/(e²ˣ + 1). σ: 1/(1 + e⁻ˣ).
//! Measured against f64 over all inputs of the tests: exp within 1.5 ulp on [−87, 88], tanh within 3 ulp, σ within 3 ulp above −80.
//! Arguments beyond [−87.33, 88.37] (σ: below −87) are clamped: no result is infinite or NaN for a finite argument, and exp and σ are
//! never subnormal.

// Coefficients keep the digits they were derived with.
#![allow(clippy::excessive_precision)]

use super::Kernel;
use super::lanes::{F32Lanes, ROUND_BIAS};
use crate::isa::Isa;

/// eˣ.
#[inline(always)]
pub(crate) fn exp<V: F32Lanes>(x: V) -> V {
    let x = x.max(V::splat(-87.33)).min(V::splat(88.37));
    let biased = x.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND_BIAS));
    let n = biased.sub(V::splat(ROUND_BIAS));
    let r = n.mul_add(V::splat(-0.693_359_4), x);
    let r = n.mul_add(V::splat(2.121_944_4e-4), r);
    let mut p = V::splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1] {
        p = p.mul_add(r, V::splat(c));
    }
    let p = p.mul_add(r.mul(r), r).add(V::splat(1.0));
    p.mul(biased.pow2_of_biased())
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid<V: F32Lanes>(x: V) -> V {
    let e = exp(V::zero().sub(x.max(V::splat(-87.0))));
    V::splat(1.0).div(e.add(V::splat(1.0)))
}

/// tanh x.
#[inline(always)]
pub(crate) fn tanh<V: F32Lanes>(x: V) -> V {
    let square = x.mul(x);
    let mut p = V::splat(-5.704_988_7e-3);
    for c in [2.063_908_9e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328_2e-1] {
        p = p.mul_add(square, V::splat(c));
    }
    let small = p.mul(square).mul_add(x, x);
    let magnitude = x.max(V::zero().sub(x));
    let e = exp(magnitude.add(magnitude).min(V::splat(80.0)));
    let large = V::splat(1.0).sub(V::splat(2.0).div(e.add(V::splat(1.0))));
    let signed = V::select_lt(x, V::zero(), V::zero().sub(large), large);
    V::select_lt(magnitude, V::splat(0.625), small, signed)
}

/// Which function [`apply`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// eˣ.
    Exp,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// tanh x.
    Tanh,
}

/// Replaces every value by the function of it.
pub fn apply(isa: Isa, function: Function, values: &mut [f32]) {
    isa.run(Apply { function, values });
}

struct Apply<'a> {
    function: Function,
    values: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        for chunk in self.values.chunks_mut(V::LANES) {
            let mut whole = [0.0; 16];
            whole[..chunk.len()].copy_from_slice(chunk);
            // SAFETY: `whole` has 16 floats, at least one vector.
            unsafe {
                let x = V::load(whole.as_ptr());
                let y = match self.function {
                    Function::Exp => exp(x),
                    Function::Sigmoid => sigmoid(x),
                    Function::Tanh => tanh(x),
                };
                y.store(whole.as_mut_ptr());
            }
            chunk.copy_from_slice(&whole[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Floats of every exponent and many mantissas, both signs, below `limit` in magnitude.
    fn samples(limit: f32) -> Vec<f32> {
        (0..limit.to_bits()).step_by(997).chain([limit.to_bits()]).flat_map(|b| [f32::from_bits(b), -f32::from_bits(b)]).collect()
    }

    fn ulp(x: f64) -> f64 {
        let f = (x.abs() as f32).max(f32::MIN_POSITIVE);
        f64::from(f32::from_bits(f.to_bits() + 1)) - f64::from(f)
    }

    fn worst(isa: Isa, function: Function, inputs: &[f32], exact: impl Fn(f64) -> f64) -> f64 {
        let mut values = inputs.to_vec();
        apply(isa, function, &mut values);
        inputs
            .iter()
            .zip(&values)
            .map(|(x, y)| {
                let e = exact(f64::from(*x));
                (f64::from(*y) - e).abs() / ulp(e)
            })
            .fold(0.0, f64::max)
    }

    /// The stated errors hold over two million arguments on every tier.
    #[test]
    fn errors_are_as_stated() {
        for isa in Isa::available() {
            let e = worst(isa, Function::Exp, &samples(87.0), f64::exp);
            let t = worst(isa, Function::Tanh, &samples(1e4), f64::tanh);
            let s = worst(isa, Function::Sigmoid, &samples(80.0), |x| 1.0 / (1.0 + (-x).exp()));
            eprintln!("{}: exp {e:.3} ulp, tanh {t:.3} ulp, sigmoid {s:.3} ulp", isa.name());
            assert!(e <= 1.5 && t <= 3.0 && s <= 3.0, "{}: exp {e}, tanh {t}, sigmoid {s}", isa.name());
        }
    }

    /// All tiers give the same bits, also for arguments that are clamped and for lengths that end inside a vector.
    #[test]
    fn tiers_agree_bit_for_bit() {
        let mut inputs = samples(f32::MAX);
        inputs.truncate(inputs.len() / 16 * 16 + 5);
        for function in [Function::Exp, Function::Sigmoid, Function::Tanh] {
            let outputs: Vec<Vec<u32>> = Isa::available()
                .map(|isa| {
                    let mut values = inputs.clone();
                    apply(isa, function, &mut values);
                    assert!(values.iter().all(|y| y.is_finite() && !y.is_subnormal()) || function == Function::Tanh);
                    values.iter().map(|y| y.to_bits()).collect()
                })
                .collect();
            assert!(outputs.windows(2).all(|w| w[0] == w[1]), "{function:?}");
        }
    }
}
