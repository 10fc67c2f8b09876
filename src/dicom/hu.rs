//! Stored values to Hounsfield units (spec: model.md, arithmetic 1).

use super::header::{Rescale, SliceHeader};
use crate::finding::{Finding, FindingCode};
use crate::volume::HuPixels;
use crate::{Error, ErrorKind, Result};

/// The range that HU are clamped to.
const MIN_HU: i32 = -1024;
const MAX_HU: i32 = 3071;
/// A padding value that maps above this is tissue, not air.
const PADDING_CEILING_HU: f64 = -500.0;

/// How the words of one slice become HU; made only from a format that makes sense.
#[derive(Debug)]
pub(crate) struct Transform {
    rescale: Rescale,
    signed: bool,
    bytes_per_word: usize,
    bits_stored: u32,
    high_bit: u32,
    pixels: usize,
    /// Stored values that become -1024, inclusive; none when the range is empty.
    padding: (i64, i64),
    padding_ignored: Option<f64>,
    monochrome1: bool,
}

impl Transform {
    /// # Errors
    /// `bad_rescale`; `no_usable_series` for colour; `corrupt_file` for bit counts that contradict each other.
    pub(crate) fn new(header: &SliceHeader) -> Result<Self> {
        let f = &header.pixels;
        if f.samples_per_pixel != 1 || !matches!(f.photometric.as_str(), "MONOCHROME1" | "MONOCHROME2" | "") {
            let photometric: String = f.photometric.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(16).collect();
            let message = format!("{} samples per pixel of '{photometric}' are not Hounsfield units", f.samples_per_pixel);
            return Err(Error::new(ErrorKind::NoUsableSeries, message));
        }
        let fits = matches!(f.bits_allocated, 8 | 16 | 32) && f.bits_stored >= 1 && f.high_bit < f.bits_allocated;
        if !fits || f.bits_stored > f.high_bit + 1 {
            let message = format!(
                "BitsAllocated {}, BitsStored {} and HighBit {} do not describe a pixel of 8, 16 or 32 bits",
                f.bits_allocated, f.bits_stored, f.high_bit
            );
            return Err(Error::new(ErrorKind::CorruptFile, message));
        }
        let rescale = f.rescale.clone().map_err(|message| Error::new(ErrorKind::BadRescale, message))?;
        let padding_hu = f.padding_value.map(|v| v as f64 * rescale.slope + rescale.intercept);
        let padding_ignored = padding_hu.filter(|hu| *hu > PADDING_CEILING_HU);
        let padding = match f.padding_value {
            Some(value) if padding_ignored.is_none() => {
                let limit = f.padding_limit.unwrap_or(value);
                (value.min(limit), value.max(limit))
            }
            _ => (1, 0),
        };
        Ok(Self {
            rescale,
            signed: f.signed,
            bytes_per_word: usize::from(f.bits_allocated / 8),
            bits_stored: f.bits_stored.into(),
            high_bit: f.high_bit.into(),
            pixels: header.rows * header.cols,
            padding,
            padding_ignored,
            monochrome1: f.photometric == "MONOCHROME1",
        })
    }

    /// What the format alone gives reason to say.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(hu) = self.padding_ignored {
            let message = format!("PixelPaddingValue (0028,0120) maps to {hu} HU, which is tissue: it was ignored");
            findings.push(Finding::warning(FindingCode::PaddingIgnored, message));
        }
        if self.monochrome1 {
            let message = "PhotometricInterpretation is MONOCHROME1: values were read as HU, not inverted";
            findings.push(Finding::info(FindingCode::Monochrome1, message));
        }
        findings
    }

    /// HU of a frame of words, and whether any value but padding had to be clamped.
    pub(crate) fn apply(&self, words: &[u8], big_endian: bool) -> Result<(HuPixels, bool)> {
        if words.len() != self.pixels * self.bytes_per_word {
            let message = format!("{} bytes of pixels where {} belong", words.len(), self.pixels * self.bytes_per_word);
            return Err(Error::new(ErrorKind::CorruptFile, message));
        }
        match (self.bytes_per_word, big_endian) {
            (1, _) => self.convert(words.iter().map(|b| u32::from(*b))),
            (2, false) => self.convert(words.as_chunks().0.iter().map(|b| u32::from(u16::from_le_bytes(*b)))),
            (2, true) => self.convert(words.as_chunks().0.iter().map(|b| u32::from(u16::from_be_bytes(*b)))),
            (_, false) => self.convert(words.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b))),
            (_, true) => self.convert(words.as_chunks().0.iter().map(|b| u32::from_be_bytes(*b))),
        }
    }

    fn convert(&self, words: impl ExactSizeIterator<Item = u32>) -> Result<(HuPixels, bool)> {
        let whole = |v: f64, limit: f64| v.fract() == 0.0 && v.abs() <= limit;
        // Within these limits the product and sum fit 32 bits and are what float64 would give.
        if self.bits_stored <= 16 && whole(self.rescale.slope, 1024.0) && whole(self.rescale.intercept, 1_048_576.0) {
            self.convert_whole(words)
        } else {
            self.convert_float(words)
        }
    }

    /// The stored value in the low bits, sign or zero extended.
    #[inline(always)]
    fn stored(&self, word: u32) -> (i32, u32) {
        let top = word << (31 - self.high_bit);
        let down = 32 - self.bits_stored;
        (top.cast_signed() >> down, top >> down)
    }

    fn convert_whole(&self, words: impl ExactSizeIterator<Item = u32>) -> Result<(HuPixels, bool)> {
        let (slope, intercept) = (self.rescale.slope as i32, self.rescale.intercept as i32);
        let (low, high) = self.padding;
        let low = low.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        let high = high.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        let mut pixels = allocate::<i16>(self.pixels)?;
        let mut outside = 0i32;
        let mut push = |stored: i32| {
            let hu = stored * slope + intercept;
            let padded = (stored >= low) & (stored <= high);
            outside |= i32::from(!padded & !(MIN_HU..=MAX_HU).contains(&hu));
            if padded { MIN_HU as i16 } else { hu.clamp(MIN_HU, MAX_HU) as i16 }
        };
        if self.signed {
            pixels.extend(words.map(|w| push(self.stored(w).0)));
        } else {
            pixels.extend(words.map(|w| push(self.stored(w).1.cast_signed())));
        }
        Ok((HuPixels::Int(pixels), outside != 0))
    }

    fn convert_float(&self, words: impl ExactSizeIterator<Item = u32>) -> Result<(HuPixels, bool)> {
        let Rescale { slope, intercept } = self.rescale;
        let (low, high) = self.padding;
        let mut pixels = allocate::<f32>(self.pixels)?;
        let (mut outside, mut whole) = (false, true);
        pixels.extend(words.map(|w| {
            let (signed, unsigned) = self.stored(w);
            let stored = if self.signed { i64::from(signed) } else { i64::from(unsigned) };
            let hu = (stored as f64 * slope + intercept) as f32;
            let padded = (low..=high).contains(&stored);
            outside |= !padded && !(MIN_HU as f32..=MAX_HU as f32).contains(&hu);
            let hu = if padded { MIN_HU as f32 } else { hu.clamp(MIN_HU as f32, MAX_HU as f32) };
            whole &= hu.fract() == 0.0;
            hu
        }));
        if whole {
            let mut narrow = allocate::<i16>(self.pixels)?;
            narrow.extend(pixels.iter().map(|hu| *hu as i16));
            return Ok((HuPixels::Int(narrow), outside));
        }
        Ok((HuPixels::Float(pixels), outside))
    }
}

fn allocate<T>(n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|e| Error::new(ErrorKind::OutOfMemory, e.to_string()))?;
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::super::header::PixelFormat;
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn header(pixels: PixelFormat, cols: usize) -> SliceHeader {
        SliceHeader {
            path: Arc::new(PathBuf::new()),
            sop_class_uid: String::new(),
            sop_instance_uid: String::new(),
            study_instance_uid: String::new(),
            series_instance_uid: String::new(),
            transfer_syntax_uid: String::new(),
            modality: "CT".into(),
            image_type: Vec::new(),
            series_description: String::new(),
            body_part: String::new(),
            convolution_kernel: Vec::new(),
            contrast: false,
            lossy: false,
            manufacturer: String::new(),
            series_number: None,
            instance_number: None,
            slice_thickness_mm: None,
            gantry_tilt_deg: None,
            image_position: None,
            image_orientation: None,
            pixel_spacing_mm: None,
            rows: 1,
            cols,
            frames: 1,
            pixels,
        }
    }

    fn format(bits: [u16; 3], signed: bool, slope: f64, intercept: f64) -> PixelFormat {
        PixelFormat {
            samples_per_pixel: 1,
            photometric: "MONOCHROME2".into(),
            bits_allocated: bits[0],
            bits_stored: bits[1],
            high_bit: bits[2],
            signed,
            rescale: Ok(Rescale { slope, intercept }),
            padding_value: None,
            padding_limit: None,
        }
    }

    fn hu16(pixels: PixelFormat, words: &[u16]) -> (HuPixels, bool) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let swapped: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        let transform = Transform::new(&header(pixels, words.len())).unwrap();
        let little = transform.apply(&bytes, false).unwrap();
        assert_eq!(little, transform.apply(&swapped, true).unwrap(), "byte order must not matter");
        little
    }

    #[test]
    fn bits_above_and_below_the_stored_value_are_masked() {
        // Overlay bits above a 12-bit value: unsigned and signed.
        assert_eq!(hu16(format([16, 12, 11], false, 1.0, -1024.0), &[0xF400, 0x0000, 0x1FFF]).0, HuPixels::Int(vec![0, -1024, 3071]));
        assert_eq!(hu16(format([16, 12, 11], true, 1.0, 0.0), &[0xFFFF, 0x07FF, 0x1C18]).0, HuPixels::Int(vec![-1, 2047, -1000]));
        // A 12-bit value in the high bits of the word.
        assert_eq!(hu16(format([16, 12, 15], true, 1.0, 0.0), &[0xFFF3, 0x7FF0]).0, HuPixels::Int(vec![-1, 2047]));
        assert_eq!(hu16(format([16, 16, 15], true, 1.0, 0.0), &[0xFC18, 0x03E8]).0, HuPixels::Int(vec![-1000, 1000]));
    }

    #[test]
    fn eight_and_thirty_two_bits() {
        let t = Transform::new(&header(format([8, 8, 7], true, 4.0, 0.0), 2)).unwrap();
        assert_eq!(t.apply(&[0xFF, 0x7F], false).unwrap().0, HuPixels::Int(vec![-4, 508]));
        let t = Transform::new(&header(format([32, 32, 31], false, 1.0, -4_294_967_290.0), 1)).unwrap();
        assert_eq!(t.apply(&[0xFF; 4], false).unwrap().0, HuPixels::Int(vec![5]));
        let t = Transform::new(&header(format([32, 20, 19], true, 1.0, 0.0), 1)).unwrap();
        assert_eq!(t.apply(&[0xFE, 0xFF, 0x0F, 0x00], false).unwrap().0, HuPixels::Int(vec![-2]));
    }

    #[test]
    fn a_fractional_rescale_is_float64_rounded_once() {
        let (slope, intercept) = (0.1, -1000.3);
        let (pixels, _) = hu16(format([16, 16, 15], false, slope, intercept), &[0, 3, 65535]);
        let expected: Vec<f32> = [0.0f64, 3.0, 65535.0].iter().map(|s| ((s * slope + intercept) as f32).clamp(-1024.0, 3071.0)).collect();
        assert_eq!(pixels, HuPixels::Float(expected));
        assert_eq!(hu16(format([16, 16, 15], false, 0.5, 0.0), &[2, 4]).0, HuPixels::Int(vec![1, 2]), "whole results stay whole");
    }

    #[test]
    fn padding_is_a_range_of_stored_values_in_either_order() {
        let mut f = format([16, 16, 15], true, 1.0, 0.0);
        (f.padding_value, f.padding_limit) = (Some(-2000), Some(-3000));
        let words = [-2000i16, -2500, -3000, -3001, -1999, 40].map(|v| v as u16);
        assert_eq!(hu16(f.clone(), &words), (HuPixels::Int(vec![-1024, -1024, -1024, -1024, -1024, 40]), true));
        assert!(!hu16(f.clone(), &words[..3]).1, "padding does not count as clamped");
        f.padding_limit = None;
        f.padding_value = Some(-600);
        assert_eq!(hu16(f.clone(), &[-600i16, -601].map(|v| v as u16)).0, HuPixels::Int(vec![-1024, -601]));
        // The padding value decides, not the limit: -500 is still padding, -499 is tissue.
        (f.padding_value, f.padding_limit) = (Some(-500), Some(100));
        assert_eq!(hu16(f.clone(), &[50]).0, HuPixels::Int(vec![-1024]));
        f.padding_value = Some(-499);
        assert_eq!(hu16(f.clone(), &[50]).0, HuPixels::Int(vec![50]));
        let findings = Transform::new(&header(f, 1)).unwrap().findings();
        assert_eq!(findings[0].code, FindingCode::PaddingIgnored);
    }

    #[test]
    fn impossible_formats_are_refused() {
        for bits in [[16, 0, 0], [16, 33, 32], [16, 17, 16], [12, 12, 11], [16, 16, 14], [0, 0, 0], [64, 16, 15], [16, 65535, 65535]] {
            let error = Transform::new(&header(format(bits, false, 1.0, 0.0), 1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptFile, "{bits:?}");
        }
        let mut f = format([16, 16, 15], false, 1.0, 0.0);
        f.rescale = Err("RescaleSlope (0028,1053) is missing".into());
        assert_eq!(Transform::new(&header(f, 1)).unwrap_err().kind(), ErrorKind::BadRescale);
        let mut f = format([8, 8, 7], false, 1.0, 0.0);
        f.samples_per_pixel = 3;
        assert_eq!(Transform::new(&header(f, 1)).unwrap_err().kind(), ErrorKind::NoUsableSeries);
    }
}
