//! The pictures of one study in the report.

use crate::Result;
use crate::report::maps::ScanView;

/// How many slices are shown large.
const SHOWN: usize = 3;

/// PNG files in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StudyPictures {
    /// The most suspicious slices by index, most suspicious first.
    pub slices: Vec<(usize, Vec<u8>)>,
    /// All slices.
    pub contact_sheet: Option<Vec<u8>>,
}

impl StudyPictures {
    /// Draws the slices with the highest probability of any class, and the contact sheet.
    ///
    /// # Errors
    /// `io` when a picture cannot be encoded.
    pub fn draw(view: &ScanView<'_>) -> Result<Self> {
        let study = view.study;
        let mut order: Vec<usize> = (0..study.slices.len()).collect();
        order.sort_by(|a, b| study.suspicion(*b).total_cmp(&study.suspicion(*a)));
        let slices = order.into_iter().take(SHOWN).map(|i| Ok((i, view.overlay(i).to_png()?))).collect::<Result<_>>()?;
        Ok(Self { slices, contact_sheet: Some(view.contact_sheet().to_png()?) })
    }
}
