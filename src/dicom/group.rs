//! From the images of a series to those that share an orientation and a matrix: the largest group stays, the rest is said.

use super::geometry::Frame;
use super::header::SliceHeader;
use crate::{Error, ErrorKind, Finding, FindingCode};
use std::cmp::Reverse;

/// A series with more orientations and matrices than this is not a scan.
const MAX_GROUPS: usize = 64;
/// A group of at most this many images that cuts the others at a right angle is their scout.
const MAX_SCOUTS: usize = 3;

/// Images of one orientation and matrix.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) frame: Frame,
    pub(super) headers: Vec<SliceHeader>,
}

/// An order that depends on the images alone, whatever order the files came in: (InstanceNumber, SOP UID), then the path.
pub(super) fn rank(h: &SliceHeader) -> (bool, Option<i64>, &str, &std::path::Path) {
    (h.instance_number.is_none(), h.instance_number, &h.sop_instance_uid, h.path.as_path())
}

/// The largest group of parallel images with one matrix; of equal ones an axial one, then the one with the lowest instance.
///
/// # Errors
/// `bad_geometry` when images of that matrix, or all images, lack a usable ImageOrientationPatient or ImagePositionPatient. They
/// cannot be placed, and leaving them out would make the scan incomplete behind the user's back. An image that is alone in its series needs no
/// position.
pub(super) fn largest_group(mut images: Vec<SliceHeader>) -> crate::Result<(Group, Vec<Finding>)> {
    images.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let alone = images.len() == 1;
    let mut groups: Vec<Group> = Vec::new();
    let mut unplaced: Vec<(SliceHeader, Error)> = Vec::new();
    for image in images {
        match place(&image, alone) {
            Err(e) => unplaced.push((image, e)),
            Ok(frame) => match groups.iter().position(|g| fits(g, &frame, &image)) {
                Some(at) => groups[at].headers.push(image),
                None if groups.len() == MAX_GROUPS => {
                    let message = format!("the series has more than {MAX_GROUPS} orientations and matrices");
                    return Err(Error::new(ErrorKind::BadGeometry, message));
                }
                None => groups.push(Group { frame, headers: vec![image] }),
            },
        }
    }
    let best = (0..groups.len()).max_by_key(|&i| (groups[i].headers.len(), groups[i].frame.is_axial(), Reverse(i)));
    let Some(best) = best else {
        let fault = unplaced.into_iter().next().map(|(_, e)| e);
        return Err(fault.unwrap_or_else(|| Error::new(ErrorKind::NoUsableSeries, "the series holds no images")));
    };
    let kept = groups.swap_remove(best);
    let of_kept_matrix = |h: &SliceHeader| matrix(h) == matrix(&kept.headers[0]);
    if let Some(at) = unplaced.iter().position(|(h, _)| of_kept_matrix(h)) {
        return Err(unplaced.swap_remove(at).1);
    }
    let findings = dropped(&kept, &groups, unplaced.len());
    Ok((kept, findings))
}

fn matrix(h: &SliceHeader) -> [usize; 2] {
    [h.rows, h.cols]
}

fn fits(group: &Group, frame: &Frame, image: &SliceHeader) -> bool {
    matrix(&group.headers[0]) == matrix(image) && group.frame.same_orientation(frame)
}

/// The image's directions, provided that it can be placed.
fn place(image: &SliceHeader, alone: bool) -> crate::Result<Frame> {
    let bad = |what: &str| image.blame(Error::new(ErrorKind::BadGeometry, what.to_owned()));
    let orientation =
        image.image_orientation.as_ref().ok_or_else(|| bad("ImageOrientationPatient (0020,0037) is missing or unreadable"))?;
    let frame = Frame::new(orientation).map_err(|e| image.blame(e))?;
    match &image.image_position {
        Some(p) if p.iter().all(|v| v.is_finite()) => Ok(frame),
        Some(p) => Err(bad(&format!("ImagePositionPatient (0020,0032) {p:?} is not finite"))),
        None if alone => Ok(frame),
        None => Err(bad("ImagePositionPatient (0020,0032) is missing or unreadable")),
    }
}

fn dropped(kept: &Group, others: &[Group], unplaced: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (scouts, strays): (Vec<&Group>, Vec<&Group>) =
        others.iter().partition(|g| g.headers.len() <= MAX_SCOUTS && g.frame.orthogonal_to(&kept.frame));
    if !scouts.is_empty() {
        let n: usize = scouts.iter().map(|g| g.headers.len()).sum();
        let message = format!("{} at a right angle to the slices, taken for localizers, left out of the series", images(n));
        findings.push(Finding::info(FindingCode::LocalizerDropped, message));
    }
    let n = unplaced + strays.iter().map(|g| g.headers.len()).sum::<usize>();
    if n > 0 {
        let [rows, cols] = matrix(&kept.headers[0]);
        let total = kept.headers.len();
        let message = format!("{} of another orientation or matrix left out; the largest group stays: {total} of {rows}×{cols}", images(n));
        findings.push(Finding::warning(FindingCode::MixedGeometry, message));
    }
    findings
}

/// "1 image", "2 images".
pub(super) fn images(n: usize) -> String {
    format!("{n} image{}", if n == 1 { "" } else { "s" })
}
