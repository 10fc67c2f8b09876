//! What differs between two heads: drawn once per seed.

use crate::math::{V3, mix, v3};
use crate::rng::Rng;

/// Sizes, shapes and tissue values of one head. Lengths in mm of the canonical head unless said.
#[derive(Clone, Debug)]
pub struct Params {
    /// Age in years; atrophy, ventricles, calcification and white matter follow it loosely.
    pub age: f32,
    /// Canonical → this head, per axis.
    pub scale: V3,
    /// How much wider the head is behind than in front (relative, per vault half length).
    pub egg: f32,
    /// Left-right difference of the back of the head (plagiocephaly), mm.
    pub skew: f32,
    /// Mean thickness of the vault bone.
    pub bone: f32,
    /// Extra thickness of frontal bone (hyperostosis when large).
    pub frontal_bone: f32,
    /// Share of the bone's thickness that is diploe, and its HU.
    pub diploe: f32,
    /// HU of the diploe.
    pub diploe_hu: f32,
    /// HU of the bone tables.
    pub table_hu: f32,
    /// Scalp thickness.
    pub scalp: f32,
    /// 0 = tight young brain, 1 = marked atrophy.
    pub atrophy: f32,
    /// Radius factor of the ventricles, left and right.
    pub ventricles: [f32; 2],
    /// Half width of the third ventricle.
    pub third: f32,
    /// HU of grey matter.
    pub grey_hu: f32,
    /// HU of white matter.
    pub white_hu: f32,
    /// HU of cerebrospinal fluid.
    pub csf_hu: f32,
    /// HU of falx and tentorium.
    pub dura_hu: f32,
    /// HU of blood in the sinuses and arteries.
    pub blood_hu: f32,
    /// Spacing of the sulcal pattern (cell of the noise field).
    pub gyral_cell: f32,
    /// Drop of white matter near the ventricles (leukoaraiosis), HU.
    pub leukoaraiosis: f32,
    /// Amplitude of the smooth deformation of everything.
    pub warp: f32,
    /// Half width of the interhemispheric fissure.
    pub fissure: f32,
    /// How well the mastoids are aerated, 0..1, left and right.
    pub mastoid: [f32; 2],
    /// Size factor of frontal sinus, left and right (0 = none).
    pub frontal_sinus: [f32; 2],
    /// Fill of the maxillary sinuses, 0 = air.
    pub sinus_fill: [f32; 2],
    /// Muscle share of the soft tissue.
    pub muscle: f32,
}

impl Params {
    /// Draws a head.
    pub fn draw(rng: &mut Rng) -> Self {
        let age = rng.range(20.0, 92.0);
        let old = ((age - 35.0) / 55.0).clamp(0.0, 1.0);
        let atrophy = (0.75 * old * old + rng.range(0.0, 0.3) + if rng.chance(0.1) { 0.25 } else { 0.0 }).clamp(0.0, 1.0);
        let size = 1.0 + 0.045 * rng.normal().clamp(-2.0, 2.0);
        let wide = 1.0 + 0.035 * rng.normal().clamp(-2.0, 2.0);
        let ventricle = mix(0.75, 1.5, atrophy) * (1.0 + 0.12 * rng.normal());
        let lateral = 0.08 * rng.normal();
        let grey_hu = rng.range(35.0, 40.0);
        Self {
            age,
            scale: v3(size * wide, size / wide, size * rng.range(0.95, 1.06)),
            egg: rng.range(0.02, 0.11),
            skew: 2.5 * rng.normal(),
            bone: (5.8 + 1.1 * rng.normal()).clamp(3.8, 9.5),
            frontal_bone: if rng.chance(0.12) { rng.range(3.0, 7.0) } else { rng.range(0.5, 2.0) },
            diploe: rng.range(0.3, 0.6),
            diploe_hu: rng.range(550.0, 950.0),
            table_hu: rng.range(1350.0, 1800.0),
            scalp: (7.0 + 1.6 * rng.normal()).clamp(3.5, 11.0),
            atrophy,
            ventricles: [(ventricle + lateral).clamp(0.55, 2.2), (ventricle - lateral).clamp(0.55, 2.2)],
            third: mix(1.2, 4.2, atrophy) * rng.range(0.8, 1.2),
            grey_hu,
            white_hu: grey_hu - rng.range(7.0, 10.5),
            csf_hu: rng.range(3.0, 9.0),
            dura_hu: rng.range(46.0, 62.0),
            blood_hu: rng.range(42.0, 58.0),
            gyral_cell: rng.range(10.5, 13.5),
            leukoaraiosis: (9.0 * (old - 0.35).max(0.0) * rng.range(0.2, 1.8)).min(10.0),
            warp: rng.range(1.5, 3.2),
            fissure: mix(0.7, 2.2, atrophy),
            mastoid: [rng.range(0.25, 1.0), rng.range(0.25, 1.0)],
            frontal_sinus: [(0.9 + 0.4 * rng.normal()).clamp(0.0, 1.7), (0.9 + 0.4 * rng.normal()).clamp(0.0, 1.7)],
            sinus_fill: [if rng.chance(0.2) { rng.unit() } else { 0.0 }, if rng.chance(0.2) { rng.unit() } else { 0.0 }],
            muscle: rng.range(0.35, 0.7),
        }
    }
}
