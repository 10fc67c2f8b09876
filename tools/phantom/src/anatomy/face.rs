//! What surrounds the cranial cavity: skull base, orbits and eyes, paranasal sinuses, mastoids, jaw, neck and scalp.

use crate::math::{V3, bell, capsule, ellipsoid, mix, smooth, v3};
use crate::noise::Noise;

use super::params::Params;
use super::skull::{Depths, Skull, petrous_ridge, shell_bottom, temporal_muscle};

/// HU of air in cavities and around the head.
pub const AIR_HU: f32 = -1000.0;
const FAT_HU: f32 = -98.0;
const MUSCLE_HU: f32 = 56.0;
const SKIN_HU: f32 = 45.0;

/// Everything outside the cranial cavity.
#[derive(Clone, Debug)]
pub struct Surroundings {
    p: Params,
}

impl Surroundings {
    /// Keeps what it needs of the head's parameters.
    pub fn new(p: &Params) -> Self {
        Self { p: p.clone() }
    }

    /// HU at `q` (canonical), which lies outside the cavity.
    pub fn at(&self, q: V3, d: &Depths, skull: &Skull, noise: &Noise) -> f32 {
        let skin = d.skin;
        if skin < -1.5 {
            return self.ears(q, skin);
        }
        let inner = if skin > 1.0 { self.inner(q, d, skin, skull, noise) } else { SKIN_HU };
        mix(self.ears(q, skin), inner, smooth(-0.5, 0.5, skin))
    }

    fn inner(&self, q: V3, d: &Depths, skin: f32, skull: &Skull, noise: &Noise) -> f32 {
        let in_shell = d.vault > -d.bone && q.z > shell_bottom(q);
        if in_shell && d.vault <= 0.0 {
            let sinus = self.frontal_sinus(q, noise);
            let bone = skull.bone_hu(-d.vault, d.bone, q, noise);
            return mix(self.mastoid(q, noise, bone), AIR_HU, smooth(0.4, -0.4, sinus));
        }
        let below = -d.floor;
        if (d.vault > 0.0 || (q.z < 6.0 && d.vault > -14.0))
            && let Some(hu) = self.base(q, below, d, noise)
        {
            return hu;
        }
        if q.z < 12.0
            && let Some(hu) = self.facial(q, noise)
        {
            return hu;
        }
        self.soft_tissue(q, d, skin, noise)
    }

    /// Bone of the skull base, thick under the petrous ridges, with its air cells.
    fn base(&self, q: V3, below: f32, d: &Depths, noise: &Noise) -> Option<f32> {
        let ax = q.x.abs();
        let ridge = (q.y - petrous_ridge(ax) - 2.0) / 9.0;
        let petrous = 17.0 * bell(ridge) * smooth(8.0, 18.0, ax) * smooth(72.0, 60.0, ax);
        let central = 9.0 * smooth(20.0, 8.0, ax) * smooth(-30.0, -18.0, q.y) * smooth(34.0, 20.0, q.y);
        let foramen = q.x * q.x + (q.y - 29.0) * (q.y - 29.0);
        let front = smooth(-30.0, -42.0, q.y);
        let thick =
            ((2.6 + 1.6 * noise.at(q * 0.12)) * (1.0 - 0.45 * front) + petrous + central) * smooth(12.0 * 12.0, 15.0 * 15.0, foramen);
        if below < 0.0 || below > thick || d.vault < -d.bone - 4.0 {
            return None;
        }
        let dense = 950.0 + 450.0 * bell(ridge) * smooth(46.0, 30.0, ax) + 320.0 * noise.rich(q * 0.28);
        let ear = ellipsoid(v3(ax - 41.0, q.y - 23.0, q.z + 29.0), v3(3.5, 5.0, 5.5));
        let canal = capsule(v3(ax, q.y, q.z), v3(24.0, 15.0, -26.0), v3(32.0, 21.0, -27.0), 2.2, 2.0);
        let bone = self.mastoid(q, noise, mix(dense, 350.0, bell(ax / 12.0) * 0.6));
        let sphenoid = self.sphenoid(q, noise);
        let bone = mix(bone, AIR_HU, smooth(0.5, -0.5, ear.min(sphenoid)));
        Some(mix(bone, 12.0, smooth(0.5, -0.5, canal)))
    }

    fn mastoid(&self, q: V3, noise: &Noise, bone: f32) -> f32 {
        let ax = q.x.abs();
        let cells = ellipsoid(v3(ax - 58.0, q.y - 33.0, q.z + 33.0), v3(14.0, 17.0, 20.0));
        if cells > 0.0 {
            return bone;
        }
        let open = self.p.mastoid[usize::from(q.x < 0.0)];
        let cell = noise.rich(q * 0.27) + 0.5 * noise.at(q * 0.55) + 0.75 * open - 0.45;
        mix(bone * 0.9, -820.0, smooth(0.0, 0.3, cell) * smooth(0.0, -2.0, cells))
    }

    fn frontal_sinus(&self, q: V3, noise: &Noise) -> f32 {
        let size = self.p.frontal_sinus[usize::from(q.x < 0.0)];
        if size < 0.2 || q.y > -60.0 || q.z > 40.0 || q.z < -20.0 {
            return 20.0;
        }
        let c = v3(q.x.abs() - 10.0 * size, q.y + 88.0, q.z + 1.0);
        ellipsoid(c, v3(9.5, 5.5, 15.0) * size) + 2.0 * noise.at(q * 0.12)
    }

    fn sphenoid(&self, q: V3, noise: &Noise) -> f32 {
        let wall = (q.x - 2.5 * noise.at(v3(0.3, q.y * 0.05, 0.7))).abs();
        ellipsoid(q - v3(0.0, -22.0, -31.0), v3(15.0, 13.0, 9.0)).max(1.0 - wall)
    }

    /// Orbits, nasal cavity, sinuses, cheek and jaw bones; None where there is plain soft tissue.
    fn facial(&self, q: V3, noise: &Noise) -> Option<f32> {
        let ax = q.x.abs();
        let m = v3(ax, q.y, q.z);
        if q.y < -28.0
            && let Some(hu) = self.orbit(m).or_else(|| self.nasal(q, m, noise))
        {
            return Some(hu);
        }
        let sphenoid = self.sphenoid(q, noise);
        if sphenoid < 1.2 {
            return Some(mix(700.0, AIR_HU, smooth(0.4, -0.4, sphenoid)));
        }
        let canal = capsule(m, v3(44.0, 19.0, -31.0), v3(84.0, 15.0, -32.0), 2.6, 3.6);
        if canal < 2.0 {
            return Some(mix(if ax < 62.0 { 800.0 } else { 40.0 }, AIR_HU, smooth(0.4, -0.4, canal)));
        }
        let mastoid_tip = ellipsoid(v3(ax - 54.0, q.y - 33.0, q.z + 42.0), v3(10.0, 13.0, 20.0));
        if mastoid_tip < 0.0 {
            return Some(self.mastoid(q, noise, 1000.0));
        }
        let arch = capsule(m, v3(62.0, 2.0, -36.0), v3(66.0, -28.0, -40.0), 2.4, 2.4).min(capsule(
            m,
            v3(66.0, -28.0, -40.0),
            v3(50.0, -60.0, -40.0),
            2.4,
            4.5,
        ));
        let rim = capsule(m, v3(50.0, -62.0, -38.0), v3(47.0, -66.0, -8.0), 4.2, 3.6);
        let pterygoid = capsule(m, v3(14.0, -28.0, -38.0), v3(17.0, -26.0, -70.0), 2.0, 1.5);
        let jaw = capsule(m, v3(51.0, -1.0, -38.0), v3(47.0, -8.0, -85.0), 5.0, 4.0);
        let wing = capsule(m, v3(22.0, -34.0, -16.0), v3(48.0, -48.0, -24.0), 3.0, 3.5);
        let vertebra = capsule(m, v3(17.0, 24.0, -72.0), v3(26.0, 24.0, -76.0), 8.0, 7.0).min(capsule(
            q,
            v3(0.0, 12.0, -62.0),
            v3(0.0, 14.0, -95.0),
            4.5,
            6.0,
        ));
        let clivus = capsule(q, v3(0.0, -2.0, -24.0), v3(0.0, 13.0, -54.0), 7.0, 5.5);
        let solid = arch.min(rim).min(pterygoid).min(jaw).min(wing).min(vertebra).min(clivus);
        if solid > 0.4 {
            return None;
        }
        let core = smooth(-1.2, -2.6, solid);
        let bone = mix(1250.0, 430.0 + 200.0 * noise.at(q * 0.35), core);
        Some(mix(MUSCLE_HU, bone, smooth(0.4, -0.4, solid)))
    }

    fn orbit(&self, m: V3) -> Option<f32> {
        let cone = capsule(m, v3(16.0, -36.0, -20.0), v3(33.0, -74.0, -22.0), 3.5, 18.0);
        if cone > 2.2 || m.y < -92.0 {
            return None;
        }
        if m.y < -76.0 && cone > -1.0 {
            return None;
        }
        if cone > 0.0 {
            return Some(mix(850.0, 200.0, smooth(1.2, 2.2, cone)));
        }
        let eye = m - v3(33.0, -76.0, -22.0);
        let globe = eye.len() - 12.2;
        if globe < 0.0 {
            let lens = ellipsoid(eye - v3(0.3, -8.0, 0.0), v3(4.6, 2.2, 4.6));
            let wall = smooth(-1.6, -0.8, globe);
            return Some(mix(mix(9.0, 95.0, smooth(0.4, -0.4, lens)), 48.0, wall));
        }
        let nerve = capsule(m, v3(18.0, -40.0, -20.0), v3(32.5, -65.0, -22.0), 1.9, 2.0);
        let medial = capsule(m, v3(16.5, -40.0, -20.0), v3(20.0, -68.0, -22.0), 1.4, 2.0);
        let lateral = capsule(m, v3(20.0, -38.0, -20.0), v3(45.0, -68.0, -22.0), 1.3, 1.9);
        let upper = capsule(m, v3(18.0, -40.0, -15.0), v3(32.0, -70.0, -8.0), 1.4, 2.2);
        let lower = capsule(m, v3(18.0, -40.0, -24.0), v3(32.0, -70.0, -36.0), 1.4, 2.2);
        let string = nerve.min(medial).min(lateral).min(upper).min(lower);
        Some(mix(FAT_HU, 45.0, smooth(0.5, -0.5, string)))
    }

    fn nasal(&self, q: V3, m: V3, noise: &Noise) -> Option<f32> {
        let maxillary = ellipsoid(m - v3(31.0, -58.0, -56.0), v3(15.0, 18.0, 17.0)) + 1.2 * noise.at(q * 0.1);
        if maxillary < 1.6 {
            let fill = self.p.sinus_fill[usize::from(q.x < 0.0)];
            let wet = maxillary > -6.0 * fill || q.y > -58.0 + 18.0 * (1.0 - 2.0 * fill);
            let inside = if fill > 0.05 && wet { 22.0 } else { AIR_HU };
            return Some(mix(inside, 750.0, smooth(-0.4, 0.6, maxillary)));
        }
        let top = -9.0 - 0.06 * (q.y + 60.0).abs();
        let box_distance = (m.x - 13.5).max(-88.0 - q.y).max(q.y + 33.0).max(q.z - top);
        if box_distance > 0.0 {
            return None;
        }
        let lamina = (noise.rich(v3(q.x * 0.16, q.y * 0.11, q.z * 0.13)).abs() * 5.0).min(-box_distance * 0.8);
        let turbinate = (noise.rich(v3(q.x * 0.2 + 3.0, q.y * 0.045, q.z * 0.1)) - 0.25) * -5.0;
        let septum = (q.x - 1.5 * noise.at(v3(0.2, q.y * 0.04, q.z * 0.04))).abs();
        let upper = smooth(-44.0, -38.0, q.z);
        let bone = smooth(1.0, 0.3, lamina) * upper;
        let flesh = smooth(0.8, -0.8, turbinate) * (1.0 - upper);
        let wall = smooth(1.3, 0.5, septum);
        Some(mix(mix(AIR_HU, 40.0, flesh), 330.0, bone.max(wall)))
    }

    fn soft_tissue(&self, q: V3, d: &Depths, skin: f32, noise: &Noise) -> f32 {
        if skin < 2.2 {
            return SKIN_HU;
        }
        let scalp = d.vault < 0.0 && q.z > shell_bottom(q);
        let over_bone = -d.vault - d.bone;
        if scalp && over_bone < temporal_muscle(q) + 0.9 {
            return mix(SKIN_HU + 10.0, MUSCLE_HU, smooth(1.0, 2.0, temporal_muscle(q))) + 6.0 * noise.at(q * 0.3);
        }
        if scalp || skin < 4.0 + 3.0 * noise.at(q * 0.04) {
            return FAT_HU + 25.0 * noise.at(q * 0.25);
        }
        let bundle = noise.rich(v3(q.x * 0.075, q.y * 0.075, q.z * 0.04)) + 1.2 * (self.p.muscle - 0.35);
        mix(FAT_HU + 10.0, MUSCLE_HU, smooth(-0.08, 0.08, bundle)) + 5.0 * noise.at(q * 0.3)
    }

    fn ears(&self, q: V3, skin: f32) -> f32 {
        let ax = q.x.abs();
        if ax < 58.0 || !(-24.0..46.0).contains(&q.y) || !(-62.0..4.0).contains(&q.z) || skin < -22.0 {
            return AIR_HU;
        }
        // The auricle: a curved leaf that stands off the head.
        let leaf = (skin + 4.0 + 0.3 * (q.y - 10.0)).abs();
        let outline = ellipsoid(v3(0.0, q.y - 20.0, q.z + 28.0), v3(1.0, 15.0, 26.0));
        let sheet = (leaf - 1.7).max(outline);
        mix(AIR_HU, 20.0, smooth(0.6, -0.6, sheet))
    }
}
