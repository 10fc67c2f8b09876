//! Does the image look like a head? A closed ring of bone, not far under the skin, around soft tissue, of a head's size.
//!
//! A slice is *cranial* when most rays from the middle of the body to its edge meet bone close to the edge and soft tissue all the way before it.
//! A brain passes; a cylinder of water has no bone, a thorax has air inside and gaps between the ribs, a leg has its bone in the middle. A head scan has many cranial slices
//! (the face and the skull base are none), so some are asked for, not all. The bounds are calibrated on real heads, head phantoms and
//! other things, with room on both sides; the outcome is a finding, never a refusal.

use crate::volume::{HuSlice, HuVolume};
use crate::{Finding, FindingCode};
use rayon::prelude::*;

/// Slices looked at, spread evenly.
const MAX_SLICES: usize = 16;
/// Share of the slices looked at that have to be cranial.
const CRANIAL_SHARE: f64 = 0.2;
/// Side of the coarse grid on which the body is found.
const GRID: usize = 96;
/// Everything denser is body, in HU.
const BODY_HU: f32 = -300.0;
/// Bone, also a thin one or a child's, blurred by the slice thickness.
const BONE_HU: f32 = 200.0;
/// Brain, blood and water, with noise.
const SOFT_HU: std::ops::RangeInclusive<f32> = -60.0..=140.0;
/// Directions that a slice is looked at in.
const RAYS: usize = 72;
/// Share of rays that have to pass; a bone flap may be missing.
const RING_SHARE: f64 = 0.65;
/// Share of soft tissue on a ray inside the bone.
const SOFT_SHARE: f64 = 0.75;
/// Longest way from bone to skin, in mm.
const SCALP_MM: f64 = 30.0;
/// Thickest skull, in mm: what lies this deep under the outermost bone must be soft.
const SKULL_MM: f64 = 12.0;
/// Mean radius inside the bone, in mm: from a newborn's head near the vertex to beyond the largest adult's.
const RADIUS_MM: std::ops::RangeInclusive<f64> = 20.0..=110.0;
/// Field of view that a head is scanned with, the longer side, in mm.
const FIELD_MM: std::ops::RangeInclusive<f64> = 140.0..=400.0;
/// Spacing to assume where the files do not say: that of a usual head scan.
const USUAL_FIELD_MM: f64 = 240.0;

/// A finding when the volume does not look like a head, or its field of view is unusual for one.
pub(super) fn check(volume: &HuVolume, pool: &rayon::ThreadPool) -> Option<Finding> {
    let total = volume.slices().len();
    let looked_at = total.min(MAX_SLICES);
    // The middles of equal parts: never only the ends.
    let indices: Vec<usize> = (0..looked_at).map(|i| (2 * i + 1) * total / (2 * looked_at)).collect();
    let is_cranial = |&i: &usize| Look::new(volume, &volume.slices()[i]).is_some_and(|look| look.is_cranial());
    let cranial = pool.install(|| indices.par_iter().filter(|i| is_cranial(i)).count());

    let mut doubts = Vec::new();
    if (cranial as f64) < (CRANIAL_SHARE * looked_at as f64).max(1.0) {
        doubts.push(format!("{cranial} of {looked_at} slices looked at show a closed ring of bone around soft tissue"));
    }
    let field = volume.spacing_mm().map(|[y, x]| (y * volume.rows() as f64).max(x * volume.cols() as f64));
    if let Some(field) = field.filter(|f| !FIELD_MM.contains(f)) {
        doubts.push(format!("the field of view is {field:.0} mm"));
    }
    let message = || format!("the images do not look like a usual head scan: {}", doubts.join("; "));
    (!doubts.is_empty()).then(|| Finding::warning(FindingCode::NotHeadLike, message()))
}

/// A slice with the middle of the largest body in it.
struct Look<'a> {
    slice: &'a HuSlice,
    rows: usize,
    cols: usize,
    spacing_mm: [f64; 2],
    /// [row, column] in pixels.
    middle: [f64; 2],
    body: Body,
}

/// The largest connected body on a coarse grid.
struct Body {
    rows: usize,
    cols: usize,
    step: usize,
    inside: Vec<bool>,
}

impl<'a> Look<'a> {
    /// None when there is no body.
    fn new(volume: &HuVolume, slice: &'a HuSlice) -> Option<Self> {
        let (rows, cols) = (volume.rows(), volume.cols());
        let usual = USUAL_FIELD_MM / rows.max(cols) as f64;
        let body = Body::largest(slice, rows, cols)?;
        let (mut sum, mut n) = ([0.0, 0.0], 0.0);
        for (i, _) in body.inside.iter().enumerate().filter(|(_, inside)| **inside) {
            sum = [sum[0] + (i / body.cols) as f64, sum[1] + (i % body.cols) as f64];
            n += 1.0;
        }
        let middle = sum.map(|s| s / n * body.step as f64);
        Some(Self { slice, rows, cols, spacing_mm: volume.spacing_mm().unwrap_or([usual; 2]), middle, body })
    }

    fn is_cranial(&self) -> bool {
        let inner: Vec<f64> = (0..RAYS).filter_map(|i| self.ray(i as f64 * std::f64::consts::TAU / RAYS as f64)).collect();
        let mean = inner.iter().sum::<f64>() / inner.len().max(1) as f64;
        inner.len() as f64 >= RING_SHARE * RAYS as f64 && RADIUS_MM.contains(&mean)
    }

    /// Follows a ray from the middle to the edge of the body: the radius inside the bone in mm, when the ray passes.
    fn ray(&self, angle: f64) -> Option<f64> {
        let pixel = self.spacing_mm[0].min(self.spacing_mm[1]);
        let (down, right) = (angle.sin() * pixel / self.spacing_mm[0], angle.cos() * pixel / self.spacing_mm[1]);
        let skull = (SKULL_MM / pixel) as usize;
        let (mut edge, mut bone, mut soft) = (0_usize, None, vec![0_u32]);
        for i in 0..self.rows + self.cols {
            let (r, c) = ((self.middle[0] + i as f64 * down).round(), (self.middle[1] + i as f64 * right).round());
            if r < 0.0 || c < 0.0 || r >= self.rows as f64 || c >= self.cols as f64 {
                break;
            }
            let (r, c) = (r as usize, c as usize);
            let hu = self.slice.pixels.hu(r * self.cols + c);
            let inside = hu > BODY_HU && self.body.holds(r, c);
            if inside {
                edge = i;
            }
            if inside && hu >= BONE_HU {
                bone = Some(i);
            }
            soft.push(soft[i] + u32::from(inside && SOFT_HU.contains(&hu)));
        }
        // The outermost bone is the skull; calcifications and the falx may shine further in.
        let bone = bone?;
        let within = bone.saturating_sub(skull);
        let passes = (edge - bone) as f64 * pixel <= SCALP_MM && within > 0 && f64::from(soft[within]) >= SOFT_SHARE * within as f64;
        passes.then_some(within as f64 * pixel)
    }
}

impl Body {
    fn largest(slice: &HuSlice, rows: usize, cols: usize) -> Option<Self> {
        let step = rows.max(cols).div_ceil(GRID);
        let (rows, grid_cols) = (rows.div_ceil(step), cols.div_ceil(step));
        let dense: Vec<bool> =
            (0..rows * grid_cols).map(|i| slice.pixels.hu((i / grid_cols) * step * cols + (i % grid_cols) * step) > BODY_HU).collect();
        let mut label = vec![0_u32; dense.len()];
        let (mut best, mut best_size) = (0, 0);
        let mut stack = Vec::new();
        for start in 0..dense.len() {
            if !dense[start] || label[start] != 0 {
                continue;
            }
            let (name, mut size) = (start as u32 + 1, 0);
            label[start] = name;
            stack.push(start);
            while let Some(at) = stack.pop() {
                size += 1;
                let (r, c) = (at / grid_cols, at % grid_cols);
                let neighbours = [
                    (r > 0).then(|| at - grid_cols),
                    (r + 1 < rows).then(|| at + grid_cols),
                    (c > 0).then(|| at - 1),
                    (c + 1 < grid_cols).then(|| at + 1),
                ];
                for next in neighbours.into_iter().flatten().filter(|&n| dense[n]) {
                    if label[next] == 0 {
                        label[next] = name;
                        stack.push(next);
                    }
                }
            }
            if size > best_size {
                (best, best_size) = (name, size);
            }
        }
        (best_size > 0).then(|| Self { rows, cols: grid_cols, step, inside: label.into_iter().map(|l| l == best).collect() })
    }

    /// Whether a pixel belongs to the body, to the nearest grid point or one beside it.
    fn holds(&self, row: usize, col: usize) -> bool {
        let (r, c) = ((row / self.step).min(self.rows - 1), (col / self.step).min(self.cols - 1));
        let at = |r: usize, c: usize| self.inside[r.min(self.rows - 1) * self.cols + c.min(self.cols - 1)];
        at(r, c) || at(r + 1, c) || at(r, c + 1) || at(r + 1, c + 1)
    }
}

#[cfg(test)]
mod tests;
