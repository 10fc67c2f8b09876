//! The outside of a DICOM file: preamble, meta group, transfer syntax, deflate; and the encoding of files that have none of these.

use super::limits::Limits;
use super::prescan::{self, Scan, Stop};
use super::syntax::{Codec, Encoding, TransferSyntax};
use super::tags::{self, Tag};
use crate::{Error, ErrorKind};
use std::borrow::Cow;

/// Storage class of a DICOMDIR.
const DICOMDIR_CLASS: &str = "1.2.840.10008.1.3.10";

/// A file taken apart.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    /// The transfer syntax as the data set is in fact encoded.
    pub(crate) syntax_uid: String,
    /// Its row in the table, where it is known.
    pub(crate) syntax: Option<&'static TransferSyntax>,
    /// Byte order and VR of the data set.
    pub(crate) encoding: Encoding,
    /// The data set's bytes, which the scan's ranges index: the file, or what it inflated to.
    pub(crate) data: Cow<'a, [u8]>,
    /// What the prescan found.
    pub(crate) scan: Scan,
}

/// What bytes turned out to be.
#[derive(Debug)]
pub(crate) enum Container<'a> {
    Dicom(Parsed<'a>),
    Other(&'static str),
}

/// Takes a file apart up to its pixel data; `bytes` is the file or a prefix of it, `total` the file's length.
///
/// A file without preamble or without meta group is accepted when it starts with a meta element or with an element of group 0008
/// whose encoding can be told; when such a file then does not parse, it is no DICOM, rather than damaged DICOM.
pub(crate) fn parse<'a>(bytes: &'a [u8], total: usize, limits: &Limits) -> Result<Container<'a>, Stop> {
    let magic = bytes.get(128..132) == Some(b"DICM");
    let meta_start = if magic { 132 } else { 0 };
    if !magic && !is_meta(bytes) && detect(bytes).is_none() {
        return Ok(Container::Other("not a DICOM file"));
    }
    match parse_from(bytes, meta_start, total, limits) {
        Err(Stop::Bad(e)) if !magic && !is_meta(bytes) && e.kind() == ErrorKind::CorruptFile => Ok(Container::Other("not a DICOM file")),
        outcome => outcome,
    }
}

fn parse_from<'a>(bytes: &'a [u8], meta_start: usize, total: usize, limits: &Limits) -> Result<Container<'a>, Stop> {
    let meta = read_meta(bytes, meta_start, total)?;
    if meta.media_class.as_deref() == Some(DICOMDIR_CLASS) {
        return Ok(Container::Other("a DICOMDIR"));
    }
    let declared = meta.syntax_uid.as_deref().and_then(TransferSyntax::of);
    if declared.is_some_and(|s| s.deflated) {
        return inflated(bytes, meta.end, total, declared, limits).map(Container::Dicom);
    }
    if meta.end >= total {
        return Ok(Container::Other("DICOM without a data set"));
    }
    let first = bytes.get(meta.end..).filter(|b| b.len() >= 8 || bytes.len() == total).ok_or(Stop::NeedMore(meta.end + 8))?;
    let seen = detect(first);
    let (syntax_uid, syntax, encoding) = match (meta.syntax_uid, declared, seen) {
        // The data set shows another encoding than the meta group claims: believe the data set.
        (_, Some(s), Some(e)) if s.codec == Codec::Native && s.encoding != e => native(e),
        (Some(uid), Some(s), seen) => (uid, Some(s), seen.unwrap_or(s.encoding)),
        (Some(uid), None, seen) => (uid, None, seen.unwrap_or(Encoding::EXPLICIT_LE)),
        (None, _, Some(e)) => native(e),
        (None, _, None) => return Err(Stop::corrupt("the meta group names no transfer syntax (0002,0010)".into())),
    };
    let scan = prescan::scan(bytes, meta.end, total, encoding, limits)?;
    Ok(Container::Dicom(Parsed { syntax_uid, syntax, encoding, data: Cow::Borrowed(bytes), scan }))
}

fn native(encoding: Encoding) -> (String, Option<&'static TransferSyntax>, Encoding) {
    let syntax = TransferSyntax::native(encoding);
    (syntax.uid.to_owned(), Some(syntax), encoding)
}

fn inflated<'a>(
    bytes: &'a [u8],
    start: usize,
    total: usize,
    syntax: Option<&'static TransferSyntax>,
    limits: &Limits,
) -> Result<Parsed<'a>, Stop> {
    if bytes.len() < total {
        return Err(Stop::NeedMore(total));
    }
    let data = inflate(&bytes[start..], limits.max_inflated_bytes).map_err(Stop::Bad)?;
    let encoding = Encoding::EXPLICIT_LE;
    let scan = match prescan::scan(&data, 0, data.len(), encoding, limits) {
        Err(Stop::NeedMore(_)) => return Err(Stop::corrupt("the deflated data set ends inside a data element".into())),
        other => other?,
    };
    let syntax_uid = syntax.map_or("", |s| s.uid).to_owned();
    Ok(Parsed { syntax_uid, syntax, encoding, data: Cow::Owned(data), scan })
}

/// Inflates a raw deflate stream to its end marker; bytes behind that (padding to even length) are ignored.
fn inflate(deflated: &[u8], cap: usize) -> Result<Vec<u8>, Error> {
    let mut state = flate2::Decompress::new(false);
    let mut out = Vec::new();
    loop {
        let used = usize::try_from(state.total_in()).unwrap_or(usize::MAX).min(deflated.len());
        if out.len() >= cap {
            return Err(Error::new(ErrorKind::TooLarge, format!("the deflated data set grows beyond {cap} bytes")));
        }
        let room = (2 * out.len()).clamp(1 << 16, 8 << 20).min(cap - out.len());
        out.try_reserve_exact(room).map_err(|e| Error::new(ErrorKind::OutOfMemory, e.to_string()))?;
        let before = (state.total_in(), out.len());
        let status = state
            .decompress_vec(&deflated[used..], &mut out, flate2::FlushDecompress::None)
            .map_err(|e| Error::new(ErrorKind::CorruptFile, format!("the deflated data set is damaged: {e}")).caused_by(e))?;
        if status == flate2::Status::StreamEnd {
            return Ok(out);
        }
        if before == (state.total_in(), out.len()) {
            return Err(Error::new(ErrorKind::CorruptFile, "the deflated data set ends early"));
        }
    }
}

#[derive(Default)]
struct Meta {
    syntax_uid: Option<String>,
    media_class: Option<String>,
    /// Where the data set starts.
    end: usize,
}

/// Reads the elements of group 0002, which are explicit VR little endian whatever follows. Their group length is not needed.
fn read_meta(bytes: &[u8], start: usize, total: usize) -> Result<Meta, Stop> {
    let mut meta = Meta { end: start, ..Meta::default() };
    while let Some(head) = bytes.get(meta.end..meta.end + 8).filter(|h| is_meta(h)) {
        let vr = [head[4], head[5]];
        let (length, value) = if !is_vr_letters(vr) {
            (u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize, meta.end + 8)
        } else if prescan::has_long_length(vr) {
            let long = bytes.get(meta.end + 8..meta.end + 12).ok_or(Stop::NeedMore(meta.end + 12))?;
            (u32::from_le_bytes([long[0], long[1], long[2], long[3]]) as usize, meta.end + 12)
        } else {
            (usize::from(u16::from_le_bytes([head[6], head[7]])), meta.end + 8)
        };
        let tag = Tag::new(2, u16::from_le_bytes([head[2], head[3]]));
        if length > total.saturating_sub(value) {
            return Err(Stop::corrupt(format!("{tag} states a length of {length} bytes where {} are left", total.saturating_sub(value))));
        }
        let text = bytes.get(value..value + length).ok_or(Stop::NeedMore(value + length))?;
        match tag {
            tags::TRANSFER_SYNTAX => meta.syntax_uid = Some(uid(text)),
            tags::MEDIA_SOP_CLASS => meta.media_class = Some(uid(text)),
            _ => {}
        }
        meta.end = value + length;
    }
    if meta.end + 8 > bytes.len() && bytes.len() < total {
        return Err(Stop::NeedMore(meta.end + 8));
    }
    meta.syntax_uid = meta.syntax_uid.filter(|s| !s.is_empty());
    Ok(meta)
}

fn is_vr_letters(vr: [u8; 2]) -> bool {
    vr.iter().all(u8::is_ascii_uppercase)
}

/// A UID without its padding; anything but digits and dots is dropped, so that it may stand in messages.
fn uid(bytes: &[u8]) -> String {
    bytes.iter().filter(|b| b.is_ascii_digit() || **b == b'.').take(64).map(|b| char::from(*b)).collect()
}

fn is_meta(bytes: &[u8]) -> bool {
    bytes.starts_with(&[2, 0])
}

/// The encoding that the first element of a data set shows. Data sets start in group 0008, with a short value.
fn detect(bytes: &[u8]) -> Option<Encoding> {
    let head: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    let vr = [head[4], head[5]];
    match [head[0], head[1]] {
        [8, 0] if prescan::is_vr(vr) => Some(Encoding::EXPLICIT_LE),
        [0, 8] if prescan::is_vr(vr) => Some(Encoding::EXPLICIT_BE),
        [8, 0] => {
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
            (length <= 1024).then_some(Encoding::IMPLICIT_LE)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflating_stops_at_the_cap_and_at_the_end() {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let mut bytes = encoder.finish().unwrap();
        assert_eq!(inflate(&bytes, (1 << 20) + 1).unwrap().len(), 1 << 20);
        assert_eq!(inflate(&bytes, 1 << 19).unwrap_err().kind(), ErrorKind::TooLarge);
        bytes.push(0);
        assert_eq!(inflate(&bytes, (1 << 20) + 1).unwrap().len(), 1 << 20, "a padding byte behind the end is ignored");
        bytes.truncate(bytes.len() / 2);
        assert_eq!(inflate(&bytes, (1 << 20) + 1).unwrap_err().kind(), ErrorKind::CorruptFile);
    }
}
