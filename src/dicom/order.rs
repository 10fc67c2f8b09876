//! The order of the slices: along their normal from inferior to superior, one slice a position.

use super::geometry::Frame;
use super::group::{Group, images, rank};
use super::header::SliceHeader;
use crate::{Finding, FindingCode};

/// Positions this close are one, in mm. The added part absorbs the rounding of decimal numbers.
const SAME_POSITION_MM: f64 = 0.01 + 1e-9;

/// Slices in order, each with its position along the normal (none for a slice that is alone and does not say).
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) frame: Frame,
    pub(super) headers: Vec<SliceHeader>,
    pub(super) positions_mm: Vec<Option<f64>>,
}

/// Sorts a group by position; of several slices within 0.01 mm the lowest (InstanceNumber, SOP UID) stays.
pub(super) fn stack(group: Group) -> (Stack, Option<Finding>) {
    let Group { frame, headers } = group;
    let mut placed: Vec<(Option<f64>, SliceHeader)> =
        headers.into_iter().map(|h| (h.image_position.as_ref().map(|p| frame.position(p)), h)).collect();
    placed.sort_by(|(a, x), (b, y)| a.unwrap_or(0.0).total_cmp(&b.unwrap_or(0.0)).then_with(|| rank(x).cmp(&rank(y))));

    let mut kept: Vec<(Option<f64>, SliceHeader)> = Vec::with_capacity(placed.len());
    let mut duplicates = Duplicates::default();
    let mut cluster_start = f64::NEG_INFINITY;
    for (position, header) in placed {
        let here = position.unwrap_or(0.0);
        match kept.last_mut() {
            Some(last) if here - cluster_start <= SAME_POSITION_MM => {
                duplicates.count(here, last.1.sop_instance_uid == header.sop_instance_uid);
                if rank(&header) < rank(&last.1) {
                    *last = (position, header);
                }
            }
            _ => {
                cluster_start = here;
                kept.push((position, header));
            }
        }
    }
    let finding = duplicates.finding();
    let (positions_mm, headers) = kept.into_iter().unzip();
    (Stack { frame, headers, positions_mm }, finding)
}

#[derive(Default)]
struct Duplicates {
    dropped: usize,
    copies: usize,
    first_mm: f64,
}

impl Duplicates {
    fn count(&mut self, position_mm: f64, same_object: bool) {
        if self.dropped == 0 {
            self.first_mm = position_mm;
        }
        self.dropped += 1;
        self.copies += usize::from(same_object);
    }

    /// Copies of one object are harmless; two different images of one place are not.
    fn finding(&self) -> Option<Finding> {
        if self.dropped == 0 {
            return None;
        }
        let at = format!("left out: another slice lies at the same position (first at {:.2} mm)", self.first_mm);
        if self.copies == self.dropped {
            return Some(Finding::info(
                FindingCode::DuplicateSlice,
                format!("{} {at}; all are copies of the slices kept", images(self.dropped)),
            ));
        }
        let message = format!("{} {at}; the lowest instance number stays", images(self.dropped));
        Some(Finding::warning(FindingCode::DuplicateSlice, message))
    }
}
