//! The attributes of one DICOM slice that the engine needs, parsed and validated once.

use crate::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// One image file, reduced to what selection, ordering and pixel decoding need. Lengths are bounded by the reader.
#[derive(Clone, Debug)]
pub struct SliceHeader {
    /// The file it was read from.
    pub path: Arc<PathBuf>,
    /// (0008,0016), empty when absent.
    pub sop_class_uid: String,
    /// (0008,0018).
    pub sop_instance_uid: String,
    /// (0020,000D).
    pub study_instance_uid: String,
    /// (0020,000E).
    pub series_instance_uid: String,
    /// (0002,0010).
    pub transfer_syntax_uid: String,
    /// (0008,0060), upper case, trimmed.
    pub modality: String,
    /// (0008,0008) values, upper case, trimmed.
    pub image_type: Vec<String>,
    /// (0008,103E) SeriesDescription: for choosing a series, never logged.
    pub series_description: String,
    /// (0018,0015) BodyPartExamined.
    pub body_part: String,
    /// (0018,1210) ConvolutionKernel values.
    pub convolution_kernel: Vec<String>,
    /// (0018,0010) ContrastBolusAgent present and not empty.
    pub contrast: bool,
    /// (0028,2110) is "01", or the transfer syntax is lossy.
    pub lossy: bool,
    /// (0008,0070).
    pub manufacturer: String,
    /// (0020,0011).
    pub series_number: Option<i64>,
    /// (0020,0013).
    pub instance_number: Option<i64>,
    /// (0018,0050), mm.
    pub slice_thickness_mm: Option<f64>,
    /// (0018,1120), degrees, as the tag says.
    pub gantry_tilt_deg: Option<f64>,
    /// (0020,0032), mm, patient coordinates (LPS).
    pub image_position: Option<[f64; 3]>,
    /// (0020,0037): direction of a row (first three), of a column (last three).
    pub image_orientation: Option<[f64; 6]>,
    /// (0028,0030): [between rows, between columns], mm.
    pub pixel_spacing_mm: Option<[f64; 2]>,
    /// (0028,0010) × (0028,0011).
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// (0028,0008), 1 when absent.
    pub frames: usize,
    /// Everything needed to turn stored values into HU.
    pub pixels: PixelFormat,
}

/// How stored values are laid out and what they mean.
#[derive(Clone, Debug)]
pub struct PixelFormat {
    /// (0028,0002).
    pub samples_per_pixel: u16,
    /// (0028,0004), trimmed.
    pub photometric: String,
    /// (0028,0100).
    pub bits_allocated: u16,
    /// (0028,0101).
    pub bits_stored: u16,
    /// (0028,0102).
    pub high_bit: u16,
    /// (0028,0103) is 1.
    pub signed: bool,
    /// RescaleSlope and RescaleIntercept, or why there are none (`bad_rescale`, raised when the slice is decoded).
    pub rescale: std::result::Result<Rescale, String>,
    /// (0028,0120), as a stored value.
    pub padding_value: Option<i64>,
    /// (0028,0121).
    pub padding_limit: Option<i64>,
}

/// hu = stored · slope + intercept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescale {
    /// (0028,1053).
    pub slope: f64,
    /// (0028,1052).
    pub intercept: f64,
}

impl SliceHeader {
    /// The file as an error context.
    pub(crate) fn blame(&self, error: Error) -> Error {
        error.in_file(self.path.as_ref())
    }
}

/// What a file turned out to be.
#[derive(Debug)]
pub enum FileContent {
    /// A DICOM object with pixel data.
    Image(Box<SliceHeader>),
    /// DICOM without pixels, a DICOMDIR, or no DICOM at all: ignored, with the reason in a few words.
    NotAnImage(&'static str),
    /// DICOM, but damaged or refused.
    Broken(Error),
}
