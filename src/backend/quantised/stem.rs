//! The stem in integers of 16 bits.
//!
//! An input x is the number `round(x · unit)`, half to even. There are two such stems: one whose numbers reach as far as the model's own windows, and,
//! if that is less than 8, one for what hosts hand in, up to 8. A slice has the first that reaches all its values, and one with a value beyond both, or
//! with one that is not finite, has the fp32 stem, on floats. The unit is 2¹², or the largest power of two below that with which numbers have 16 bits.
//! Outside the slice numbers are 0.
//! An output is `max(0, fma(sum, scale, shift))` in f32, with the exact sum of products rounded to f32. Its weights, with the norm folded in, are
//! rounded to a scale of their own, as fine as 16 bits, and 32 for the sum of any slice, allow: what rounding does to them is the same everywhere on a
//! map and does not average out, so they get the bits that the inputs do not need. The 3×3 pool takes the largest of these outputs, and that becomes a
//! code by the channel's [`Encoder`](super::Encoder).

use super::finite;
use crate::weights::Norm;

/// Largest magnitude of a number and of a weight.
const LARGEST: f64 = i16::MAX as f64;
/// Largest unit.
const FINEST: f64 = 4096.0;

/// What hosts hand in whose inputs are normalised in another way than the model's.
const HOSTS: f32 = 8.0;

/// How far the stems of a model reach whose windows give values up to `input`.
pub(in crate::backend) fn reaches(input: f32) -> impl Iterator<Item = f32> {
    std::iter::once(input).chain((input < HOSTS).then_some(HOSTS))
}

/// What an input's number is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::backend) struct Numbers {
    /// What 1 is as a number, a power of two.
    pub(in crate::backend) unit: f32,
    /// Largest magnitude.
    pub(in crate::backend) largest: i16,
}

impl Numbers {
    /// For values up to `input`.
    pub(in crate::backend) fn new(input: f32) -> Self {
        let mut unit = FINEST;
        while f64::from(input) * unit >= LARGEST {
            unit /= 2.0;
        }
        // More than the input's own number, so that a value that a host rounded in another way has one.
        Self { unit: unit as f32, largest: (f64::from(input) * unit) as i16 + 1 }
    }

    /// The number of an input, where it has one.
    pub(in crate::backend) fn of(self, x: f32) -> Option<i16> {
        let number = x * self.unit;
        (number.abs() <= self.largest.into()).then(|| number.round_ties_even() as i16)
    }
}

/// A stem.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::backend) struct StemCodes {
    /// Of its inputs.
    pub(in crate::backend) numbers: Numbers,
    /// [out, in, 7, 7].
    pub(in crate::backend) weights: Vec<i16>,
    /// Per output, not negative.
    pub(in crate::backend) scale: Vec<f32>,
    /// Per output.
    pub(in crate::backend) shift: Vec<f32>,
}

impl StemCodes {
    /// Of a convolution and its norm, for values up to `input`.
    pub(in crate::backend) fn new(conv: &[f32], norm: &Norm, eps: f64, input: f32) -> Self {
        let (gains, shifts) = norm.scale_shift(eps);
        let numbers = Numbers::new(input);
        let mut stem = Self { numbers, weights: Vec::with_capacity(conv.len()), scale: Vec::new(), shift: Vec::new() };
        let outputs = conv.chunks_exact(conv.len() / gains.len());
        for (row, (gain, shift)) in outputs.zip(gains.iter().zip(shifts)) {
            let row: Vec<f64> = row.iter().map(|w| f64::from(*w) * gain).collect();
            let (sum, largest) = row.iter().fold((0.0, 0.0f64), |(sum, largest), w| (sum + w.abs(), largest.max(w.abs())));
            // Rounding adds at most half a unit to each weight.
            let most = (i32::MAX / i32::from(numbers.largest)) as f64 - 0.5 * row.len() as f64;
            let scale = (sum / most).max(largest / LARGEST);
            let rounded = |w: &f64| if scale > 0.0 { (w / scale).round_ties_even().clamp(-LARGEST, LARGEST) as i16 } else { 0 };
            stem.weights.extend(row.iter().map(rounded));
            stem.scale.push(finite(scale / f64::from(numbers.unit)));
            stem.shift.push(finite(shift));
        }
        stem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(outputs: usize) -> Norm {
        let of = |f: &dyn Fn(f32) -> f32| (0..outputs).map(|o| f(o as f32)).collect();
        Norm { weight: of(&|o| 1.0 - o), bias: of(&|o| o - 1.5), running_mean: of(&|o| 0.1 * o), running_var: of(&|o| 0.2 + o) }
    }

    /// Sums fit 32 bits at the largest numbers, weights are as fine as that or 16 bits allow, and what they stand for is the convolution with its norm.
    #[test]
    fn weights_are_as_fine_as_their_sums_allow() {
        for (inputs, range) in [(1usize, 1.0), (3, 1.0), (3, 2.64), (16, 7.9)] {
            let k = 49 * inputs;
            let conv: Vec<f32> =
                (0..4 * k).map(|i| ((i * 37 % 101) as f32 - 50.0) * if i / k == 2 && i % k > 0 { 1e-6 } else { 0.01 }).collect();
            let (norm, eps) = (norm(4), 1e-5);
            let stem = StemCodes::new(&conv, &norm, eps, range);
            let most = i64::from(i32::MAX) / i64::from(stem.numbers.largest);
            let (gains, shifts) = norm.scale_shift(eps);
            for o in 0..4 {
                let row = &stem.weights[o * k..][..k];
                let (sum, largest) = row.iter().fold((0, 0), |(s, l), w| (s + i64::from(w.unsigned_abs()), l.max(w.unsigned_abs())));
                assert!(sum <= most);
                // Output 1 is off, and one weight of output 2 is all of it.
                match o {
                    1 => assert_eq!((sum, stem.scale[o]), (0, 0.0)),
                    2 => assert_eq!(largest, 32_767),
                    _ => assert!(largest == 32_767 || sum > most - k as i64),
                }
                let scale = f64::from(stem.scale[o]) * f64::from(stem.numbers.unit);
                for (rounded, w) in row.iter().zip(&conv[o * k..]) {
                    let exact = f64::from(*w) * gains[o];
                    assert!((f64::from(*rounded) * scale - exact).abs() <= 0.5 * scale + 1e-7 * exact.abs(), "{o}");
                }
                assert_eq!(stem.shift[o], shifts[o] as f32);
            }
        }
    }

    #[test]
    fn inputs_are_numbers_up_to_the_bound() {
        assert_eq!([1.0, 8.0, 20.0].map(|input| reaches(input).collect::<Vec<_>>()), [vec![1.0, 8.0], vec![8.0], vec![20.0]]);
        let cases = [
            (0.0, 4096.0, 1),
            (1.0, 4096.0, 4097),
            (2.64, 4096.0, 10_814),
            (7.9997, 4096.0, 32_767),
            (8.0, 2048.0, 16_385),
            (2e18, 2f32.powi(-46), 28_422),
        ];
        for (input, unit, largest) in cases {
            let numbers = Numbers::new(input);
            assert_eq!(numbers, Numbers { unit, largest }, "{input}");
            assert!([input, -input, input.next_up()].iter().all(|x| numbers.of(*x).is_some()), "{input}");
            let bound = f32::from(largest) / unit;
            assert_eq!((numbers.of(bound), numbers.of(-bound)), (Some(largest), Some(-largest)));
            assert!([bound.next_up(), -bound.next_up(), f32::NAN, f32::INFINITY].iter().all(|x| numbers.of(*x).is_none()));
            if largest > 2 {
                assert_eq!([0.5, 1.5, -2.5].map(|n| numbers.of(n / unit)), [Some(0), Some(2), Some(-2)]);
            }
        }
    }

    /// Weights that no number of 16 bits can follow make no NaN.
    #[test]
    fn absurd_weights_give_finite_factors() {
        let mut norm = norm(2);
        norm.weight = vec![f32::MAX, 0.0];
        norm.running_var = vec![0.0, 1.0];
        let stem = StemCodes::new(&[f32::MAX; 2 * 49], &norm, 1e-300, 1.0);
        assert!(stem.scale.iter().chain(&stem.shift).all(|x| x.is_finite()));
    }
}
