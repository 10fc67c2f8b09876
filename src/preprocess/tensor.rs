//! A scan that the host has windowed itself.

use crate::tensor::{Extent, SliceSource};
use crate::{Error, ErrorKind, Result};

/// Float32 NCHW: [slices, channels, height, width], row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanTensor {
    data: Vec<f32>,
    slices: usize,
    channels: usize,
    extent: Extent,
}

impl ScanTensor {
    /// Takes the values as they are.
    ///
    /// # Errors
    /// `bad_geometry` when a dimension is 0, the number of values does not match, or a value is not finite.
    pub fn new(data: Vec<f32>, slices: usize, channels: usize, extent: Extent) -> Result<Self> {
        let shape = [slices, channels, extent.height, extent.width];
        let values = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if values != Some(data.len()) || data.is_empty() {
            let message = format!("a scan tensor of shape {shape:?} cannot hold {} values", data.len());
            return Err(Error::new(ErrorKind::BadGeometry, message));
        }
        if let Some(i) = data.iter().position(|v| !v.is_finite()) {
            return Err(Error::new(ErrorKind::BadGeometry, format!("value {i} of the scan tensor is {}", data[i])));
        }
        Ok(Self { data, slices, channels, extent })
    }
}

impl SliceSource for ScanTensor {
    fn slices(&self) -> usize {
        self.slices
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn extent(&self) -> Extent {
        self.extent
    }

    fn write_slice(&self, index: usize, dst: &mut [f32]) {
        let len = self.channels * self.extent.area();
        dst.copy_from_slice(&self.data[index * len..][..len]);
    }
}
