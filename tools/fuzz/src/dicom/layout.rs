//! A valid DICOM file taken apart into its top-level elements, so that mutations can aim.

use std::io::{Read, Write};
use std::ops::Range;

/// A file: everything up to the data set, and the data set, inflated.
#[derive(Clone)]
pub(super) struct File {
    pub(super) meta: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) big_endian: bool,
    pub(super) explicit_vr: bool,
    pub(super) deflated: bool,
    /// In the order of the body; no longer true once the body's length has changed.
    pub(super) elements: Vec<Span>,
}

/// Where the parts of an element lie in the body.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) vr: Option<Range<usize>>,
    pub(super) length: Range<usize>,
    pub(super) value: Range<usize>,
}

impl File {
    /// None unless the file has a meta group with a transfer syntax and a body that can be walked.
    pub(super) fn split(bytes: &[u8]) -> Option<Self> {
        let meta_end = meta_end(bytes)?;
        let syntax = b"1.2.840.10008.1.2";
        let at = bytes.get(..meta_end)?.windows(syntax.len() + 6).position(|w| w.starts_with(&[2, 0, 0x10, 0, b'U', b'I']))?;
        let uid = &bytes[at + 8..meta_end.min(at + 8 + usize::from(bytes[at + 6]))];
        let uid = uid.strip_suffix(&[0]).unwrap_or(uid).strip_prefix(syntax)?;
        let mut file = Self {
            meta: bytes[..meta_end].to_vec(),
            body: bytes[meta_end..].to_vec(),
            big_endian: uid == b".2",
            explicit_vr: !uid.is_empty(),
            deflated: uid == b".1.99",
            elements: Vec::new(),
        };
        if file.deflated {
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(&bytes[meta_end..]).take(64 << 20).read_to_end(&mut inflated).ok()?;
            file.body = inflated;
        }
        file.elements = file.walk()?;
        Some(file)
    }

    /// The file as bytes.
    pub(super) fn join(&self) -> Vec<u8> {
        let mut bytes = self.meta.clone();
        if self.deflated {
            let mut encoder = flate2::write::DeflateEncoder::new(bytes, flate2::Compression::fast());
            // Writing to memory does not fail.
            let _ = encoder.write_all(&self.body);
            return encoder.finish().unwrap_or_default();
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.body.get(at..at + 4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.body.get(at..at + 2)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// Spans of the top level; a value of undefined length is taken to reach to the end.
    fn walk(&self) -> Option<Vec<Span>> {
        let mut spans = Vec::new();
        let mut pos = 0;
        while pos < self.body.len() {
            let vr = self.body.get(pos + 4..pos + 6)?;
            let long = [&b"OB"[..], b"OW", b"SQ", b"UN", b"UT", b"OF", b"UC", b"UR"].contains(&vr);
            let length = match (self.explicit_vr, long) {
                (false, _) => pos + 4..pos + 8,
                (true, true) => pos + 8..pos + 12,
                (true, false) => pos + 6..pos + 8,
            };
            let size = if length.len() == 2 { u32::from(self.u16(length.start)?) } else { self.u32(length.start)? };
            let end = if size == u32::MAX { self.body.len() } else { length.end.checked_add(size as usize)? };
            let value = length.end..end;
            self.body.get(value.clone())?;
            spans.push(Span { start: pos, vr: self.explicit_vr.then_some(pos + 4..pos + 6), length, value });
            pos = end;
        }
        Some(spans)
    }

    /// Writes a number over a length field.
    pub(super) fn set_length(&mut self, field: Range<usize>, length: u32) {
        let wide = field.len() == 4;
        let Some(place) = self.body.get_mut(field) else { return };
        match (wide, self.big_endian) {
            (true, false) => place.copy_from_slice(&length.to_le_bytes()),
            (true, true) => place.copy_from_slice(&length.to_be_bytes()),
            (false, false) => place.copy_from_slice(&(length as u16).to_le_bytes()),
            (false, true) => place.copy_from_slice(&(length as u16).to_be_bytes()),
        }
    }

    /// An element with any length field, true or not.
    pub(super) fn element(&self, tag: (u16, u16), vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let short = |v: u16| if self.big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let long = |v: u32| if self.big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        bytes.extend(short(tag.0));
        bytes.extend(short(tag.1));
        if !self.explicit_vr {
            bytes.extend(long(length));
        } else if matches!(vr, b"SQ" | b"UN" | b"UT" | b"OB" | b"OW") {
            bytes.extend(vr);
            bytes.extend([0, 0]);
            bytes.extend(long(length));
        } else {
            bytes.extend(vr);
            bytes.extend(short(length as u16));
        }
        bytes.extend_from_slice(value);
        bytes
    }

    /// Inserts bytes in front of an element of the body and moves the spans behind them.
    pub(super) fn insert(&mut self, index: usize, bytes: &[u8]) {
        let Some(at) = self.elements.get(index).map(|s| s.start).filter(|at| *at <= self.body.len()) else { return };
        self.body.splice(at..at, bytes.iter().copied());
        for span in &mut self.elements[index..] {
            let moved = |r: &Range<usize>| r.start + bytes.len()..r.end + bytes.len();
            *span = Span {
                start: span.start + bytes.len(),
                vr: span.vr.as_ref().map(moved),
                length: moved(&span.length),
                value: moved(&span.value),
            };
        }
    }
}

/// Where the meta group ends, by its group length.
fn meta_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(128..144)?;
    if !head.starts_with(b"DICM\x02\x00\x00\x00UL") {
        return None;
    }
    let length = u32::from_le_bytes(head[12..16].try_into().ok()?) as usize;
    Some(144 + length).filter(|end| *end <= bytes.len())
}
