//! JPEG 2000 (ITU-T T.800) of one component, by `hayro-jpeg2000`: safe Rust, without SIMD, so that CPU extensions do not change a lossy result.
//!
//! What the decoder allocates and how long it runs follow from the codestream's headers. Those are read here first, main header and
//! every tile-part header, and held against the sides in the DICOM header and against limits on tiles and precincts.

use super::{Shape, corrupt, refused, zeroed};
use crate::Result;
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

/// Tiles and precincts of a codestream: encoders of CT use one tile, or a few hundred, and precincts of at least 32 × 32.
const MAX_TILES: u64 = 4096;
const MAX_PRECINCTS: u64 = 1 << 16;
/// Tile-parts that are walked.
const MAX_TILE_PARTS: usize = 1 << 16;

/// Little-endian words of a frame, and whether the wavelet transform was the lossy one.
pub(super) fn decode(stream: &[u8], shape: Shape) -> Result<(Vec<u8>, bool)> {
    let code = codestream(stream)?;
    let head = Head::read(code, shape)?;
    // The last wall: a panic inside the decoder is an error of this file, not of the process.
    let samples = std::panic::catch_unwind(|| samples(code, shape)).map_err(|_| corrupt("the JPEG 2000 decoder failed".into()))??;
    // The decoder centres every component on half its range, signed ones too.
    let centre = if head.signed { 1i64 << (head.precision - 1) } else { 0 };
    let (low, high) = if head.signed { (-centre, centre - 1) } else { (0, (1 << head.precision) - 1) };
    let mut words = zeroed::<u8>(shape.bytes())?;
    for (word, sample) in words.chunks_exact_mut(shape.bytes_per_word).zip(&samples) {
        let value = ((f64::from(*sample) + 0.5).floor() as i64 - centre).clamp(low, high);
        let bytes = reinterpret(value, head, shape.signed).to_le_bytes();
        word.copy_from_slice(&bytes[..shape.bytes_per_word]);
    }
    Ok((words, head.lossy))
}

/// A value whose sign the codestream and PixelRepresentation disagree on is a bit pattern of `precision` bits (pydicom issue 1149).
fn reinterpret(value: i64, head: Head, signed: bool) -> i64 {
    if head.signed == signed {
        return value;
    }
    let unused = 64 - head.precision;
    let bits = value << unused;
    if signed { bits >> unused } else { (bits.cast_unsigned() >> unused).cast_signed() }
}

fn samples(code: &[u8], shape: Shape) -> Result<Vec<f32>> {
    let damaged = |e: hayro_jpeg2000::DecodeError| corrupt(format!("the JPEG 2000 codestream is damaged: {e}"));
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let image = Image::new(code, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    match decoded.components() {
        [one] if one.samples().len() == shape.rows * shape.cols => Ok(one.samples().to_vec()),
        other => Err(corrupt(format!("the JPEG 2000 decoder gave {} components of another size", other.len()))),
    }
}

/// The bare codestream; some writers wrap it in JP2 boxes, which DICOM does not allow and whose content is ignored.
fn codestream(stream: &[u8]) -> Result<&[u8]> {
    const START: &[u8] = &[0xFF, 0x4F, 0xFF, 0x51];
    let boxed = stream.starts_with(&[0, 0, 0, 12, b'j', b'P', b' ', b' ']);
    let at = if boxed { stream.windows(4).take(4096).position(|w| w == START) } else { Some(0) };
    at.map(|at| &stream[at..])
        .filter(|s| s.starts_with(START))
        .ok_or_else(|| corrupt("a JPEG 2000 codestream that does not start with SOC and SIZ".into()))
}

/// What the headers say.
#[derive(Clone, Copy, Debug)]
struct Head {
    precision: u32,
    signed: bool,
    /// Some coding style uses the irreversible transform.
    lossy: bool,
    /// Area on the reference grid, the tiles' area, and tiles.
    tiles: u64,
    tile_width: u64,
    tile_height: u64,
}

impl Head {
    fn read(code: &[u8], shape: Shape) -> Result<Self> {
        let mut marks = Markers { code, pos: 2 };
        let (_, size) = marks.next()?;
        let mut head = Self::size(size, shape)?;
        let mut coded = false;
        for _ in 0..MAX_TILE_PARTS {
            let (marker, segment) = marks.next()?;
            match marker {
                // COD: Scod, four bytes common to all components, SPcod.
                0x52 => {
                    coded = true;
                    head.coding_style(segment.first().copied(), segment.get(5..))?;
                }
                // COC: component (one byte, there being fewer than 257), Scoc, SPcoc.
                0x53 => head.coding_style(segment.get(1).copied(), segment.get(2..))?,
                0x90 | 0xD9 if !coded => return Err(corrupt("a JPEG 2000 codestream without a coding style".into())),
                0xD9 => return Ok(head),
                0x90 => {
                    let last = marks.tile_part(segment, &mut head)?;
                    if last {
                        return Ok(head);
                    }
                }
                _ => {}
            }
        }
        Err(corrupt(format!("a JPEG 2000 codestream of more than {MAX_TILE_PARTS} markers")))
    }

    fn size(segment: &[u8], shape: Shape) -> Result<Self> {
        let long = |at: usize| segment.get(at..at + 4).map(|b| u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]])));
        let fields = [2, 6, 10, 14, 18, 22, 26, 30].map(long);
        let [Some(x1), Some(y1), Some(x0), Some(y0), Some(tw), Some(th), Some(tx), Some(ty)] = fields else { return Err(cut()) };
        let component = segment.get(34..).ok_or_else(cut)?;
        let &[0, 1, depth, 1, 1] = component else {
            return Err(corrupt("a JPEG 2000 codestream of several or subsampled components where one belongs".into()));
        };
        if x0 > x1 || y0 > y1 || tw == 0 || th == 0 || tx > x0 || ty > y0 || tx + tw <= x0 || ty + th <= y0 {
            return Err(corrupt("a JPEG 2000 codestream whose tiles do not cover it".into()));
        }
        shape.check((y1 - y0) as usize, (x1 - x0) as usize)?;
        let tiles = (x1 - tx).div_ceil(tw) * (y1 - ty).div_ceil(th);
        if tiles > MAX_TILES {
            return Err(refused(format!("a JPEG 2000 codestream of {tiles} tiles, more than {MAX_TILES}")));
        }
        let precision = u32::from(depth & 0x7F) + 1;
        if precision > 16 || precision as usize > 8 * shape.bytes_per_word {
            return Err(refused(format!(
                "JPEG 2000 of {precision} bits in words of {} bytes is not read by this build",
                shape.bytes_per_word
            )));
        }
        Ok(Self { precision, signed: depth & 0x80 != 0, lossy: false, tiles, tile_width: tw.min(x1 - tx), tile_height: th.min(y1 - ty) })
    }

    /// Takes note of the transform and bounds the precincts of one coding style, were it that of every tile.
    fn coding_style(&mut self, style: Option<u8>, parameters: Option<&[u8]>) -> Result<()> {
        let (Some(style), Some([levels, _, _, block_style, transform, precincts @ ..])) = (style, parameters) else { return Err(cut()) };
        if *levels > 32 {
            return Err(corrupt(format!("a JPEG 2000 codestream of {levels} decomposition levels")));
        }
        if block_style & 0x40 != 0 {
            return Err(refused("High-Throughput JPEG 2000 is not read by this build".into()));
        }
        self.lossy |= *transform == 0;
        let mut total = 0u64;
        for resolution in 0..=u32::from(*levels) {
            let exponents = if style & 1 == 0 { 0xFF } else { *precincts.get(resolution as usize).ok_or_else(cut)? };
            let down = u32::from(*levels) - resolution;
            // One more than fits in each direction, for tiles that do not start at a precinct's edge.
            let across = |side: u64, exponent: u8| (side >> down >> exponent) + 2;
            total += across(self.tile_width, exponents & 15) * across(self.tile_height, exponents >> 4);
        }
        // Single-precinct resolutions count four each above: allow for those of every tile.
        let allowance = self.tiles * 4 * 33;
        if self.tiles * total > MAX_PRECINCTS + allowance {
            return Err(refused(format!("a JPEG 2000 codestream of more than {MAX_PRECINCTS} precincts")));
        }
        Ok(())
    }
}

/// Walks marker segments.
struct Markers<'a> {
    code: &'a [u8],
    pos: usize,
}

impl<'a> Markers<'a> {
    /// The second byte of the next marker, and its segment behind the length.
    fn next(&mut self) -> Result<(u8, &'a [u8])> {
        let Some([0xFF, marker, rest @ ..]) = self.code.get(self.pos..) else { return Err(cut()) };
        self.pos += 2;
        if matches!(marker, 0x30..=0x3F | 0x4F | 0x92 | 0x93 | 0xD9) {
            return Ok((*marker, &[]));
        }
        let length = rest.first_chunk().map(|b| usize::from(u16::from_be_bytes(*b))).ok_or_else(cut)?;
        let segment = rest.get(2..length.max(2)).filter(|_| length >= 2).ok_or_else(cut)?;
        self.pos += length;
        Ok((*marker, segment))
    }

    /// Reads the header of a tile-part for coding styles of its own and steps over its data; true when it is the last.
    fn tile_part(&mut self, sot: &[u8], head: &mut Head) -> Result<bool> {
        let start = self.pos - 12;
        let length = sot.get(2..6).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).ok_or_else(cut)?;
        loop {
            match self.next()? {
                (0x52, segment) => head.coding_style(segment.first().copied(), segment.get(5..))?,
                (0x53, segment) => head.coding_style(segment.get(1).copied(), segment.get(2..))?,
                (0x93, _) => break,
                (0x90 | 0xD9, _) => return Err(corrupt("a JPEG 2000 tile-part without data".into())),
                _ => {}
            }
        }
        if length == 0 {
            return Ok(true);
        }
        let end = start + length;
        if end < self.pos || end > self.code.len() {
            return Err(corrupt(format!("a JPEG 2000 tile-part states {length} bytes where {} are left", self.code.len() - start)));
        }
        self.pos = end;
        // A missing end marker is common; the data is complete all the same.
        Ok(self.code.len() - end < 2)
    }
}

fn cut() -> crate::Error {
    corrupt("the JPEG 2000 codestream is cut short".into())
}
