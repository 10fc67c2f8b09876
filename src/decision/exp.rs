//! e^x in float64 from operations that IEEE 754 defines to the bit. The C library's `exp` may differ between processors.

/// ln 2 in two parts; the first has 32 trailing zero bits, so that its product with a whole number of the exponent's range is exact.
const LN2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);

/// Beyond this the result is zero, below the smallest subnormal.
const UNDERFLOW: f64 = -745.2;
/// Beyond this the result is infinite.
const OVERFLOW: f64 = 709.8;

/// x = k·ln 2 + r with |r| ≤ ln 2 / 2, then e^r by its Taylor series to r¹³, whose remainder is below 5e-18, then 2^k.
pub(super) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < UNDERFLOW {
        return 0.0;
    }
    if x > OVERFLOW {
        return f64::INFINITY;
    }
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let tail = (2..=13).rev().fold(0.0, |sum, n| sum * r + INVERSE_FACTORIAL[n]);
    let e = 1.0 + (r + r * r * tail);
    // In two steps, as 2^k alone may be subnormal or infinite where the result is neither.
    let k = k as i64;
    e * power_of_two(k / 2) * power_of_two(k - k / 2)
}

/// 2^k for |k| ≤ 1022.
fn power_of_two(k: i64) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

/// 1 / n!
const INVERSE_FACTORIAL: [f64; 14] = {
    let mut table = [1.0; 14];
    let mut factorial = 1.0;
    let mut n = 1;
    while n < 14 {
        factorial *= n as f64;
        table[n] = 1.0 / factorial;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The C library's error and ours.
    const ULPS: i64 = 2;

    #[test]
    fn it_agrees_with_the_library_to_two_units_in_the_last_place() {
        let mut x = -708.0;
        while x < 709.0 {
            let (ours, library) = (exp(x), f64::exp(x));
            let ulps = (ours.to_bits() as i64 - library.to_bits() as i64).abs();
            assert!(ulps <= ULPS, "exp({x}) = {ours:e}, the library says {library:e}");
            x += 0.0137;
        }
    }

    #[test]
    fn it_leaves_the_range_gracefully() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp(-746.0), 0.0);
        assert_eq!(exp(-745.0), f64::from_bits(1));
        assert_eq!(exp(709.79), f64::INFINITY);
        assert!(exp(709.78).is_finite());
    }
}
