//! A head with its findings: what one point of space contains.

use crate::anatomy::{AIR_HU, Anatomy, Depths};
use crate::lesions::{Bleed, Clot, Mimic};
use crate::math::{V3, mix};

/// HU and hemorrhage type (0 for none) of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Hounsfield units, before any physics of imaging.
    pub hu: f32,
    /// Mask code.
    pub code: u8,
    /// Share of the point that is clot.
    pub share: f32,
    /// Whether the point lies in the cranial cavity.
    pub inside: bool,
}

/// Anatomy plus findings.
#[derive(Clone, Debug)]
pub struct Head {
    /// The healthy head.
    pub anatomy: Anatomy,
    /// Its hemorrhages.
    pub bleeds: Vec<Bleed>,
    /// Its benign findings.
    pub mimics: Vec<Mimic>,
}

impl Head {
    /// Whether nothing but air can be within some mm of `q`.
    pub fn far_outside(&self, q: V3) -> bool {
        let skin = self.anatomy.skull.depths(q).skin;
        skin < -26.0 || skin < -7.0 && (q.z > 8.0 || q.x.abs() < 50.0)
    }

    /// What is at `q`, in canonical coordinates.
    pub fn sample(&self, q: V3) -> Sample {
        let air = Sample { hu: AIR_HU, code: 0, share: 0.0, inside: false };
        let d = self.anatomy.skull.depths(q);
        if d.cavity > 0.0 {
            return self.intracranial(q, &d);
        }
        let hu = self.anatomy.surroundings.at(q, &d, &self.anatomy.skull, &self.anatomy.noise);
        Sample { hu, ..air }
    }

    fn intracranial(&self, q: V3, d: &Depths) -> Sample {
        let noise = &self.anatomy.noise;
        let (mut source, mut retreat) = (q, 0.0);
        for bleed in &self.bleeds {
            let (move_by, back) = bleed.displacement(q, d);
            source = source + move_by;
            retreat += back;
        }
        let pushed =
            Depths { vault: d.vault - retreat, floor: d.floor, bone: d.bone, cavity: (d.vault - retreat).min(d.floor), skin: d.skin };
        let tissue = self.anatomy.brain.at(source, &pushed, noise);
        let mut hu = tissue.hu;
        for mimic in &self.mimics {
            hu = mimic.apply(source, &tissue, hu, noise);
        }
        let mut found = Clot { share: 0.0, code: 0, hu: 0.0 };
        for bleed in &self.bleeds {
            hu += bleed.edema(q, &tissue, noise);
            if let Some(clot) = bleed.clot(q, d, &tissue, noise) {
                hu = clot.over(hu);
                if clot.share > found.share {
                    found = clot;
                }
            }
        }
        Sample { hu: mix(hu, hu.max(0.0), 0.5), code: found.code, share: found.share, inside: true }
    }
}
