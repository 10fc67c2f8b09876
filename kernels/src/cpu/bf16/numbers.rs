//! bf16 numbers, which are the upper halves of float32 numbers, and the one rule by which a float32 becomes one.
//!
//! It is what `vcvtneps2bf16` does: the nearest, ties to even, infinity beyond the largest; a NaN becomes a quiet one with its sign and upper
//! bits; a subnormal becomes a zero of its sign. All tiers narrow to these bits; only what multiplies pairs rounds in a way of its own.

/// The nearest bf16.
pub fn narrow(x: f32) -> u16 {
    let bits = x.to_bits();
    let upper = (bits >> 16) as u16;
    if x.is_nan() {
        return upper | 0x40;
    }
    if bits & 0x7F80_0000 == 0 {
        return upper & 0x8000;
    }
    ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

/// The same number as float32.
pub fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// The nearest finite bf16 of a weight.
pub fn finite(x: f64) -> u16 {
    let largest = f64::from(widen(0x7F7F));
    narrow(x.clamp(-largest, largest) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_ends_and_oddities() {
        let bits = |x: u32| narrow(f32::from_bits(x));
        // Half way goes to the even neighbour, above and below it to the nearer one.
        assert_eq!([bits(0x3F80_8000), bits(0x3F81_8000), bits(0x3F80_8001), bits(0x3F81_7FFF)], [0x3F80, 0x3F82, 0x3F81, 0x3F81]);
        assert_eq!([narrow(0.0), narrow(-0.0), narrow(f32::MIN_POSITIVE / 2.0), narrow(-1e-45)], [0, 0x8000, 0, 0x8000]);
        assert_eq!([narrow(f32::MIN_POSITIVE), bits(0x0080_8000)], [0x0080, 0x0080]);
        assert_eq!([narrow(f32::MAX), narrow(f32::NEG_INFINITY), bits(0x7F7F_7FFF)], [0x7F80, 0xFF80, 0x7F7F]);
        assert_eq!([bits(0x7F80_0001), bits(0xFFFF_FFFF), bits(0x7FC1_0000)], [0x7FC0, 0xFFFF, 0x7FC1]);
        assert_eq!([finite(1e300), finite(-1e300), finite(0.5)], [0x7F7F, 0xFF7F, 0x3F00]);
        assert!((0..=u16::MAX).filter(|b| widen(*b).is_normal()).all(|b| narrow(widen(b)) == b));
    }
}
