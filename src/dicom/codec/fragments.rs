//! Encapsulated pixel data: the fragments of the one frame, joined.

use super::corrupt;
use crate::dicom::limits::Limits;
use crate::{Error, ErrorKind, Result};
use std::borrow::Cow;

/// The codestream in the fragments that start at `pos`: borrowed when one fragment holds it.
///
/// The first item is the basic offset table. With one frame it says nothing that is needed, so neither an empty nor a wrong one matters.
/// Fragments of odd length and a missing sequence delimiter at the very end of the file are met in archives and accepted.
pub(super) fn gather<'a>(data: &'a [u8], mut pos: usize, limits: &Limits) -> Result<Cow<'a, [u8]>> {
    let mut fragments: Vec<&[u8]> = Vec::new();
    for index in 0..=limits.max_fragments {
        let Some(head) = data.get(pos..pos + 8) else {
            if data[pos..].iter().all(|b| *b == 0) {
                return join(&fragments);
            }
            return Err(corrupt(format!("the file ends inside fragment {index} of the pixel data")));
        };
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        pos += 8;
        match [head[0], head[1], head[2], head[3]] {
            [0xFE, 0xFF, 0x00, 0xE0] => {}
            [0xFE, 0xFF, 0xDD, 0xE0] => return join(&fragments),
            other => return Err(corrupt(format!("fragment {index} of the pixel data starts with {other:02X?}"))),
        }
        let left = data.len() - pos;
        if length > left {
            return Err(corrupt(format!("fragment {index} of the pixel data states {length} bytes where {left} are left")));
        }
        if index > 0 && length > 0 {
            fragments.push(&data[pos..pos + length]);
        }
        pos += length;
    }
    Err(Error::new(ErrorKind::TooLarge, format!("more than {} fragments of pixel data", limits.max_fragments)))
}

fn join<'a>(fragments: &[&'a [u8]]) -> Result<Cow<'a, [u8]>> {
    match fragments {
        [] => Err(corrupt("the pixel data has no fragment".into())),
        [one] => Ok(Cow::Borrowed(one)),
        many => Ok(Cow::Owned(many.concat())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(element: u16, bytes: &[u8]) -> Vec<u8> {
        let mut v = vec![0xFE, 0xFF];
        v.extend(element.to_le_bytes());
        v.extend((bytes.len() as u32).to_le_bytes());
        v.extend(bytes);
        v
    }

    #[test]
    fn fragments_are_joined_without_the_offset_table() {
        let limits = Limits::default();
        let end = item(0xE0DD, &[]);
        let table = item(0xE000, &[0; 4]);
        let one = [table.clone(), item(0xE000, b"abc"), end.clone()].concat();
        assert!(matches!(gather(&one, 0, &limits).unwrap(), Cow::Borrowed(b"abc")));
        let several = [item(0xE000, &[]), item(0xE000, b"ab"), item(0xE000, &[]), item(0xE000, b"c"), end.clone()].concat();
        assert_eq!(gather(&several, 0, &limits).unwrap(), b"abc".as_slice());
        let open = [table.clone(), item(0xE000, b"abc")].concat();
        assert_eq!(gather(&open, 0, &limits).unwrap(), b"abc".as_slice(), "no delimiter at the end of the file");
        for bad in [&one[..one.len() - 9], &[table.clone(), end.clone()].concat(), &[table, item(0xE00D, b"")].concat(), &one[4..]] {
            assert_eq!(gather(bad, 0, &limits).unwrap_err().kind(), ErrorKind::CorruptFile);
        }
        let few = Limits { max_fragments: 1, ..Limits::default() };
        assert_eq!(gather(&several, 0, &few).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
