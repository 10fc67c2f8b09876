//! Benign findings: calcifications, old infarcts, dense falx or sinus. They are never labelled.

use crate::anatomy::{BrainPoint, Params};
use crate::math::{V3, ellipsoid, mix, smooth, v3};
use crate::noise::Noise;
use crate::rng::Rng;

/// One benign finding, in canonical coordinates.
#[derive(Clone, Debug, PartialEq)]
pub enum Mimic {
    /// A calcified spot, dense in the middle.
    Calcification {
        /// Centre.
        centre: V3,
        /// Half axes.
        radii: V3,
        /// HU in the middle.
        hu: f32,
    },
    /// Lost tissue: HU falls towards `hu`, sulci and all.
    Infarct {
        /// Centre.
        centre: V3,
        /// Half axes.
        radii: V3,
        /// HU inside.
        hu: f32,
    },
}

impl Mimic {
    /// HU at `q` after this finding.
    pub fn apply(&self, q: V3, tissue: &BrainPoint, hu: f32, noise: &Noise) -> f32 {
        match self {
            Mimic::Calcification { centre, radii, hu: dense } => {
                let off = q - *centre;
                let reach = radii.x.max(radii.y).max(radii.z) + 2.5;
                if off.dot(off) > reach * reach {
                    return hu;
                }
                let sd = ellipsoid(off, *radii) + 0.3 * radii.x * noise.rich(q * 0.5);
                mix(hu, *dense, smooth(0.6, -0.8, sd))
            }
            Mimic::Infarct { centre, radii, hu: low } => {
                let off = q - *centre;
                let reach = radii.x.max(radii.y).max(radii.z) * 1.4 + 3.0;
                if off.dot(off) > reach * reach || tissue.depth < 0.0 {
                    return hu;
                }
                let sd = ellipsoid(off, *radii) + 0.3 * radii.x * noise.rich(q * 0.08);
                if hu > 44.0 { hu } else { mix(hu, *low, smooth(2.5, -2.5, sd)) }
            }
        }
    }
}

/// Draws the benign findings of a head; they come with age.
pub fn draw_mimics(rng: &mut Rng, p: &Params) -> Vec<Mimic> {
    let old = ((p.age - 25.0) / 55.0).clamp(0.0, 1.0);
    let mut list = Vec::new();
    let mut spot = |rng: &mut Rng, centre: V3, r: f32, hu: f32| {
        let radii = v3(r * rng.range(0.7, 1.2), r * rng.range(0.7, 1.4), r * rng.range(0.7, 1.3));
        list.push(Mimic::Calcification { centre, radii, hu });
    };
    if rng.chance(0.35 + 0.5 * old) {
        let (c, r, hu) = (v3(0.5 * rng.normal(), 27.5 + rng.normal(), 2.0 + rng.normal()), rng.range(1.2, 3.6), rng.range(80.0, 380.0));
        spot(rng, c, r, hu);
    }
    for side in [-1.0, 1.0] {
        if rng.chance(0.2 + 0.55 * old) {
            let (c, r, hu) = (
                v3(side * (22.5 + 2.0 * rng.normal()), 31.0 + 2.5 * rng.normal(), 12.0 + 1.5 * rng.normal()),
                rng.range(1.5, 5.0),
                rng.range(70.0, 330.0),
            );
            spot(rng, c, r, hu);
        }
    }
    let ganglia = rng.chance(0.15 * old + 0.03);
    for side in [-1.0, 1.0] {
        if ganglia {
            let (c, r, hu) = (
                v3(side * (20.5 + rng.normal()), -7.0 + 2.0 * rng.normal(), 4.0 + 1.5 * rng.normal()),
                rng.range(2.0, 5.0),
                rng.range(55.0, 130.0),
            );
            spot(rng, c, r, hu);
        }
    }
    if rng.chance(0.1 + 0.3 * old) {
        for _ in 0..1 + rng.below(4) {
            let y = rng.range(-70.0, 40.0);
            let (c, r, hu) = (
                v3(0.3 * rng.normal(), y, (40.0 - 0.0058 * (y + 8.0) * (y + 8.0)) + rng.range(2.0, 22.0)),
                rng.range(1.2, 3.2),
                rng.range(120.0, 700.0),
            );
            spot(rng, c, r, hu);
        }
    }
    if rng.chance(0.06 + 0.2 * old) {
        let centre = if rng.chance(0.4) {
            v3(rng.sign() * rng.range(12.0, 27.0), rng.range(-22.0, 15.0), rng.range(0.0, 20.0))
        } else {
            v3(rng.sign() * rng.range(25.0, 55.0), rng.range(-45.0, 60.0), rng.range(-10.0, 45.0))
        };
        let r = if centre.x.abs() < 28.0 { rng.range(2.5, 7.0) } else { rng.range(8.0, 24.0) };
        list.push(Mimic::Infarct { centre, radii: v3(r * rng.range(0.7, 1.1), r * rng.range(0.8, 1.4), r), hu: rng.range(7.0, 21.0) });
    }
    list
}
