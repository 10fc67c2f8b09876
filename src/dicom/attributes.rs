//! From the elements of a file to a [`SliceHeader`].

use super::container::Parsed;
use super::header::{PixelFormat, Rescale, SliceHeader};
use super::limits::Limits;
use super::tags::{self, Tag};
use super::values::Kind;
use crate::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Enhanced CT and its converted legacy form: many slices in one object, each with its own functional groups.
const ENHANCED_CT: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"];

/// Reads and checks what the header of an image says.
///
/// Attributes that only geometry or the choice of a series needs are absent when they cannot be read; those that pixels hang on are errors.
pub(crate) fn slice_header(parsed: &Parsed<'_>, path: Arc<PathBuf>, limits: &Limits) -> Result<SliceHeader> {
    let sop_class_uid = parsed.uid(tags::SOP_CLASS_UID);
    let header = SliceHeader {
        path,
        sop_instance_uid: parsed.uid(tags::SOP_INSTANCE_UID),
        study_instance_uid: parsed.uid(tags::STUDY_INSTANCE_UID),
        series_instance_uid: parsed.uid(tags::SERIES_INSTANCE_UID),
        transfer_syntax_uid: parsed.syntax_uid.clone(),
        modality: parsed.text(tags::MODALITY).to_ascii_uppercase(),
        image_type: parsed.texts(tags::IMAGE_TYPE).into_iter().map(|s| s.to_ascii_uppercase()).collect(),
        series_description: parsed.text(tags::SERIES_DESCRIPTION),
        body_part: parsed.text(tags::BODY_PART),
        convolution_kernel: parsed.texts(tags::CONVOLUTION_KERNEL),
        contrast: !parsed.text(tags::CONTRAST_BOLUS_AGENT).is_empty(),
        lossy: parsed.text(tags::LOSSY_COMPRESSION) == "01" || parsed.syntax.is_some_and(|s| s.lossy),
        manufacturer: parsed.text(tags::MANUFACTURER),
        series_number: whole(parsed, tags::SERIES_NUMBER),
        instance_number: whole(parsed, tags::INSTANCE_NUMBER),
        slice_thickness_mm: decimal(parsed, tags::SLICE_THICKNESS),
        gantry_tilt_deg: decimal(parsed, tags::GANTRY_TILT),
        image_position: parsed.exactly(tags::IMAGE_POSITION, Kind::Decimal).ok().flatten(),
        image_orientation: parsed.exactly(tags::IMAGE_ORIENTATION, Kind::Decimal).ok().flatten(),
        pixel_spacing_mm: parsed.exactly(tags::PIXEL_SPACING, Kind::Decimal).ok().flatten(),
        rows: side(parsed, tags::ROWS, "Rows", limits.max_rows)?,
        cols: side(parsed, tags::COLUMNS, "Columns", limits.max_cols)?,
        frames: frames(parsed)?,
        pixels: pixel_format(parsed)?,
        sop_class_uid,
    };
    if header.modality == "CT" {
        refuse_multi_frame(&header, limits)?;
    }
    Ok(header)
}

/// Enhanced CT and other multi-frame objects are refused by name: their frames carry geometry and rescale of their own.
pub(crate) fn refuse_multi_frame(header: &SliceHeader, limits: &Limits) -> Result<()> {
    let enhanced = ENHANCED_CT.contains(&header.sop_class_uid.as_str());
    if !enhanced && header.frames <= limits.max_frames {
        return Ok(());
    }
    let what = if enhanced { "an Enhanced CT object" } else { "a multi-frame object" };
    let message = format!("this is {what} with {} frames: only objects of one slice each are read", header.frames);
    Err(Error::new(ErrorKind::NoUsableSeries, message))
}

fn decimal(parsed: &Parsed<'_>, tag: Tag) -> Option<f64> {
    parsed.exactly::<1>(tag, Kind::Decimal).ok().flatten().map(|[v]| v)
}

fn whole(parsed: &Parsed<'_>, tag: Tag) -> Option<i64> {
    decimal(parsed, tag).filter(|v| v.fract() == 0.0 && v.abs() < 1e15).map(|v| v as i64)
}

fn side(parsed: &Parsed<'_>, tag: Tag, name: &str, limit: usize) -> Result<usize> {
    let n = usize::from(required(parsed, tag, name)?);
    match n {
        0 => Err(Error::new(ErrorKind::CorruptFile, format!("{name} {tag} is 0"))),
        n if n > limit => Err(Error::new(ErrorKind::TooLarge, format!("{name} {tag} is {n}, more than {limit}"))),
        n => Ok(n),
    }
}

fn required(parsed: &Parsed<'_>, tag: Tag, name: &str) -> Result<u16> {
    match parsed.short(tag) {
        Ok(Some(v)) => Ok(v),
        Ok(None) => Err(Error::new(ErrorKind::CorruptFile, format!("{name} {tag} is missing"))),
        Err(message) => Err(Error::new(ErrorKind::CorruptFile, format!("{name} {message}"))),
    }
}

fn frames(parsed: &Parsed<'_>) -> Result<usize> {
    let corrupt = |m: String| Error::new(ErrorKind::CorruptFile, format!("NumberOfFrames {m}"));
    match parsed.exactly::<1>(tags::NUMBER_OF_FRAMES, Kind::Decimal).map_err(corrupt)? {
        None => Ok(1),
        Some([n]) if n.fract() == 0.0 && (1.0..=2_147_483_647.0).contains(&n) => Ok(n as usize),
        Some([n]) => Err(corrupt(format!("{} is {n}", tags::NUMBER_OF_FRAMES))),
    }
}

fn pixel_format(parsed: &Parsed<'_>) -> Result<PixelFormat> {
    let signed = match required(parsed, tags::PIXEL_REPRESENTATION, "PixelRepresentation")? {
        0 => false,
        1 => true,
        n => return Err(Error::new(ErrorKind::CorruptFile, format!("PixelRepresentation {} is {n}", tags::PIXEL_REPRESENTATION))),
    };
    let bits_stored = required(parsed, tags::BITS_STORED, "BitsStored")?;
    Ok(PixelFormat {
        samples_per_pixel: if parsed.has(tags::SAMPLES_PER_PIXEL) {
            required(parsed, tags::SAMPLES_PER_PIXEL, "SamplesPerPixel")?
        } else {
            1
        },
        photometric: parsed.text(tags::PHOTOMETRIC).to_ascii_uppercase(),
        bits_allocated: required(parsed, tags::BITS_ALLOCATED, "BitsAllocated")?,
        bits_stored,
        high_bit: if parsed.has(tags::HIGH_BIT) { required(parsed, tags::HIGH_BIT, "HighBit")? } else { bits_stored.saturating_sub(1) },
        signed,
        rescale: rescale(parsed),
        padding_value: padding(parsed, tags::PIXEL_PADDING_VALUE, signed),
        padding_limit: padding(parsed, tags::PIXEL_PADDING_LIMIT, signed),
    })
}

fn rescale(parsed: &Parsed<'_>) -> std::result::Result<Rescale, String> {
    let one = |tag, name: &str| match parsed.exactly::<1>(tag, Kind::Decimal) {
        Ok(Some([v])) => Ok(v),
        Err(message) => Err(format!("{name} {message}")),
        Ok(None) if parsed.has(tags::MODALITY_LUT) => {
            Err(format!("the file has a Modality LUT Sequence {} in place of {name} {tag}, which is not read", tags::MODALITY_LUT))
        }
        Ok(None) if parsed.has(tag) => Err(format!("{name} {tag} is empty")),
        Ok(None) => Err(format!("{name} {tag} is missing")),
    };
    let (slope, intercept) = (one(tags::RESCALE_SLOPE, "RescaleSlope")?, one(tags::RESCALE_INTERCEPT, "RescaleIntercept")?);
    if slope == 0.0 {
        return Err(format!("RescaleSlope {} is 0", tags::RESCALE_SLOPE));
    }
    Ok(Rescale { slope, intercept })
}

/// A padding value as a stored value. Writers use US and SS at will: the sign follows PixelRepresentation, whatever the VR says.
fn padding(parsed: &Parsed<'_>, tag: Tag, signed: bool) -> Option<i64> {
    let [v] = parsed.exactly::<1>(tag, Kind::Short).ok()??;
    let v = (v.fract() == 0.0 && v.abs() < 2e9).then_some(v as i64)?;
    Some(match (signed, v) {
        (true, 32768..=65535) => v - 65536,
        (false, -32768..=-1) => v + 65536,
        _ => v,
    })
}
