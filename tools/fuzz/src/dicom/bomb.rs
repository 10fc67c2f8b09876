//! Constructs that have ended or swamped DICOM readers.

use super::layout::File;
use crate::rng::Rng;

/// Puts one bomb into the file.
pub(super) fn plant(file: &mut File, rng: &mut Rng) {
    let index = rng.below(file.elements.len());
    let bytes = match rng.below(6) {
        0 => nest(file, rng.below(20_000), true),
        1 => nest(file, rng.below(100), false),
        2 => {
            let vr = *rng.pick(&[*b"UT", *b"UN", *b"OB", *b"OW", *b"SQ"]);
            let length = *rng.pick(&[0xF000_0000, 0x7FFF_FFFF, 0xFFFF_FFFE, 0x1000_0000]);
            file.element((0x0009, 0x1001), &vr, length, b"")
        }
        3 => icon(file, rng),
        4 => file.element((0x0009, 0x1002), b"LO", 0, b"").repeat(rng.below(30_000)),
        _ => {
            // A body that inflates to far more than the file holds, or that is simply long.
            let most = if rng.chance(4) { 17 } else { 11 };
            let size = 1 << (10 + rng.below(most));
            file.element((0x0009, 0x1003), b"OB", size, &vec![0; size as usize])
        }
    };
    file.insert(index, &bytes);
}

/// Sequences in items in sequences, of undefined length, closed or not.
fn nest(file: &File, depth: usize, undefined: bool) -> Vec<u8> {
    let item = |element: u16, length: u32| {
        let group: [u8; 2] = if file.big_endian { [0xFF, 0xFE] } else { [0xFE, 0xFF] };
        let element = if file.big_endian { element.to_be_bytes() } else { element.to_le_bytes() };
        let length = if file.big_endian { length.to_be_bytes() } else { length.to_le_bytes() };
        [&group[..], &element, &length].concat()
    };
    let mut inner = Vec::new();
    if undefined {
        let open = [file.element((0x0009, 0x1000), b"SQ", u32::MAX, b""), item(0xE000, u32::MAX)].concat();
        let close = [item(0xE00D, 0), item(0xE0DD, 0)].concat();
        inner = open.repeat(depth);
        inner.extend(close.repeat(depth));
        return inner;
    }
    for _ in 0..depth {
        let item = [item(0xE000, inner.len() as u32), inner].concat();
        inner = file.element((0x0009, 0x1000), b"SQ", item.len() as u32, &item);
    }
    inner
}

/// An icon image sequence with pixel data of its own, native or encapsulated, in a sequence of undefined length.
fn icon(file: &File, rng: &mut Rng) -> Vec<u8> {
    let mut item = vec![0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
    if rng.chance(50) {
        item.extend(file.element((0x7FE0, 0x0010), b"OW", 4, &[1; 4]));
    } else {
        item.extend(file.element((0x7FE0, 0x0010), b"OB", u32::MAX, b""));
        item.extend([0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0, 2, 0, 0, 0, 7, 7, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }
    item.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    file.element((0x0088, 0x0200), b"SQ", u32::MAX, &item)
}
