//! Synthetic headers and minimal DICOM files.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use radnet::dicom::header::{PixelFormat, Rescale, SliceHeader};
use radnet::dicom::{DiscoverOptions, Series, StudyOutcome, arrange};
use radnet::{FindingCode, Severity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
pub const SAGITTAL: [f64; 6] = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0];
pub const CORONAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0];

/// An axial CT slice, 5 mm thick, at height `z`.
pub fn slice(series: &str, number: i64, z: f64) -> SliceHeader {
    SliceHeader {
        path: Arc::new(PathBuf::from(format!("{series}/{number:04}"))),
        sop_class_uid: CT.into(),
        sop_instance_uid: format!("{series}.{number}"),
        study_instance_uid: "1.2".into(),
        series_instance_uid: series.into(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".into(),
        modality: "CT".into(),
        image_type: ["ORIGINAL", "PRIMARY", "AXIAL"].map(String::from).into(),
        series_description: String::new(),
        body_part: String::new(),
        convolution_kernel: Vec::new(),
        contrast: false,
        lossy: false,
        manufacturer: String::new(),
        series_number: series.rsplit('.').next().and_then(|n| n.parse().ok()),
        instance_number: Some(number),
        slice_thickness_mm: Some(5.0),
        gantry_tilt_deg: None,
        image_position: Some([-100.0, -120.0, z]),
        image_orientation: Some(AXIAL),
        pixel_spacing_mm: Some([0.5, 0.5]),
        rows: 64,
        cols: 64,
        frames: 1,
        pixels: PixelFormat {
            samples_per_pixel: 1,
            photometric: "MONOCHROME2".into(),
            bits_allocated: 16,
            bits_stored: 16,
            high_bit: 15,
            signed: true,
            rescale: Ok(Rescale { slope: 1.0, intercept: 0.0 }),
            padding_value: None,
            padding_limit: None,
        },
    }
}

/// `n` slices of 5 mm, one above the other.
pub fn stack(series: &str, n: i64) -> Vec<SliceHeader> {
    (0..n).map(|i| slice(series, i + 1, i as f64 * 5.0)).collect()
}

pub fn with(mut images: Vec<SliceHeader>, change: impl Fn(&mut SliceHeader)) -> Vec<SliceHeader> {
    images.iter_mut().for_each(change);
    images
}

pub fn at(series: &str, positions: &[f64]) -> Vec<SliceHeader> {
    positions.iter().zip(1..).map(|(z, i)| slice(series, i, *z)).collect()
}

/// The only outcome of these images.
pub fn outcome(images: Vec<SliceHeader>) -> StudyOutcome {
    outcome_named(images, None)
}

pub fn outcome_named(images: Vec<SliceHeader>, series: Option<&str>) -> StudyOutcome {
    let options = DiscoverOptions { series: series.map(str::to_owned), ..DiscoverOptions::default() };
    let mut outcomes = arrange(Path::new("here"), images, &options);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

pub fn read(images: Vec<SliceHeader>) -> Series {
    outcome(images).result.expect("the series is usable")
}

/// The error code and message of images that give no result.
pub fn refusal(images: Vec<SliceHeader>) -> (&'static str, String) {
    let error = outcome(images).result.expect_err("the series is not usable");
    (error.kind().code(), error.to_string())
}

pub fn codes(series: &Series) -> Vec<FindingCode> {
    series.findings().iter().map(|f| f.code).collect()
}

/// The message and severity of the only finding with this code.
pub fn said(series: &Series, code: FindingCode) -> (Severity, String) {
    let found: Vec<_> = series.findings().iter().filter(|f| f.code == code).collect();
    assert_eq!(found.len(), 1, "{code:?} in {:?}", series.findings());
    (found[0].severity, found[0].message.clone())
}

pub fn heights(series: &Series) -> Vec<f64> {
    series.positions_mm().iter().map(|p| p.expect("a position")).collect()
}

/// A small generator for shuffles; the seed says which.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
