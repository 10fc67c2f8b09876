//! Where a hemorrhage is, how it pushes the brain aside, and what it does to the HU of a point.

use crate::anatomy::brain::tentorium;
use crate::anatomy::{BrainPoint, Depths};
use crate::math::{V3, bell, ellipsoid, exp, mix, smooth};
use crate::noise::Noise;

use super::Kind;

/// Geometry of one hemorrhage, in canonical coordinates (mm).
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Under the skull around direction `centre`: `thickness` falls to 0 at `radius` along the surface, as 1 − (ρ/R)^(2·flat).
    Cap {
        /// Unit vector from the head's centre.
        centre: V3,
        /// Greatest thickness.
        thickness: f32,
        /// Reach along the surface.
        radius: f32,
        /// 1 for a lens, 2 for a crescent of nearly constant thickness.
        flat: i32,
    },
    /// Along one side of the falx.
    Falx {
        /// Side, −1 or 1.
        side: f32,
        /// Thickness.
        thickness: f32,
        /// Range of y.
        from: f32,
        /// Range of y.
        to: f32,
    },
    /// On top of one leaf of the tentorium.
    Tentorium {
        /// Side, −1 or 1.
        side: f32,
        /// Thickness.
        thickness: f32,
    },
    /// A ragged ellipsoid in the brain, with a rim of edema.
    Blob {
        /// Centre.
        centre: V3,
        /// Half axes.
        radii: V3,
        /// Width of the edema.
        edema: f32,
        /// How ragged: amplitude of the surface noise relative to the radius.
        ragged: f32,
    },
    /// Ventricular blood: below a fluid level, or filling a whole side.
    Ventricles {
        /// Unit vector of gravity.
        down: V3,
        /// Blood where `down · q` exceeds this.
        level: f32,
        /// Sides that are filled whatever the level: x times this sign above −4 mm.
        cast: Option<f32>,
    },
    /// Blood mixed into the fluid of sulci and cisterns near some centres.
    Spaces {
        /// Centres and radii of involvement.
        regions: Vec<(V3, f32)>,
    },
}

/// One hemorrhage.
#[derive(Clone, Debug, PartialEq)]
pub struct Bleed {
    /// Its type.
    pub kind: Kind,
    /// Its place.
    pub shape: Shape,
    /// HU of undiluted clot.
    pub hu: f32,
    /// Amplitude of texture inside, HU.
    pub swirl: f32,
}

/// Share of a point that is clot, and its HU.
#[derive(Clone, Copy, Debug)]
pub struct Clot {
    /// 0..1.
    pub share: f32,
    /// Type code.
    pub code: u8,
    /// HU of the mixture.
    pub hu: f32,
}

impl Bleed {
    /// Where the tissue found at `q` would be without this lesion: the displacement to add, and by how much the brain's surface retreats.
    pub fn displacement(&self, q: V3, d: &Depths) -> (V3, f32) {
        match &self.shape {
            Shape::Cap { centre, thickness, radius, flat } => {
                let t = cap_profile(q, *centre, *radius, *flat) * thickness;
                if t <= 0.0 {
                    return (V3::default(), 0.0);
                }
                let push = t * exp(-(d.vault - t).max(0.0) / 32.0);
                (q.unit() * push, push)
            }
            Shape::Blob { centre, radii, .. } => {
                let off = q - *centre;
                let rho = off.len();
                let r = (radii.x + radii.y + radii.z) / 3.0;
                if rho > r + 70.0 {
                    return (V3::default(), 0.0);
                }
                let push = 0.45 * r * exp(-(rho - r).max(0.0) / 20.0) * (rho / r).min(1.0);
                (off.unit() * -push, 0.0)
            }
            _ => (V3::default(), 0.0),
        }
    }

    /// Clot at `q`, whose depths are `d`; `tissue` is what would be there, at the displaced point.
    pub fn clot(&self, q: V3, d: &Depths, tissue: &BrainPoint, noise: &Noise) -> Option<Clot> {
        let share = self.share(q, d, tissue, noise);
        if share < 0.02 {
            return None;
        }
        let hu = self.hu + self.swirl * noise.at(q * 0.16);
        Some(Clot { share, code: self.kind.code(), hu })
    }

    /// Change of HU by edema around the clot.
    pub fn edema(&self, q: V3, tissue: &BrainPoint, noise: &Noise) -> f32 {
        let Shape::Blob { centre, radii, edema, ragged } = &self.shape else { return 0.0 };
        let off = q - *centre;
        let reach = radii.x.max(radii.y).max(radii.z) + *edema + 6.0;
        if off.dot(off) > reach * reach || tissue.depth < 0.5 {
            return 0.0;
        }
        let sd = ellipsoid(off, *radii) + ragged * radii.x * noise.rich(q * 0.11);
        let rim = smooth(*edema + 1.0, 0.3 * *edema, sd - 1.5 * noise.at(q * 0.2));
        (20.0 - tissue.hu).min(0.0) * rim * (1.0 - tissue.csf) * (1.0 - tissue.ventricle)
    }

    fn share(&self, q: V3, d: &Depths, tissue: &BrainPoint, noise: &Noise) -> f32 {
        const SOFT: f32 = 0.5;
        match &self.shape {
            Shape::Cap { centre, thickness, radius, flat } => {
                let t = cap_profile(q, *centre, *radius, *flat) * thickness * (1.0 + 0.12 * noise.at(q * 0.08));
                if t < 0.4 || d.floor < 0.0 || (self.kind == Kind::Subdural && q.x * centre.x < 0.0) {
                    return 0.0;
                }
                smooth(t + SOFT, t - SOFT, d.vault) * smooth(0.2, 1.0, d.vault)
            }
            Shape::Falx { side, thickness, from, to } => {
                let across = q.x * side;
                let t = thickness * smooth(*from, from + 12.0, q.y) * smooth(*to, to - 12.0, q.y) * (1.0 + 0.3 * noise.at(q * 0.07));
                let high = smooth(0.0, 6.0, q.z - (39.0 - 0.0058 * (q.y + 8.0) * (q.y + 8.0)));
                let t = t * high;
                if t < 0.4 { 0.0 } else { smooth(t + SOFT, t - SOFT, across) * smooth(-1.0, 0.0, across) }
            }
            Shape::Tentorium { side, thickness } => {
                let above = q.z - tentorium(q);
                let behind = smooth(22.0, 32.0, q.y) * smooth(12.0, 18.0, q.x * side);
                let t = thickness * behind * (1.0 + 0.3 * noise.at(q * 0.07));
                if t < 0.4 { 0.0 } else { smooth(t + SOFT, t - SOFT, above) * smooth(-0.6, 0.2, above) }
            }
            Shape::Blob { centre, radii, ragged, .. } => {
                let off = q - *centre;
                let reach = radii.x.max(radii.y).max(radii.z) * 1.5 + 3.0;
                if off.dot(off) > reach * reach {
                    return 0.0;
                }
                let sd = ellipsoid(off, *radii) + ragged * radii.x * noise.rich(q * 0.11);
                smooth(SOFT, -SOFT, sd) * smooth(-0.5, 0.8, d.cavity - 1.2)
            }
            Shape::Ventricles { down, level, cast } => {
                let below = smooth(-1.2, 1.2, down.dot(q) - level);
                let filled = cast.map_or(0.0, |side| smooth(-5.0, -3.0, q.x * side) * (1.0 + 0.3 * noise.at(q * 0.12)).min(1.0));
                tissue.ventricle * below.max(filled)
            }
            Shape::Spaces { regions } => {
                if tissue.csf < 0.02 {
                    return 0.0;
                }
                let near = regions.iter().fold(0.0_f32, |w, (c, r)| {
                    let off = q - *c;
                    w.max(bell((off.dot(off)).sqrt() / (0.62 * r)))
                });
                (tissue.csf * 1.5).min(1.0) * smooth(0.12, 0.5, near * (1.0 + 0.45 * noise.at(q * 0.06)))
            }
        }
    }
}

impl Clot {
    /// Blends the clot into tissue of `hu`.
    pub fn over(&self, hu: f32) -> f32 {
        mix(hu, self.hu, self.share)
    }
}

fn cap_profile(q: V3, centre: V3, radius: f32, flat: i32) -> f32 {
    let rho = (q.unit() - centre).len() * 72.0 / radius;
    if rho >= 1.0 {
        return 0.0;
    }
    let r2 = rho * rho;
    1.0 - if flat > 1 { r2 * r2 } else { r2 }
}
