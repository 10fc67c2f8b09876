//! One bounded, iterative walk over a data set, from its first element to its pixel data.
//!
//! Nothing here recurses, allocates by a length that the file states, or believes a length that goes past the end. Values of
//! defined length are stepped over whole, whatever nests inside them; only sequences of undefined length have to be walked, on a
//! stack of [`Limits::max_depth`]. What comes out is the place of each top-level element that the engine reads, and of the pixel
//! data. The bytes may be a prefix of the file: the walk then says how far it would have to see.

use super::limits::Limits;
use super::syntax::Encoding;
use super::tags::{self, Tag};
use crate::{Error, ErrorKind};
use std::ops::Range;

/// A top-level element in front of the pixel data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) tag: Tag,
    /// As written; none in implicit VR.
    pub(crate) vr: Option<[u8; 2]>,
    /// Where the value lies; empty for a sequence of undefined length.
    pub(crate) value: Range<usize>,
}

/// Where (7FE0,0010) of the data set itself lies, never that of an icon image nested in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PixelData {
    /// First byte of the value.
    pub(crate) start: usize,
    /// Bytes of the value; none when it is encapsulated in fragments.
    pub(crate) length: Option<usize>,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The elements of [`tags::WANTED`] that are there, each once.
    pub(crate) elements: Vec<Element>,
    /// None when the data set ends without pixel data.
    pub(crate) pixels: Option<PixelData>,
}

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The answer lies behind the bytes at hand: at least this many are needed.
    NeedMore(usize),
    /// The data set is damaged or too large.
    Bad(Error),
}

impl Stop {
    pub(crate) fn corrupt(message: String) -> Self {
        Self::Bad(Error::new(ErrorKind::CorruptFile, message))
    }
}

/// Walks the data set that starts at `start`; `bytes` is the file or a prefix of it, `total` the file's length.
pub(crate) fn scan(bytes: &[u8], start: usize, total: usize, encoding: Encoding, limits: &Limits) -> Result<Scan, Stop> {
    let mut walk = Walk { bytes, total, pos: start, found: Scan::default(), stack: Vec::new() };
    for _ in 0..limits.max_elements {
        if walk.stack.len() > limits.max_depth {
            let message = format!("sequences are nested deeper than {} at byte {}", limits.max_depth, walk.pos);
            return Err(Stop::Bad(Error::new(ErrorKind::TooLarge, message)));
        }
        if walk.at_end()? || walk.step(encoding)? {
            return Ok(walk.found);
        }
    }
    Err(Stop::Bad(Error::new(ErrorKind::TooLarge, format!("more than {} data elements in front of the pixel data", limits.max_elements))))
}

/// An open construct of undefined length.
#[derive(Clone, Copy)]
enum Level {
    Sequence(Encoding),
    Item(Encoding),
    Fragments,
}

/// The fixed part of an element.
#[derive(Clone, Copy)]
struct Head {
    tag: Tag,
    vr: Option<[u8; 2]>,
    /// None is the undefined length.
    length: Option<usize>,
}

struct Walk<'a> {
    bytes: &'a [u8],
    total: usize,
    pos: usize,
    found: Scan,
    stack: Vec<Level>,
}

impl Walk<'_> {
    /// Whether the data set is complete: at the last byte, or in front of zero padding too short for an element.
    fn at_end(&self) -> Result<bool, Stop> {
        let left = self.total - self.pos;
        if left >= 8 || !self.stack.is_empty() {
            return Ok(false);
        }
        if self.bytes.len() < self.total {
            return Err(Stop::NeedMore(self.total));
        }
        Ok(self.bytes[self.pos..].iter().all(|b| *b == 0))
    }

    /// Reads one element; true at the pixel data.
    fn step(&mut self, encoding: Encoding) -> Result<bool, Stop> {
        match self.stack.last().copied() {
            None => return self.element(encoding, true),
            Some(Level::Item(encoding)) => return self.element(encoding, false),
            Some(Level::Sequence(encoding)) => {
                let head = self.head(encoding)?;
                match (head.tag, head.length) {
                    (tags::ITEM, None) => self.stack.push(Level::Item(encoding)),
                    (tags::ITEM, Some(length)) => self.skip(head.tag, length)?,
                    (tags::SEQUENCE_END, _) => drop(self.stack.pop()),
                    (tag, _) => return Err(self.unexpected(tag, "between the items of a sequence")),
                }
            }
            Some(Level::Fragments) => {
                let head = self.head(encoding)?;
                match (head.tag, head.length) {
                    (tags::ITEM, Some(length)) => self.skip(head.tag, length)?,
                    (tags::SEQUENCE_END, _) => drop(self.stack.pop()),
                    (tag, _) => return Err(self.unexpected(tag, "between the fragments of an encapsulated value")),
                }
            }
        }
        Ok(false)
    }

    /// A data element of the data set or of an item.
    fn element(&mut self, encoding: Encoding, top: bool) -> Result<bool, Stop> {
        let head = self.head(encoding)?;
        if head.tag == tags::ITEM_END && !top {
            self.stack.pop();
            return Ok(false);
        }
        if head.tag.group() == 0xFFFE {
            return Err(self.unexpected(head.tag, "where a data element belongs"));
        }
        if top && head.tag == tags::PIXEL_DATA {
            // Pixels cut short are found out when they are decoded: the header is whole, and says which series they are missing from.
            self.found.pixels = Some(PixelData { start: self.pos, length: head.length });
            return Ok(true);
        }
        let start = self.pos;
        match head.length {
            Some(length) => self.skip(head.tag, length)?,
            None => self.open(head, encoding)?,
        }
        if top && tags::WANTED.binary_search(&head.tag).is_ok() {
            self.keep(Element { tag: head.tag, vr: head.vr, value: start..self.pos })?;
        }
        Ok(false)
    }

    /// Opens a value of undefined length.
    fn open(&mut self, head: Head, encoding: Encoding) -> Result<(), Stop> {
        let level = match head.vr.as_ref() {
            None if head.tag == tags::PIXEL_DATA => Level::Fragments,
            None => Level::Sequence(encoding),
            Some(b"SQ") => Level::Sequence(encoding),
            Some(b"UN") => Level::Sequence(Encoding::IMPLICIT_LE),
            Some(b"OB" | b"OW") => Level::Fragments,
            Some(vr) => {
                let message = format!("{} has an undefined length, which its VR {} cannot have", head.tag, vr.escape_ascii());
                return Err(Stop::corrupt(message));
            }
        };
        self.stack.push(level);
        Ok(())
    }

    /// Remembers an element of interest; a second one of another value would make the file mean two things.
    fn keep(&mut self, element: Element) -> Result<(), Stop> {
        if element.value.end > self.bytes.len() {
            return Err(Stop::NeedMore(element.value.end));
        }
        match self.found.elements.iter().find(|e| e.tag == element.tag) {
            None => self.found.elements.push(element),
            Some(first) if self.bytes[first.value.clone()] == self.bytes[element.value.clone()] => {}
            Some(_) => return Err(Stop::corrupt(format!("{} is there twice, with different values", element.tag))),
        }
        Ok(())
    }

    /// Reads tag, VR and length.
    fn head(&mut self, encoding: Encoding) -> Result<Head, Stop> {
        let [a, b, c, d] = self.take()?;
        let tag = Tag::new(encoding.u16([a, b]), encoding.u16([c, d]));
        let next: [u8; 4] = self.take()?;
        if tag.group() == 0xFFFE || !encoding.explicit_vr {
            return Ok(Head { tag, vr: None, length: defined(encoding.u32(next)) });
        }
        let vr = [next[0], next[1]];
        if !vr.iter().all(u8::is_ascii_uppercase) {
            // Some writers fall back to implicit VR for single elements, mostly private ones.
            return Ok(Head { tag, vr: None, length: defined(encoding.u32(next)) });
        }
        let length =
            if has_long_length(vr) { defined(encoding.u32(self.take()?)) } else { Some(usize::from(encoding.u16([next[2], next[3]]))) };
        Ok(Head { tag, vr: Some(vr), length })
    }

    fn take(&mut self) -> Result<[u8; 4], Stop> {
        let end = self.pos + 4;
        if end > self.total {
            return Err(Stop::corrupt(format!("the file ends inside a data element, at byte {} of {}", self.pos, self.total)));
        }
        let bytes = self.bytes.get(self.pos..end).and_then(|b| b.try_into().ok()).ok_or(Stop::NeedMore(end))?;
        self.pos = end;
        Ok(bytes)
    }

    fn skip(&mut self, tag: Tag, length: usize) -> Result<(), Stop> {
        let left = self.total - self.pos;
        if length > left {
            return Err(Stop::corrupt(format!("{tag} states a length of {length} bytes where {left} are left")));
        }
        self.pos += length;
        Ok(())
    }

    fn unexpected(&self, tag: Tag, place: &str) -> Stop {
        Stop::corrupt(format!("{tag} stands {place}, in front of byte {}", self.pos))
    }
}

/// A length field; all ones is the undefined length.
fn defined(length: u32) -> Option<usize> {
    (length != u32::MAX).then_some(length as usize)
}

/// Whether an explicit VR is followed by two reserved bytes and a 32-bit length.
pub(crate) fn has_long_length(vr: [u8; 2]) -> bool {
    matches!(&vr, b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV")
}

/// Whether two bytes are a VR of the standard.
pub(crate) fn is_vr(vr: [u8; 2]) -> bool {
    has_long_length(vr)
        || matches!(
            &vr,
            b"AE"
                | b"AS"
                | b"AT"
                | b"CS"
                | b"DA"
                | b"DS"
                | b"DT"
                | b"FD"
                | b"FL"
                | b"IS"
                | b"LO"
                | b"LT"
                | b"PN"
                | b"SH"
                | b"SL"
                | b"SS"
                | b"ST"
                | b"TM"
                | b"UI"
                | b"UL"
                | b"US"
        )
}
