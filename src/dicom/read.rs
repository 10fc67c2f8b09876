//! One file to its header, and one header to its pixels in HU.

use super::attributes;
use super::codec;
use super::container::{self, Container, Parsed};
use super::header::{FileContent, SliceHeader};
use super::hu;
use super::limits::Limits;
use super::prescan::Stop;
use crate::finding::{Finding, FindingCode};
use crate::volume::HuPixels;
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Bytes read at first; the header of nearly every CT slice fits.
const FIRST_READ: usize = 64 << 10;

/// One slice in HU with what has to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedSlice {
    /// `rows × cols` values, row-major, as stored: not reoriented.
    pub pixels: HuPixels,
    /// padding_ignored, values_clamped, monochrome1, lossy. Messages depend on the format alone, so that equal ones of a series can be merged.
    pub findings: Vec<Finding>,
}

/// Reads what a file says about itself. Only the part in front of the pixel data is read, growing from 64 KB as far as it has to.
///
/// A file that is no DICOM, a DICOMDIR, and DICOM without pixel data are [`FileContent::NotAnImage`]. [`FileContent::Broken`] carries
/// `corrupt_file` for damage and contradictions in front of the pixel data, `too_large` for a limit, `io`, and `no_usable_series`
/// for multi-frame CT. What concerns pixels alone (codec, rescale, colour, data cut short) is left to [`decode_slice`], so that damage is blamed on the series it belongs to,
/// and objects which are never decoded, such as localizers and dose sheets, can be told apart and dropped first.
pub fn read_header(path: &Path, limits: &Limits) -> FileContent {
    match header_of(path, limits) {
        Ok(content) => content,
        Err(error) => FileContent::Broken(error.in_file(path)),
    }
}

fn header_of(path: &Path, limits: &Limits) -> Result<FileContent> {
    let mut file = Source::open(path)?;
    if file.total == 0 {
        return Ok(FileContent::NotAnImage("an empty file"));
    }
    file.read_to(FIRST_READ)?;
    loop {
        let needed = match container::parse(&file.bytes, file.total, limits) {
            Ok(Container::Other(what)) => return Ok(FileContent::NotAnImage(what)),
            Ok(Container::Dicom(parsed)) => return image(&parsed, path, limits),
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::NeedMore(n)) => n,
        };
        if file.bytes.len() == file.total {
            return Err(Error::new(ErrorKind::CorruptFile, "the file ends inside a data element"));
        }
        if needed > limits.max_file_bytes {
            return Err(Error::new(ErrorKind::TooLarge, format!("the header lies beyond the first {} bytes", limits.max_file_bytes)));
        }
        file.read_to((4 * file.bytes.len()).min(limits.max_file_bytes).max(needed))?;
    }
}

fn image(parsed: &Parsed<'_>, path: &Path, limits: &Limits) -> Result<FileContent> {
    if parsed.scan.pixels.is_none() {
        return Ok(FileContent::NotAnImage("DICOM without pixel data"));
    }
    let header = attributes::slice_header(parsed, Arc::new(path.to_owned()), limits)?;
    Ok(FileContent::Image(Box::new(header)))
}

/// Reads the pixels of a slice and turns them into HU (spec: model.md, arithmetic 1).
///
/// # Errors
/// `bad_rescale`, `unsupported_transfer_syntax` (naming the UID), `corrupt_file`, `too_large`, `no_usable_series` (multi-frame, colour), `io`.
pub fn decode_slice(header: &SliceHeader, limits: &Limits) -> Result<DecodedSlice> {
    decode(header, limits).map_err(|e| header.blame(e))
}

fn decode(header: &SliceHeader, limits: &Limits) -> Result<DecodedSlice> {
    attributes::refuse_multi_frame(header, limits)?;
    let transform = hu::Transform::new(header)?;
    let mut file = Source::open(&header.path)?;
    if file.total > limits.max_file_bytes {
        return Err(Error::new(ErrorKind::TooLarge, format!("the file has {} bytes, more than {}", file.total, limits.max_file_bytes)));
    }
    file.read_to(file.total)?;
    let parsed = match container::parse(&file.bytes, file.total, limits) {
        Ok(Container::Dicom(parsed)) if parsed.syntax_uid == header.transfer_syntax_uid => parsed,
        Ok(_) => return Err(Error::new(ErrorKind::CorruptFile, "the file has changed since its header was read")),
        Err(Stop::NeedMore(_)) => return Err(Error::new(ErrorKind::CorruptFile, "the file ends inside a data element")),
        Err(Stop::Bad(error)) => return Err(error),
    };
    let frame = codec::frame(&parsed, header, limits)?;
    let (pixels, clamped) = transform.apply(&frame.words, frame.big_endian)?;
    let mut findings = transform.findings();
    if clamped {
        findings.push(Finding::info(FindingCode::ValuesClamped, "values outside [-1024, 3071] HU were clamped"));
    }
    if header.lossy || frame.lossy {
        findings.push(Finding::warning(FindingCode::Lossy, "the pixels went through a lossy compression"));
    }
    Ok(DecodedSlice { pixels, findings })
}

/// A regular file and the prefix of it that has been read.
struct Source {
    file: File,
    path: std::path::PathBuf,
    total: usize,
    bytes: Vec<u8>,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let about = std::fs::metadata(path).map_err(io)?;
        if !about.is_file() {
            // Opening a pipe or a device could block for ever.
            return Err(Error::new(ErrorKind::Io, "not a regular file"));
        }
        let file = File::open(path).map_err(io)?;
        let total = usize::try_from(about.len()).map_err(|_| Error::new(ErrorKind::TooLarge, format!("{} bytes", about.len())))?;
        Ok(Self { file, path: path.to_owned(), total, bytes: Vec::new() })
    }

    /// Extends the prefix to `end` bytes, or to the whole file where that is shorter. A file that shrinks meanwhile is damaged.
    fn read_to(&mut self, end: usize) -> Result<()> {
        let more = end.min(self.total).saturating_sub(self.bytes.len());
        self.bytes.try_reserve_exact(more).map_err(|e| Error::new(ErrorKind::OutOfMemory, e.to_string()))?;
        let read = (&mut self.file).take(more as u64).read_to_end(&mut self.bytes).map_err(|e| Error::io(&self.path, e))?;
        if read < more {
            return Err(Error::new(ErrorKind::CorruptFile, format!("the file ends after {} of {} bytes", self.bytes.len(), self.total)));
        }
        Ok(())
    }
}
