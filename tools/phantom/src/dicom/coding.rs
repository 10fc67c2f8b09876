//! How a scanner stores Hounsfield units.

use crate::rng::Rng;
use crate::scan::Scan;
use crate::scanner::Scanner;

/// Pixel format and rescale of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// PixelRepresentation 1.
    pub signed: bool,
    /// BitsStored.
    pub bits_stored: u16,
    /// RescaleIntercept.
    pub intercept: i32,
    /// PixelPaddingValue, stored outside the reconstruction circle.
    pub padding: Option<i16>,
}

impl Coding {
    /// The habit of the scan's scanner.
    pub fn of(scan: &Scan) -> Self {
        match scan.plan.scanner {
            Scanner::Ge if Rng::new(scan.settings.seed, "coding").chance(0.5) => {
                Self { signed: true, bits_stored: 16, intercept: 0, padding: Some(-1500) }
            }
            Scanner::Ge => Self { signed: true, bits_stored: 16, intercept: -1024, padding: Some(-2000) },
            Scanner::Siemens | Scanner::Philips => Self { signed: false, bits_stored: 12, intercept: -1024, padding: None },
            Scanner::Toshiba => Self { signed: true, bits_stored: 16, intercept: 0, padding: None },
        }
    }

    /// Stored values of one slice, as the 16-bit words of PixelData.
    pub fn stored(&self, hu: &[i16], size: usize) -> Vec<u16> {
        let half = (size as f32 - 1.0) / 2.0;
        let outside = |index: usize| {
            let (x, y) = ((index % size) as f32 - half, (index / size) as f32 - half);
            x * x + y * y > (half + 0.5) * (half + 0.5)
        };
        let (low, high) = if self.signed {
            (-(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1)
        } else {
            (0, (1 << self.bits_stored) - 1)
        };
        let value = |(index, &hu): (usize, &i16)| match self.padding {
            Some(padding) if outside(index) => padding as u16,
            _ => (i32::from(hu) - self.intercept).clamp(low, high) as u16,
        };
        hu.iter().enumerate().map(value).collect()
    }
}
