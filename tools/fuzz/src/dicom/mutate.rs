//! Mutations of a DICOM file, from its meaning to single bits.

use super::bomb;
use super::layout::{File, Span};
use crate::rng::Rng;

/// Any VR, and none.
const VRS: &[&[u8; 2]] =
    &[b"US", b"SS", b"UL", b"DS", b"IS", b"CS", b"UN", b"SQ", b"OB", b"OW", b"UT", b"FD", b"FL", b"LO", b"??", b"\0\0"];
/// Text where a decimal number belongs.
const DECIMALS: &[&str] =
    &["", "nan", "inf", "1,5", "-1,024", "1e999", "1\\2", "0", "-0", "1e308", "0.3", "1e-320", "-1024.5", "soft", "\0\0"];
/// Transfer syntaxes, read and unread.
const SYNTAXES: &[&str] =
    &["", ".1", ".2", ".1.99", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.90", ".4.91", ".4.110", ".4.201", ".4.999"];
/// The image pixel module and what else decides about pixels: group 0028.
const PIXEL_MODULE: [u8; 2] = [0x28, 0x00];

/// One change of meaning.
pub(super) fn mutate_file(file: &mut File, rng: &mut Rng) {
    let element = rng.pick(&file.elements).clone();
    match rng.below(16) {
        0 | 1 => length(file, element, rng),
        2 => vr(file, element, rng),
        3 | 4 => pixel_module(file, rng),
        5 => decimal(file, rng),
        6 => swap_tags(file, &element, rng),
        7 => remove_or_repeat(file, element, rng),
        8 | 9 => bomb::plant(file, rng),
        10 => syntax(file, rng),
        11 => grow(file, rng),
        12 => file.body.truncate(rng.below(file.body.len() + 1)),
        _ => pixel_data(file, rng),
    }
}

fn length(file: &mut File, span: Span, rng: &mut Rng) {
    let old = span.value.len() as u32;
    let odd = rng.number() as u32;
    let new = *rng.pick(&[0, 1, 2, old + 1, old.wrapping_sub(1), old + 2, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFE, 0xF000_0000, 0x8000_0000, odd]);
    file.set_length(span.length, new);
}

fn vr(file: &mut File, span: Span, rng: &mut Rng) {
    if let Some(place) = span.vr.and_then(|r| file.body.get_mut(r)) {
        place.copy_from_slice(*rng.pick(VRS));
    }
}

fn of_group_0028(file: &File, span: &Span) -> bool {
    let group = file.body.get(span.start..span.start + 2);
    let own = if file.big_endian { [PIXEL_MODULE[1], PIXEL_MODULE[0]] } else { PIXEL_MODULE };
    group == Some(&own[..])
}

/// A 16-bit number of the image pixel module.
fn pixel_module(file: &mut File, rng: &mut Rng) {
    let spans: Vec<Span> = file.elements.iter().filter(|s| s.value.len() == 2 && of_group_0028(file, s)).cloned().collect();
    if spans.is_empty() {
        return;
    }
    let span = rng.pick(&spans);
    let odd = rng.number() as u16;
    let value = *rng.pick(&[0u16, 1, 2, 7, 8, 11, 12, 15, 16, 31, 32, 33, 64, 256, 4096, 4097, 65535, odd]);
    if let Some(place) = file.body.get_mut(span.value.clone()) {
        place.copy_from_slice(&if file.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }
}

/// Text over a value of the pixel module that is text: rescale, spacing.
fn decimal(file: &mut File, rng: &mut Rng) {
    let spans: Vec<Span> =
        file.elements.iter().filter(|s| s.vr.as_ref().is_some_and(|r| file.body.get(r.clone()) == Some(b"DS"))).cloned().collect();
    if spans.is_empty() {
        return;
    }
    let span = rng.pick(&spans);
    let text = rng.pick(DECIMALS).as_bytes();
    if let Some(place) = file.body.get_mut(span.value.clone()) {
        place.fill(b' ');
        place.iter_mut().zip(text).for_each(|(p, t)| *p = *t);
    }
}

fn swap_tags(file: &mut File, one: &Span, rng: &mut Rng) {
    let other = rng.pick(&file.elements).start;
    if one.start.max(other) + 4 <= file.body.len() {
        for i in 0..4 {
            file.body.swap(one.start + i, other + i);
        }
    }
}

fn remove_or_repeat(file: &mut File, span: Span, rng: &mut Rng) {
    let all = span.start..span.value.end;
    let Some(bytes) = file.body.get(all.clone()).map(<[u8]>::to_vec) else { return };
    if rng.chance(50) {
        file.body.drain(all);
    } else {
        file.body.splice(span.start..span.start, bytes);
    }
}

/// Another transfer syntax over the same data set; the old UID keeps its length.
fn syntax(file: &mut File, rng: &mut Rng) {
    let Some(at) = file.meta.windows(6).position(|w| w == [2, 0, 0x10, 0, b'U', b'I']) else { return };
    let uid = format!("1.2.840.10008.1.2{}", rng.pick(SYNTAXES));
    let end = file.meta.len().min(at + 8 + usize::from(file.meta[at + 6]));
    let place = &mut file.meta[at + 8..end];
    place.fill(0);
    place.iter_mut().zip(uid.bytes()).for_each(|(p, b)| *p = b);
}

/// Large sides that header and codestream agree on, with next to no data behind them.
fn grow(file: &mut File, rng: &mut Rng) {
    let sizes: [u16; 4] = if rng.chance(3) { [4096, 4096, 2048, 4095] } else { [1, 128, 300, 512] };
    let (rows, cols) = (*rng.pick(&sizes), *rng.pick(&sizes));
    for (element, value) in [(0x10u8, rows), (0x11, cols)] {
        let tag = if file.big_endian { [0, 0x28, 0, element] } else { [0x28, 0, element, 0] };
        let span = file.elements.iter().find(|s| file.body.get(s.start..s.start + 4) == Some(&tag[..])).cloned();
        if let Some(place) = span.and_then(|s| file.body.get_mut(s.value)).filter(|p| p.len() == 2) {
            place.copy_from_slice(&if file.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
        }
    }
    if let Some(at) = file.body.windows(4).position(|w| w == [0xFF, 0x4F, 0xFF, 0x51]) {
        for (offset, value) in [(8, cols), (12, rows), (24, cols), (28, rows)] {
            if let Some(place) = file.body.get_mut(at + offset..at + offset + 4) {
                place.copy_from_slice(&u32::from(value).to_be_bytes());
            }
        }
    }
    let frame = file.body.windows(2).position(|w| matches!(w, [0xFF, 0xC0 | 0xC1 | 0xC3]));
    if let Some(place) = frame.and_then(|at| file.body.get_mut(at + 5..at + 9)) {
        place.copy_from_slice(&[rows.to_be_bytes(), cols.to_be_bytes()].concat());
    }
}

/// Damage to pixel data: fragment heads, codestream headers, payload.
fn pixel_data(file: &mut File, rng: &mut Rng) {
    let Some(value) = file.elements.last().map(|s| s.value.clone()) else { return };
    let end = value.end.min(file.body.len());
    if value.start >= end {
        return;
    }
    match rng.below(4) {
        0 => {
            let heads: Vec<usize> = (value.start..end.saturating_sub(7)).filter(|i| file.body[*i..].starts_with(&[0xFE, 0xFF])).collect();
            if !heads.is_empty() {
                let at = rng.pick(&heads) + 4;
                let odd = rng.number() as u32;
                let length = *rng.pick(&[0, 1, u32::MAX, 0xF000_0000, odd]);
                file.body[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
        1 => flip(file, value.start..end.min(value.start + 200), 4, rng),
        2 => flip(file, value.start..end, 16, rng),
        _ => {
            let at = value.start + rng.below(end - value.start);
            let count = rng.below(64).min(end - at);
            file.body[at..at + count].fill(*rng.pick(&[0, 0xFF, 0x80, 0x7F, 0x90]));
        }
    }
}

fn flip(file: &mut File, range: std::ops::Range<usize>, most: usize, rng: &mut Rng) {
    for _ in 0..=rng.below(most) {
        let at = range.start + rng.below(range.len());
        if let Some(byte) = file.body.get_mut(at) {
            *byte = if rng.chance(50) { *byte ^ (1 << rng.below(8)) } else { rng.bits() as u8 };
        }
    }
}

/// One change to the bytes of the whole file.
pub(super) fn mutate_bytes(bytes: &mut Vec<u8>, rng: &mut Rng) {
    match rng.below(5) {
        0 => bytes.truncate(rng.below(bytes.len() + 1)),
        1 => bytes.drain(..rng.below(bytes.len().min(400))).for_each(drop),
        2 => bytes.extend((0..rng.below(64)).map(|_| 0)),
        _ => {
            for _ in 0..=rng.below(16) {
                let at = rng.below(bytes.len());
                bytes.get_mut(at).into_iter().for_each(|b| *b ^= 1 << rng.below(8));
            }
        }
    }
}
