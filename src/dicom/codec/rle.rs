//! DICOM run-length encoding (PS3.5 annex G): one PackBits segment per byte of a word, most significant byte first.

use super::{Shape, corrupt, zeroed};
use crate::Result;

/// Bytes of the segment table: a count and fifteen offsets.
const TABLE: usize = 64;

/// Little-endian words of a frame.
pub(super) fn decode(stream: &[u8], shape: Shape) -> Result<Vec<u8>> {
    let table = stream.get(..TABLE).ok_or_else(|| corrupt(format!("an RLE frame of {} bytes has no segment table", stream.len())))?;
    let (entries, _) = table.as_chunks();
    let entry = |i: usize| u32::from_le_bytes(entries[i]) as usize;
    let width = shape.bytes_per_word;
    if entry(0) != width {
        return Err(corrupt(format!("an RLE frame has {} segments where {width} belong", entry(0))));
    }
    let mut words = zeroed(shape.bytes())?;
    for segment in 0..width {
        let start = entry(segment + 1);
        let end = if segment + 1 < width { entry(segment + 2) } else { stream.len() };
        let bytes = stream.get(start..end).filter(|_| start >= TABLE);
        let bytes = bytes.ok_or_else(|| corrupt(format!("RLE segment {segment} lies at {start}..{end} of {} bytes", stream.len())))?;
        let filled = unpack(bytes, words.iter_mut().skip(width - 1 - segment).step_by(width));
        let pixels = shape.rows * shape.cols;
        if filled < pixels {
            return Err(corrupt(format!("RLE segment {segment} holds {filled} of {pixels} bytes")));
        }
    }
    Ok(words)
}

/// Unpacks until the input or the output ends; gives the number of bytes written.
fn unpack<'a>(packed: &[u8], mut out: impl Iterator<Item = &'a mut u8>) -> usize {
    let mut written = 0;
    let mut put = |byte: u8| match out.next() {
        Some(place) => {
            *place = byte;
            written += 1;
            true
        }
        None => false,
    };
    let mut rest = packed;
    while let [control, tail @ ..] = rest {
        match *control {
            literal @ 0..=127 => {
                let n = (usize::from(literal) + 1).min(tail.len());
                if !tail[..n].iter().all(|b| put(*b)) {
                    break;
                }
                rest = &tail[n..];
            }
            128 => rest = tail,
            run => {
                let [byte, after @ ..] = tail else { break };
                if !(0..257 - usize::from(run)).all(|_| put(*byte)) {
                    break;
                }
                rest = after;
            }
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut table = vec![segments.len() as u32];
        let mut at = TABLE as u32;
        for s in segments {
            table.push(at);
            at += s.len() as u32;
        }
        table.resize(16, 0);
        let mut bytes: Vec<u8> = table.iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes.extend(segments.concat());
        bytes
    }

    const SHAPE: Shape = Shape { rows: 1, cols: 5, bytes_per_word: 2, signed: false };

    #[test]
    fn runs_literals_and_no_operation() {
        // High bytes: a run of five 1s. Low bytes: no-op, three literals, a run of two.
        let bytes = frame(&[&[252, 1], &[128, 2, 10, 11, 12, 255, 13]]);
        assert_eq!(decode(&bytes, SHAPE).unwrap(), [10, 1, 11, 1, 12, 1, 13, 1, 13, 1]);
        // Padding and excess behind a full segment are harmless.
        let bytes = frame(&[&[252, 1, 0], &[250, 7, 0, 0]]);
        assert_eq!(decode(&bytes, SHAPE).unwrap(), [7, 1, 7, 1, 7, 1, 7, 1, 7, 1]);
    }

    #[test]
    fn damage_is_named() {
        let good = frame(&[&[252, 1], &[252, 2]]);
        for n in 0..good.len() {
            assert!(decode(&good[..n], SHAPE).is_err(), "cut at {n}");
        }
        let short = frame(&[&[253, 1], &[252, 2]]);
        assert!(decode(&short, SHAPE).unwrap_err().message().contains("4 of 5"));
        let mut wild = good.clone();
        wild[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(&wild, SHAPE).is_err(), "offset beyond the frame");
        wild[8..12].copy_from_slice(&10u32.to_le_bytes());
        assert!(decode(&wild, SHAPE).is_err(), "offset inside the table");
        wild = good;
        wild[0] = 3;
        assert!(decode(&wild, SHAPE).unwrap_err().message().contains("3 segments"));
    }
}
