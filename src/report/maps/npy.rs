//! NumPy's array file, format 1.0, little-endian float32 in C order.

/// The bytes of an array of `shape`, whose values come in `parts`, one after the other.
///
/// The caller's parts must hold exactly as many values as the shape says.
pub fn encode<'a>(shape: &[usize], parts: impl IntoIterator<Item = &'a [f32]>) -> Vec<u8> {
    let mut bytes = header(shape);
    let count: usize = shape.iter().product();
    bytes.reserve(4 * count);
    let start = bytes.len();
    for part in parts {
        bytes.extend(part.iter().flat_map(|v| v.to_le_bytes()));
    }
    debug_assert_eq!(bytes.len() - start, 4 * count, "an array of shape {shape:?}");
    bytes
}

fn header(shape: &[usize]) -> Vec<u8> {
    let mut sides = shape.iter().map(|n| format!("{n}, ")).collect::<String>();
    if shape.len() > 1 {
        sides.truncate(sides.len() - 2);
    } else {
        sides.truncate(sides.len().saturating_sub(1));
    }
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    let unpadded = MAGIC.len() + 2 + text.len() + 1;
    let padding = unpadded.next_multiple_of(64) - unpadded;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(((text.len() + padding + 1) as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(std::iter::repeat_n(b' ', padding));
    bytes.push(b'\n');
    bytes
}

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

#[cfg(test)]
mod tests {
    use super::*;

    /// What `numpy.save` writes for the same arrays, byte for byte.
    #[test]
    fn equals_numpy() {
        let bytes = encode(&[2, 1, 3], [&[0.0, 1.0, 2.0][..], &[3.0, 4.0, 5.5][..]]);
        let mut expected = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        expected.extend([0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.5].iter().flat_map(|v| v.to_le_bytes()));
        assert_eq!(bytes, expected);
        assert!(header(&[7]).windows(4).any(|w| w == b"(7,)"));
        assert!(header(&[]).windows(2).any(|w| w == b"()"));
    }
}
