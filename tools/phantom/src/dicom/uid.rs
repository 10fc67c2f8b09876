//! Unique identifiers under 2.25, derived from everything that shapes the scan.

use crate::rng::Rng;
use crate::scan::Scan;

/// Identifiers of one scan.
#[derive(Clone, Debug)]
pub struct Uids {
    seed: u64,
    settings: String,
}

impl Uids {
    /// Equal settings give equal identifiers, any difference gives others.
    pub fn of(scan: &Scan) -> Self {
        Self { seed: scan.settings.seed, settings: format!("{:?}", scan.settings) }
    }

    /// StudyInstanceUID.
    pub fn study(&self) -> String {
        self.derive("study")
    }

    /// SeriesInstanceUID of the slices.
    pub fn series(&self) -> String {
        self.derive("series")
    }

    /// FrameOfReferenceUID.
    pub fn frame(&self) -> String {
        self.derive("frame")
    }

    /// SOPInstanceUID of a slice.
    pub fn instance(&self, index: usize) -> String {
        self.derive(&format!("instance {index}"))
    }

    /// Any further identifier, by name.
    pub fn derive(&self, name: &str) -> String {
        let mut rng = Rng::new(self.seed, &format!("{} {name}", self.settings));
        let random = (u128::from(rng.bits()) << 64) | u128::from(rng.bits());
        // The version (4) and variant bits of a random UUID, whose decimal form follows 2.25.
        let uuid = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        format!("2.25.{uuid}")
    }
}
