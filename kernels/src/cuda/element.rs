//! The number types that activations and weights are stored in on a device. Sums are float32 in all of them.

use half::{bf16, f16};

/// How activations and weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE single, multiplied by plain FMA: for checking.
    F32,
}

impl Element {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F16, Self::Bf16, Self::F32];

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The suffix of a kernel's entry points.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// One of the names of a kernel's entry points, in the order of [`Element::ALL`].
    pub(super) fn pick(self, names: [&'static str; 3]) -> &'static str {
        names[self as usize]
    }

    /// The nearest value that the type holds; infinite when there is none.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F16 => f16::from_f64(sticky(value)).to_f64(),
            Self::Bf16 => bf16::from_f64(sticky(value)).to_f64(),
            Self::F32 => f64::from(value as f32),
        }
    }

    /// Appends values as the device reads them.
    pub fn encode(self, values: impl IntoIterator<Item = f64>, to: &mut Vec<u8>) {
        for value in values {
            match self {
                Self::F16 => to.extend_from_slice(&f16::from_f64(sticky(value)).to_le_bytes()),
                Self::Bf16 => to.extend_from_slice(&bf16::from_f64(sticky(value)).to_le_bytes()),
                Self::F32 => to.extend_from_slice(&(value as f32).to_le_bytes()),
            }
        }
    }

    /// Values as the device wrote them.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Self::Bf16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        }
    }
}

/// A value that rounds to 16 bits as `value` does, with nothing in its lower 32 bits: `half` looks only at the upper ones, and would take a
/// value just above the middle of two for the middle.
fn sticky(value: f64) -> f64 {
    let bits = value.to_bits();
    f64::from_bits(if bits as u32 == 0 { bits } else { bits | 1 << 32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Just above the middle of two neighbours is rounded up, just below it down, and the middle to the even one.
    #[test]
    fn rounding_sees_every_bit() {
        for (element, unit) in [(Element::F16, 2f64.powi(-10)), (Element::Bf16, 2f64.powi(-7))] {
            let middle = 1.0 + unit / 2.0;
            assert_eq!(element.round(middle), 1.0);
            assert_eq!(element.round(middle.next_up()), 1.0 + unit);
            assert_eq!(element.round(middle.next_down()), 1.0);
            assert_eq!(element.round(-middle.next_up()), -1.0 - unit);
            let mut bytes = Vec::new();
            element.encode([middle.next_up(), f64::INFINITY, f64::NAN], &mut bytes);
            let values = element.decode(&bytes);
            assert!(f64::from(values[0]) == 1.0 + unit && values[1] == f32::INFINITY && values[2].is_nan());
        }
    }
}
