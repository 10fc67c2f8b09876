//! The oracle's numbers: a value in f64 and how far a device may be from it.
//!
//! A sum of K products in float32 is off by at most γ_K·Σ|a||b| with γ_K = K·u/(1 − K·u); storing a result rounds it once more. [`Bounded`]
//! carries this through a chain of operations, so that each case computes its bound instead of guessing it. Rounding in f64 itself is 2²⁹
//! times finer than in float32 and is left out.

use radnet_kernels::cuda::Element;

/// How a device adds products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulation {
    /// Float32, each sum rounded to nearest: half a unit in the last place.
    Fma,
    /// Tensor cores: products exact, sums cut off rather than rounded: a whole unit in the last place.
    Tensor,
}

impl Accumulation {
    /// What kernels use for operands stored as `element`.
    pub fn of(element: Element) -> Self {
        match element {
            Element::F16 | Element::Bf16 => Self::Tensor,
            Element::F32 => Self::Fma,
        }
    }

    /// γ_K: the largest relative error of a sum of `terms` products, in any order.
    pub fn gamma(self, terms: usize) -> f64 {
        let unit = match self {
            Self::Fma => 2f64.powi(-24),
            Self::Tensor => 2f64.powi(-23),
        };
        let total = terms as f64 * unit;
        total / (1.0 - total)
    }
}

/// The largest relative error of rounding to `element`, and the absolute one below its normal numbers.
fn rounding(element: Element) -> (f64, f64) {
    match element {
        Element::F16 => (2f64.powi(-11), 2f64.powi(-25)),
        Element::Bf16 => (2f64.powi(-8), 2f64.powi(-134)),
        Element::F32 => (2f64.powi(-24), 2f64.powi(-150)),
    }
}

/// A value and how far a device's value may be from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// The oracle's value.
    pub value: f64,
    /// The largest difference that rounding explains.
    pub error: f64,
}

impl Bounded {
    /// Zero, exactly.
    pub const ZERO: Self = Self { value: 0.0, error: 0.0 };

    /// A value that the device holds exactly.
    pub fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    /// Σ a·w + `start`, added up in float32: `start` is a bias or 0, the weights are what the device reads.
    pub fn dot(accumulation: Accumulation, start: f64, terms: impl IntoIterator<Item = (Self, f64)>) -> Self {
        let (mut value, mut carried, mut magnitude, mut count) = (start, 0.0, start.abs(), usize::from(start != 0.0));
        for (a, weight) in terms {
            value += a.value * weight;
            carried += a.error * weight.abs();
            magnitude += (a.value.abs() + a.error) * weight.abs();
            count += 1;
        }
        Self { value, error: carried + accumulation.gamma(count) * magnitude }
    }

    /// scale·x + shift as one float32 FMA.
    #[must_use]
    pub fn affine(self, scale: f64, shift: f64) -> Self {
        self.affine_exactly(scale, shift).rounded(Element::F32)
    }

    /// scale·x + shift before any rounding: follow it with [`Bounded::rounded`] for an FMA in `element`.
    #[must_use]
    pub fn affine_exactly(self, scale: f64, shift: f64) -> Self {
        Self { value: scale.mul_add(self.value, shift), error: scale.abs() * self.error }
    }

    /// max(x, 0), which enlarges no error.
    #[must_use]
    pub fn relu(self) -> Self {
        Self { value: self.value.max(0.0), error: self.error }
    }

    /// The larger of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { value: self.value.max(other.value), error: self.error.max(other.error) }
    }

    /// A sum, rounded to float32.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, error: self.error + other.error }.rounded(Element::F32)
    }

    /// A product, rounded to float32.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let error = self.value.abs() * other.error + other.value.abs() * self.error + self.error * other.error;
        Self { value: self.value * other.value, error }.rounded(Element::F32)
    }

    /// A function with slope at most `slope` around here, itself off by at most `own` from the true one.
    #[must_use]
    pub fn through(self, function: impl Fn(f64) -> f64, slope: f64, own: f64) -> Self {
        Self { value: function(self.value), error: slope * self.error + own }
    }

    /// Stored as `element`. What is known exactly is rounded exactly.
    #[must_use]
    pub fn rounded(self, element: Element) -> Self {
        if self.error == 0.0 {
            return Self::exact(element.round(self.value));
        }
        let (relative, absolute) = rounding(element);
        Self { value: self.value, error: self.error + relative * (self.value.abs() + self.error) + absolute }
    }

    /// How far `got` is, in units of what is allowed; NaN is as far as can be unless it is expected.
    fn excess(self, got: f64) -> f64 {
        if self.value.is_nan() || got.is_nan() {
            return if self.value.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
        }
        match (got - self.value).abs() {
            0.0 => 0.0,
            _ if got == self.value => 0.0,
            difference if self.error > 0.0 => difference / self.error,
            _ => f64::INFINITY,
        }
    }
}

/// What a case compared: the value that used most of its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checked {
    /// Values compared.
    pub values: usize,
    /// That value's difference from the oracle.
    pub largest_error: f64,
    /// That value's bound; 0 where all must be equal.
    pub bound: f64,
}

impl Checked {
    /// `values` that were found equal.
    pub fn exact(values: usize) -> Self {
        Self { values, largest_error: 0.0, bound: 0.0 }
    }

    /// Two comparisons as one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let worse = if other.used() > self.used() { other } else { self };
        Self { values: self.values + other.values, ..worse }
    }

    /// The part of its bound that the worst value used.
    pub fn used(&self) -> f64 {
        if self.largest_error == 0.0 { 0.0 } else { self.largest_error / self.bound }
    }
}

/// Compares what a device wrote with the oracle; `place` names a value by its index, as "slice 0, row 3, column 2, channel 17".
///
/// # Errors
/// The value that is furthest outside its bound, and how many are outside.
pub fn compare(what: &str, got: &[f32], expected: &[Bounded], place: impl Fn(usize) -> String) -> Result<Checked, String> {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} values instead of {}", got.len(), expected.len()));
    }
    let mut worst = (0.0, 0);
    let mut wrong = 0;
    for (at, (&got, expected)) in got.iter().zip(expected).enumerate() {
        let excess = expected.excess(f64::from(got));
        wrong += usize::from(excess > 1.0);
        if excess > worst.0 {
            worst = (excess, at);
        }
    }
    let at = worst.1;
    if wrong > 0 {
        return Err(format!(
            "{what}: {wrong} of {} values are wrong; at {}: {} instead of {} ± {:.3e}",
            got.len(),
            place(at),
            got[at],
            expected[at].value,
            expected[at].error
        ));
    }
    let (largest_error, bound) = match expected.get(at) {
        Some(expected) if worst.0 > 0.0 => ((f64::from(got[at]) - expected.value).abs(), expected.error),
        _ => (0.0, 0.0),
    };
    Ok(Checked { values: got.len(), largest_error, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A float32 dot product stays within the bound that was computed for it, and a wrong one does not.
    #[test]
    fn a_float32_dot_is_within_its_bound() {
        let mut random = super::super::Random::new(7);
        for count in [1, 7, 64, 1000] {
            let a = random.values(Element::F32, count, -1.0, 1.0);
            let w = random.values(Element::F32, count, -1.0, 1.0);
            let expected = Bounded::dot(Accumulation::Fma, 0.0, a.iter().map(|&a| Bounded::exact(a)).zip(w.iter().copied()));
            let got = a.iter().zip(&w).fold(0f32, |sum, (&a, &w)| (a as f32).mul_add(w as f32, sum));
            let far = expected.value + 2.0 * expected.error;
            assert!(compare("dot", &[got], &[expected], |_| String::new()).is_ok());
            assert!(compare("dot", &[far as f32], &[expected], |_| String::new()).is_err());
        }
    }

    /// What was never written (NaN), an infinity, and a missing value are wrong however wide the bound.
    #[test]
    fn a_nan_or_a_missing_value_is_wrong() {
        let wide = Bounded { value: 0.0, error: 1e30 };
        assert!(compare("x", &[f32::NAN], &[wide], |_| String::new()).is_err());
        assert!(compare("x", &[f32::INFINITY], &[wide], |_| String::new()).is_err());
        assert!(compare("x", &[], &[wide], |_| String::new()).is_err());
        assert!(compare("x", &[f32::NAN], &[Bounded::exact(f64::NAN)], |_| String::new()).is_ok());
    }

    /// Rounding what is exact yields the stored number itself; rounding what is not widens the bound by half a unit of the type.
    #[test]
    fn rounding_follows_the_type() {
        let third = Bounded::exact(1.0 / 3.0).rounded(Element::F16);
        assert_eq!(third, Bounded::exact(Element::F16.round(1.0 / 3.0)));
        let inexact = Bounded { value: 1.0, error: 1e-9 }.rounded(Element::F16);
        assert!(inexact.error >= 2f64.powi(-11) && inexact.error < 1.01 * 2f64.powi(-11));
    }
}
