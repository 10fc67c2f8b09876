//! What the headers of a stack say about its quality: gaps, spacing, thickness, tilt, origin. Findings only, never a refusal.

use super::geometry::{angle_deg, sub};
use super::header::SliceHeader;
use super::hints;
use super::order::Stack;
use crate::{Finding, FindingCode};

/// A step this many slice thicknesses long leaves tissue unseen.
const GAP: f64 = 1.5;
/// Relative difference up to which steps, thicknesses and spacings count as equal.
const EQUAL: f64 = 0.01;
/// Rounding of decimal numbers, relative.
const ROUNDING: f64 = 1e-6;
/// Smallest tilt worth a finding, and largest disagreement with the tag that is not, in degrees.
const TILT_DEG: f64 = 0.5;

/// Every finding about a stack.
pub(super) fn findings(stack: &Stack) -> Vec<Finding> {
    let mut out = Vec::new();
    if let [only] = &stack.headers[..] {
        let position = if only.image_position.is_none() { "; it says no position" } else { "" };
        let message = format!("the series has a single slice: nothing above and below it to judge by{position}");
        out.push(Finding::warning(FindingCode::SingleSlice, message));
    }
    out.extend(gaps(stack));
    out.extend(uneven(stack));
    out.extend(thickness(&stack.headers));
    out.extend(tilt(stack));
    out.extend(pixel_spacing(&stack.headers));
    out.extend(origin(&stack.headers));
    out
}

/// Slice thickness, where it is a positive number.
pub(super) fn thickness_mm(h: &SliceHeader) -> Option<f64> {
    h.slice_thickness_mm.filter(|t| t.is_finite() && *t > 0.0)
}

/// Distances from each slice to the next, in mm.
pub(super) fn steps_mm(stack: &Stack) -> Vec<f64> {
    let pair = |w: &[Option<f64>]| Some(w[1]? - w[0]?);
    stack.positions_mm.windows(2).filter_map(pair).collect()
}

/// The lower median; none of nothing.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| sorted[(sorted.len() - 1) / 2])
}

/// Whether each step is a gap: longer than 1.5 times the larger of its two slices' thickness. Where neither says its thickness, the
/// median step stands in.
fn is_gap(stack: &Stack) -> Vec<bool> {
    let steps = steps_mm(stack);
    let typical = median(steps.iter().copied()).unwrap_or(f64::INFINITY);
    let thickness: Vec<Option<f64>> = stack.headers.iter().map(thickness_mm).collect();
    let larger = |i: usize| match (thickness[i], thickness[i + 1]) {
        (Some(a), Some(b)) => a.max(b),
        (Some(t), None) | (None, Some(t)) => t,
        (None, None) => typical,
    };
    steps.iter().enumerate().map(|(i, step)| *step > GAP * larger(i) * (1.0 + ROUNDING)).collect()
}

fn gaps(stack: &Stack) -> Option<Finding> {
    let (steps, is_gap) = (steps_mm(stack), is_gap(stack));
    let at: Vec<usize> = (0..steps.len()).filter(|&i| is_gap[i]).collect();
    let largest = at.iter().copied().max_by(|&a, &b| steps[a].total_cmp(&steps[b]).then(b.cmp(&a)))?;
    let between = format!("{:.2} mm between slices {} and {}", steps[largest], largest, largest + 1);
    let message = match thickness_mm(&stack.headers[largest]).or(thickness_mm(&stack.headers[largest + 1])) {
        Some(t) => format!("{} longer than 1.5 slice thicknesses; the largest is {between}, thickness {t} mm", count(at.len())),
        None => format!("{} longer than 1.5 typical steps; the largest is {between}", count(at.len())),
    };
    Some(Finding::warning(FindingCode::MissingSlice, message))
}

fn count(n: usize) -> String {
    if n == 1 { "1 step is".to_owned() } else { format!("{n} steps are") }
}

fn uneven(stack: &Stack) -> Option<Finding> {
    let is_gap = is_gap(stack);
    let others = steps_mm(stack).into_iter().zip(is_gap).filter(|(_, gap)| !gap).map(|(step, _)| step);
    let (low, high) = range(others)?;
    let message = format!("steps between slices vary from {low:.2} to {high:.2} mm");
    differs(low, high).then(|| Finding::warning(FindingCode::UnevenSpacing, message))
}

fn thickness(headers: &[SliceHeader]) -> Option<Finding> {
    let (low, high) = range(headers.iter().filter_map(thickness_mm))?;
    let message = format!("slice thickness varies from {low} to {high} mm");
    differs(low, high).then(|| Finding::warning(FindingCode::MixedThickness, message))
}

/// Slices of one series may have been reconstructed with different fields of view. They stay: losing them would be worse than the scale.
fn pixel_spacing(headers: &[SliceHeader]) -> Option<Finding> {
    let spacings = || headers.iter().map(|h| h.pixel_spacing_mm);
    let missing = spacings().filter(Option::is_none).count();
    let (low, high) = range(spacings().flatten().flatten())?;
    let varies = (0..2).any(|axis| range(spacings().flatten().map(|s| s[axis])).is_some_and(|(low, high)| differs(low, high)));
    if !varies && missing == 0 {
        return None;
    }
    let message = if varies {
        format!("PixelSpacing (0028,0030) varies from {low} to {high} mm; every slice is read with the most common one")
    } else {
        format!("PixelSpacing (0028,0030) is missing on {missing} of {} slices; they are read with that of the others", headers.len())
    };
    Some(Finding::warning(FindingCode::MixedGeometry, message))
}

/// The tilt from the slices' own geometry: their normal against the long axis, and the direction they are stacked in against their normal.
/// The tag (0018,1120) is nominal and its sign depends on the maker, so it is only compared.
fn tilt(stack: &Stack) -> Option<Finding> {
    let normal_deg = stack.frame.tilt_deg();
    let shear_deg = shear_deg(stack);
    let tag = stack.headers.iter().filter_map(|h| h.gantry_tilt_deg).find(|t| t.is_finite());
    let tag_deg = tag.map_or(0.0, f64::abs);
    let tilted = normal_deg.max(shear_deg) > TILT_DEG;
    if !tilted && tag_deg <= TILT_DEG {
        return None;
    }
    let mut message = if tilted {
        format!("slices are tilted by {normal_deg:.1} degrees against the long axis")
    } else {
        "slices are not tilted by their geometry".to_owned()
    };
    if tilted && stack.headers.len() > 1 {
        let how = if shear_deg > TILT_DEG { format!("sheared by {shear_deg:.1} degrees") } else { "stacked along their normal".to_owned() };
        message = format!("{message} and {how}");
    }
    if let Some(tag) = tag.filter(|_| (tag_deg - normal_deg.max(shear_deg)).abs() > TILT_DEG) {
        let message = format!("{message}; GantryDetectorTilt (0018,1120) says {tag}");
        return Some(Finding::warning(FindingCode::GantryTilt, message));
    }
    Some(Finding::info(FindingCode::GantryTilt, message))
}

/// Angle between the way from the first to the last slice and the normal.
fn shear_deg(stack: &Stack) -> f64 {
    let position = |h: Option<&SliceHeader>| h.and_then(|h| h.image_position);
    match (position(stack.headers.first()), position(stack.headers.last())) {
        (Some(first), Some(last)) => angle_deg(sub(last, first), stack.frame.normal),
        _ => 0.0,
    }
}

fn origin(headers: &[SliceHeader]) -> Vec<Finding> {
    let total = headers.len();
    let mut out = Vec::new();
    let mut say = |code, n: usize, what: &str| {
        if n > 0 {
            out.push(Finding::warning(code, format!("{n} of {total} slices {what}")));
        }
    };
    let count = |test: fn(&SliceHeader) -> bool| headers.iter().filter(|h| test(h)).count();
    say(FindingCode::Contrast, count(hints::is_contrast), "were made with contrast medium, by tag or description");
    say(FindingCode::Derived, count(hints::is_derived), "are DERIVED: computed from other images");
    say(FindingCode::Lossy, count(|h| h.lossy), "went through lossy compression");
    out
}

/// Smallest and largest value; none of nothing.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |r, v| Some(r.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

fn differs(low: f64, high: f64) -> bool {
    high > low * (1.0 + EQUAL) * (1.0 + ROUNDING)
}
