//! Scans made up for measuring.

use crate::suite::support::Random;
use radnet::preprocess::ScanTensor;
use radnet::tensor::Extent;
use radnet::{HuPixels, HuSlice, HuVolume};

/// Field of view of a head scan.
const FIELD_MM: f64 = 250.0;

/// int16 HU between 0 and 80 everywhere: no air to skip.
///
/// # Errors
/// No slices, or none of their pixels.
pub fn noise(slices: usize, side: usize, seed: u64) -> Result<HuVolume, String> {
    let mut random = Random::new(seed);
    let mut slice = |index: usize| HuSlice {
        pixels: HuPixels::Int((0..side * side).map(|_| random.below(81) as i16).collect()),
        sop_instance_uid: None,
        instance_number: Some(index as i64 + 1),
        position_mm: Some(index as f64 * 5.0),
    };
    let slices = (0..slices).map(&mut slice).collect();
    HuVolume::new(slices, side, side, Some([FIELD_MM / side as f64; 2])).map_err(|error| error.to_string())
}

/// A windowed float32 tensor of uniform noise.
///
/// # Errors
/// A dimension is 0.
pub fn tensor(slices: usize, channels: usize, side: usize, seed: u64) -> Result<ScanTensor, String> {
    let mut random = Random::new(seed);
    let data = (0..slices * channels * side * side).map(|_| random.uniform(0.0, 1.0) as f32).collect();
    ScanTensor::new(data, slices, channels, Extent { height: side, width: side }).map_err(|error| error.to_string())
}
