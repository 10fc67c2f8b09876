//! Draws hemorrhages: which types, where, how large, how dense.

use crate::math::{V3, sin_cos, v3};
use crate::rng::Rng;

use super::{Bleed, Kind, Shape};

/// Draws the hemorrhages of one scan: the main one of type `main`, sometimes companions. `small` in 0..1 makes subtle lesions more likely; `down` is gravity.
pub fn draw_bleeds(rng: &mut Rng, main: Kind, small: f32, down: V3) -> Vec<Bleed> {
    let mut list = vec![one(rng, main, small, down)];
    // Companions as they occur together: deep clots break into ventricles, traumatic ones come with subarachnoid blood.
    match main {
        Kind::Intraparenchymal if rng.chance(0.2) => list.push(one(rng, Kind::Intraventricular, small, down)),
        Kind::Subarachnoid if rng.chance(0.25) => list.push(one(rng, Kind::Intraventricular, 0.6, down)),
        Kind::Subdural if rng.chance(0.25) => list.push(one(rng, Kind::Subarachnoid, 0.5, down)),
        Kind::Epidural if rng.chance(0.15) => list.push(one(rng, Kind::Subdural, 0.7, down)),
        _ => {}
    }
    if rng.chance(0.12) {
        list.push(one(rng, main, 0.8, down));
    }
    list
}

fn one(rng: &mut Rng, kind: Kind, small: f32, down: V3) -> Bleed {
    let shape = match kind {
        Kind::Epidural => lens(rng, small),
        Kind::Subdural => crescent(rng, small),
        Kind::Intraparenchymal => blob(rng, small),
        Kind::Intraventricular => ventricles(rng, small, down),
        Kind::Subarachnoid => spaces(rng, small),
    };
    let hu = match kind {
        Kind::Subarachnoid => rng.range(52.0, 74.0),
        Kind::Intraventricular => rng.range(52.0, 80.0),
        Kind::Subdural => rng.range(50.0, 80.0),
        _ => rng.range(52.0, 82.0),
    };
    Bleed { kind, shape, hu, swirl: rng.range(1.0, 6.0) }
}

/// A size between `low` and `high`, skewed towards low by `small`.
fn size(rng: &mut Rng, low: f32, high: f32, small: f32) -> f32 {
    let u = rng.unit();
    let u = u * (1.0 - 0.75 * small * rng.unit());
    low + (high - low) * u * (0.65 + 0.35 * u)
}

fn lens(rng: &mut Rng, small: f32) -> Shape {
    let thickness = size(rng, 5.0, 28.0, small);
    let side = rng.sign();
    // Mostly temporal and parietal, sometimes frontal or occipital.
    let (s, c) = sin_cos(rng.range(-1.1, 1.0));
    let centre = v3(side * c, s, rng.range(-0.15, 0.75)).unit();
    Shape::Cap { centre, thickness, radius: (18.0 + 1.3 * thickness) * rng.range(0.85, 1.3), flat: 1 }
}

fn crescent(rng: &mut Rng, small: f32) -> Shape {
    let side = rng.sign();
    let thickness = size(rng, 3.0, 16.0, small);
    match rng.below(10) {
        0 => {
            let from = rng.range(-70.0, 10.0);
            Shape::Falx { side, thickness: 1.5 + 0.3 * thickness, from, to: from + rng.range(35.0, 70.0) }
        }
        1 => Shape::Tentorium { side, thickness: 2.0 + 0.3 * thickness },
        _ => {
            let (s, c) = sin_cos(rng.range(-0.7, 0.7));
            let centre = v3(side * c, s, rng.range(0.0, 0.6)).unit();
            Shape::Cap { centre, thickness, radius: rng.range(45.0, 88.0), flat: 2 }
        }
    }
}

fn blob(rng: &mut Rng, small: f32) -> Shape {
    let side = rng.sign();
    let r = size(rng, 4.0, 27.0, small);
    let jitter = |rng: &mut Rng, s: f32| v3(s * rng.normal(), s * rng.normal(), s * rng.normal());
    let centre = match rng.below(20) {
        0..=5 => v3(side * 26.0, -4.0, 5.0) + jitter(rng, 3.0),
        6..=8 => v3(side * 13.0, 13.0, 8.0) + jitter(rng, 2.5),
        9..=10 => v3(side * 22.0, 46.0, -32.0) + jitter(rng, 4.0),
        11 => v3(0.0, 13.0, -26.0) + jitter(rng, 2.0),
        _ => {
            // Lobar: a direction over the hemispheres, some way under the cortex.
            let (s, c) = sin_cos(rng.range(-1.35, 1.35));
            let u = v3(side * c, s, rng.range(-0.15, 1.1)).unit();
            u.times(v3(66.0, 84.0, 74.0)) * rng.range(0.5, 0.86)
        }
    };
    let r = if centre.z < -18.0 { r.min(if centre.x.abs() < 8.0 { 9.0 } else { 17.0 }) } else { r };
    let radii = v3(r * rng.range(0.7, 1.2), r * rng.range(0.8, 1.4), r * rng.range(0.8, 1.2));
    let edema = if rng.chance(0.75) { rng.range(1.0, 3.0) + 0.35 * r } else { 0.5 };
    Shape::Blob { centre, radii, edema, ragged: rng.range(0.1, 0.4) }
}

fn ventricles(rng: &mut Rng, small: f32, down: V3) -> Shape {
    let full = rng.chance(0.3 * (1.0 - 0.6 * small));
    let cast = full.then(|| rng.sign());
    Shape::Ventricles { down, level: rng.range(20.0, 48.0 - 6.0 * (1.0 - small)), cast }
}

fn spaces(rng: &mut Rng, small: f32) -> Shape {
    let side = rng.sign();
    let mut regions = Vec::new();
    match rng.below(8) {
        0..=2 => {
            regions.push((v3(0.0, -10.0, -13.0), rng.range(22.0, 38.0)));
            regions.push((v3(42.0, -8.0, -4.0), rng.range(14.0, 32.0)));
            regions.push((v3(-42.0, -8.0, -4.0), rng.range(14.0, 32.0)));
            if rng.chance(0.5) {
                regions.push((v3(0.0, 15.0, -8.0), rng.range(20.0, 30.0)));
            }
            if rng.chance(0.4) {
                regions.push((v3(0.0, -50.0, 12.0), rng.range(18.0, 30.0)));
            }
        }
        3 => regions.push((v3(side * 44.0, -4.0, 0.0), rng.range(20.0, 36.0))),
        4 => regions.push((v3(0.0, 6.0, -16.0), rng.range(16.0, 26.0))),
        _ => {
            let (s, c) = sin_cos(rng.range(-1.3, 1.3));
            let u = v3(side * c, s, rng.range(0.1, 1.1)).unit();
            regions.push((u.times(v3(62.0, 79.0, 69.0)), rng.range(16.0, 40.0 - 14.0 * small)));
            if rng.chance(0.35) {
                regions.push((u.times(v3(-62.0, 70.0, 69.0)), rng.range(14.0, 28.0)));
            }
        }
    }
    Shape::Spaces { regions }
}
