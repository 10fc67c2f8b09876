//! JPEG (ITU-T T.81) of one component: sequential DCT of 8 and 12 bits, and lossless of 2 to 16 bits.
//!
//! Own code, because what CT needs is small and has to be exact: the decoders at hand refuse 12-bit DCT, and their lossless process
//! mistakes predictors after a restart interval and under a point transform. Everything is checked against the header's sides before a
//! pixel is allocated. The process is taken from the frame header: archives hold mislabelled syntaxes.

mod bits;
mod dct;
mod lossless;

use super::{Shape, corrupt, refused, zeroed};
use crate::Result;
use bits::Table;

/// Everything in front of the entropy-coded data.
#[derive(Default)]
struct Codestream<'a> {
    frame: Option<FrameHeader>,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    quantisation: [Option<[u16; 64]>; 4],
    /// MCUs between restart markers; 0 for none.
    restart: usize,
    scan: Option<Scan<'a>>,
}

#[derive(Clone, Copy)]
struct FrameHeader {
    lossless: bool,
    precision: u32,
    component: u8,
    quantisation: usize,
}

/// The one scan: its parameters and the bytes from its first entropy-coded one on.
struct Scan<'a> {
    dc: usize,
    ac: usize,
    /// Ss: the predictor of a lossless scan.
    predictor: u8,
    /// Al: the point transform of a lossless scan.
    point_transform: u32,
    data: &'a [u8],
}

/// Little-endian words of a frame, and whether they went through a DCT.
pub(super) fn decode(stream: &[u8], shape: Shape) -> Result<(Vec<u8>, bool)> {
    let code = Codestream::read(stream, shape)?;
    let (Some(frame), Some(scan)) = (code.frame, code.scan.as_ref()) else {
        return Err(corrupt("a JPEG codestream without a scan".into()));
    };
    let mut samples = zeroed::<u16>(shape.rows * shape.cols)?;
    if frame.lossless {
        lossless::decode(&code, frame, scan, shape.cols, &mut samples)?;
    } else {
        dct::decode(&code, frame, scan, shape.cols, &mut samples)?;
    }
    Ok((to_words(&samples, shape.bytes_per_word)?, !frame.lossless))
}

fn to_words(samples: &[u16], bytes_per_word: usize) -> Result<Vec<u8>> {
    let mut words = zeroed::<u8>(samples.len() * bytes_per_word)?;
    match bytes_per_word {
        1 => words.iter_mut().zip(samples).for_each(|(w, s)| *w = *s as u8),
        2 => words.as_chunks_mut().0.iter_mut().zip(samples).for_each(|(w, s)| *w = s.to_le_bytes()),
        _ => words.as_chunks_mut().0.iter_mut().zip(samples).for_each(|(w, s)| *w = u32::from(*s).to_le_bytes()),
    }
    Ok(words)
}

impl<'a> Codestream<'a> {
    /// Reads marker segments up to the first scan.
    fn read(stream: &'a [u8], shape: Shape) -> Result<Self> {
        let mut code = Self::default();
        let Some(mut rest) = stream.strip_prefix(&[0xFF, 0xD8]) else {
            return Err(corrupt("a JPEG codestream that does not start with SOI".into()));
        };
        loop {
            let (marker, segment, after) = next_segment(rest)?;
            match marker {
                0xC0 | 0xC1 | 0xC3 => code.frame = Some(frame_header(marker, segment, shape)?),
                0xC4 => code.huffman_tables(segment)?,
                0xDB => code.quantisation_tables(segment)?,
                0xDD => code.restart = restart_interval(segment)?,
                0xDA => {
                    code.scan = Some(code.scan_header(segment, after)?);
                    return Ok(code);
                }
                0xC2 => return Err(refused("progressive JPEG is not read by this build".into())),
                0xC5..=0xC7 | 0xC9..=0xCF => return Err(refused(format!("JPEG process SOF{} is not read by this build", marker - 0xC0))),
                0xD9 => return Err(corrupt("a JPEG codestream without a scan".into())),
                _ => {}
            }
            rest = after;
        }
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<()> {
        while let [class, tail @ ..] = segment {
            let (class, slot) = (class >> 4, usize::from(class & 15));
            let counts: &[u8; 16] = tail.first_chunk().ok_or_else(cut)?;
            let total: usize = counts.iter().map(|n| usize::from(*n)).sum();
            let symbols = tail.get(16..16 + total).ok_or_else(cut)?;
            let tables = if class == 0 { &mut self.dc } else { &mut self.ac };
            let place = tables.get_mut(slot).filter(|_| class < 2).ok_or_else(|| corrupt("a JPEG Huffman table of no slot".into()))?;
            *place = Some(Table::new(counts, symbols)?);
            segment = &tail[16 + total..];
        }
        Ok(())
    }

    fn quantisation_tables(&mut self, mut segment: &[u8]) -> Result<()> {
        while let [head, tail @ ..] = segment {
            let (wide, slot) = (head >> 4, usize::from(head & 15));
            let size = if wide == 0 { 64 } else { 128 };
            let bytes = tail.get(..size).filter(|_| wide < 2).ok_or_else(cut)?;
            let mut table = [0; 64];
            for (i, q) in table.iter_mut().enumerate() {
                *q = if wide == 0 { u16::from(bytes[i]) } else { u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]]) };
            }
            *self.quantisation.get_mut(slot).ok_or_else(|| corrupt("a JPEG quantisation table of no slot".into()))? = Some(table);
            segment = &tail[size..];
        }
        Ok(())
    }

    fn scan_header(&self, segment: &[u8], data: &'a [u8]) -> Result<Scan<'a>> {
        let frame = self.frame.ok_or_else(|| corrupt("a JPEG scan in front of its frame header".into()))?;
        let &[1, component, tables, start, _, approximation] = segment else {
            return Err(corrupt(format!("a JPEG scan header of {} bytes is not that of one component", segment.len())));
        };
        if component != frame.component {
            return Err(corrupt(format!("a JPEG scan of component {component}, which the frame does not have")));
        }
        let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
        Ok(Scan { dc, ac, predictor: start, point_transform: u32::from(approximation & 15), data })
    }
}

impl Scan<'_> {
    /// The table that the scan names.
    fn table<'t>(&self, tables: &'t [Option<Table>; 4], slot: usize) -> Result<&'t Table> {
        tables
            .get(slot)
            .and_then(Option::as_ref)
            .ok_or_else(|| corrupt(format!("a JPEG scan uses Huffman table {slot}, which is not there")))
    }
}

/// The next marker, its segment without the length, and what follows.
fn next_segment(rest: &[u8]) -> Result<(u8, &[u8], &[u8])> {
    let [0xFF, tail @ ..] = rest else {
        return Err(corrupt("a JPEG codestream with no marker where one belongs".into()));
    };
    let fill = tail.iter().take_while(|b| **b == 0xFF).count();
    let [marker, tail @ ..] = &tail[fill..] else { return Err(cut()) };
    if matches!(marker, 0x01 | 0xD0..=0xD9) {
        return Ok((*marker, &[], tail));
    }
    let [high, low, ..] = *tail else { return Err(cut()) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 || length > tail.len() {
        return Err(corrupt(format!("JPEG segment {marker:02X} states {length} bytes where {} are left", tail.len())));
    }
    Ok((*marker, &tail[2..length], &tail[length..]))
}

fn frame_header(marker: u8, segment: &[u8], shape: Shape) -> Result<FrameHeader> {
    let &[precision, y1, y0, x1, x0, components, ..] = segment else { return Err(cut()) };
    shape.check(usize::from(u16::from_be_bytes([y1, y0])), usize::from(u16::from_be_bytes([x1, x0])))?;
    let (&[component, _, quantisation], 1) = (&segment[6..], components) else {
        return Err(corrupt(format!("a JPEG frame of {components} components where 1 belongs")));
    };
    let lossless = marker == 0xC3;
    let readable = if lossless { (2..=16).contains(&precision) } else { matches!(precision, 8 | 12) };
    if !readable || usize::from(precision) > 8 * shape.bytes_per_word {
        return Err(corrupt(format!("a JPEG frame of {precision} bits in words of {} bytes", shape.bytes_per_word)));
    }
    Ok(FrameHeader { lossless, precision: precision.into(), component, quantisation: quantisation.into() })
}

fn restart_interval(segment: &[u8]) -> Result<usize> {
    let &[high, low] = segment else { return Err(cut()) };
    Ok(usize::from(u16::from_be_bytes([high, low])))
}

fn cut() -> crate::Error {
    corrupt("a JPEG segment is cut short".into())
}
