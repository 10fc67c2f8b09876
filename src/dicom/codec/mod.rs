//! Pixel data of any transfer syntax to plain words.

mod fragments;
mod jpeg;
mod jpeg2000;
mod rle;

use super::container::Parsed;
use super::header::SliceHeader;
use super::limits::Limits;
use super::syntax::Codec;
use crate::{Error, ErrorKind, Result};
use std::borrow::Cow;

/// The words of a slice: `rows × cols` values of BitsAllocated bits.
pub(crate) struct Frame<'a> {
    pub(crate) words: Cow<'a, [u8]>,
    pub(crate) big_endian: bool,
    /// The codestream itself says that it is lossy.
    pub(crate) lossy: bool,
}

/// What a decoder may rely on: sides within the limits, and 1, 2 or 4 bytes a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) bytes_per_word: usize,
    /// PixelRepresentation is 1.
    pub(crate) signed: bool,
}

impl Shape {
    fn bytes(&self) -> usize {
        self.rows * self.cols * self.bytes_per_word
    }

    /// The codestream has to have the sides of the header.
    fn check(&self, rows: usize, cols: usize) -> Result<()> {
        if (rows, cols) == (self.rows, self.cols) {
            return Ok(());
        }
        Err(corrupt(format!("the codestream is {rows}×{cols} where Rows × Columns is {}×{}", self.rows, self.cols)))
    }
}

/// Decodes the pixel data; `header` has passed [`super::hu::Transform::new`].
pub(crate) fn frame<'a>(parsed: &'a Parsed<'_>, header: &SliceHeader, limits: &Limits) -> Result<Frame<'a>> {
    let shape = Shape {
        rows: header.rows,
        cols: header.cols,
        bytes_per_word: usize::from(header.pixels.bits_allocated / 8),
        signed: header.pixels.signed,
    };
    if shape.rows > limits.max_rows || shape.cols > limits.max_cols {
        let message = format!("{}×{} pixels, more than {}×{}", shape.rows, shape.cols, limits.max_rows, limits.max_cols);
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let syntax = parsed.syntax.filter(|s| s.codec != Codec::Refused).ok_or_else(|| {
        let name = parsed.syntax.map_or("unknown", |s| s.name);
        refused(format!("transfer syntax {} ({name}) is not read by this build", parsed.syntax_uid))
    })?;
    let pixels = parsed.scan.pixels.ok_or_else(|| corrupt("the pixel data is gone".into()))?;
    if syntax.codec == Codec::Native {
        let length = pixels.length.ok_or_else(|| corrupt(format!("encapsulated pixel data under {}", syntax.name)))?;
        let words = native(&parsed.data, pixels.start, length, shape)?;
        return Ok(Frame { words: Cow::Borrowed(words), big_endian: parsed.encoding.big_endian, lossy: false });
    }
    if pixels.length.is_some() {
        return Err(corrupt(format!("pixel data under {} is not encapsulated", syntax.name)));
    }
    let stream = fragments::gather(&parsed.data, pixels.start, limits)?;
    let (words, lossy) = match syntax.codec {
        Codec::Rle => (rle::decode(&stream, shape)?, false),
        Codec::Jpeg => jpeg::decode(&stream, shape)?,
        Codec::Jpeg2000 => jpeg2000::decode(&stream, shape)?,
        Codec::Native | Codec::Refused => return Err(refused(format!("{} is not read by this build", syntax.name))),
    };
    Ok(Frame { words: Cow::Owned(words), big_endian: false, lossy })
}

/// Plain pixel data. Some writers pad it to blocks; more than that behind the pixels means that Rows, Columns or bits are wrong.
fn native(data: &[u8], start: usize, length: usize, shape: Shape) -> Result<&[u8]> {
    let padding = 4096.max(shape.cols * shape.bytes_per_word);
    if length < shape.bytes() || length > shape.bytes() + padding {
        let Shape { rows, cols, bytes_per_word, .. } = shape;
        return Err(corrupt(format!("(7FE0,0010) has {length} bytes where {rows}×{cols} pixels of {bytes_per_word} bytes belong")));
    }
    data.get(start..start + shape.bytes()).ok_or_else(|| corrupt("the file ends inside the pixel data".into()))
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::CorruptFile, message)
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::UnsupportedTransferSyntax, message)
}

/// A zeroed buffer whose allocation may fail.
fn zeroed<T: Clone + Default>(n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|e| Error::new(ErrorKind::OutOfMemory, e.to_string()))?;
    v.resize(n, T::default());
    Ok(v)
}
