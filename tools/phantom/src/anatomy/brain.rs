//! The contents of the cranial cavity: cortex and sulci, white matter, nuclei, ventricles, cisterns, falx, tentorium, cerebellum, stem and sinuses.

use crate::math::{V3, bell, capsule, ellipsoid, mix, smooth, v3};
use crate::noise::{Grid3, Noise};

use super::params::Params;
use super::skull::{Depths, petrous_ridge};
use super::ventricles::{Deep, DeepMap};

/// Half width in mm of the transition between two tissues, so that a few samples per voxel give a smooth partial volume.
const SOFT: f32 = 0.45;

/// What is found at a point inside the cranial cavity.
#[derive(Clone, Copy, Debug)]
pub struct BrainPoint {
    /// HU without lesions.
    pub hu: f32,
    /// Share of subarachnoid fluid: sulci, fissures and cisterns.
    pub csf: f32,
    /// Share of ventricular fluid.
    pub ventricle: f32,
    /// Depth below the brain's surface; negative in the fluid around it.
    pub depth: f32,
}

/// Brain of one head.
#[derive(Clone, Debug)]
pub struct Brain {
    p: Params,
    deep: DeepMap,
    folds: Grid3<2>,
}

/// The folds are tabulated in this cube around the brain.
const FOLD_BOX: f32 = 84.0;

impl Brain {
    /// Tabulates what is slow.
    pub fn new(p: &Params, noise: &Noise) -> Self {
        let corner = v3(FOLD_BOX, FOLD_BOX, FOLD_BOX);
        let folds = Grid3::tabulate(-corner, corner, 2.8, |s| {
            let bent = s * (1.0 / p.gyral_cell)
                + v3(noise.at(s * 0.05), noise.at(s * 0.05 + v3(7.0, 3.0, 1.0)), noise.at(s * 0.05 + v3(2.0, 9.0, 5.0))) * 0.6;
            let field = |o: V3| noise.gradient(bent + o * 0.05);
            let here = field(V3::default());
            let slope = v3(field(v3(1.0, 0.0, 0.0)) - here, field(v3(0.0, 1.0, 0.0)) - here, field(v3(0.0, 0.0, 1.0)) - here).len() / 0.05;
            [here / slope.max(0.8) * p.gyral_cell, 13.0 + 9.0 * noise.at(s * 0.045 + v3(9.0, 4.0, 2.0))]
        });
        Self { p: p.clone(), deep: DeepMap::new(p, noise), folds }
    }

    /// Distances to ventricles, nuclei and stem.
    pub fn deep(&self, q: V3) -> Deep {
        self.deep.at(q)
    }

    /// Tissue at `q` (canonical, in the cavity), which lies at `d` with respect to the skull.
    pub fn at(&self, q: V3, d: &Depths, noise: &Noise) -> BrainPoint {
        let deep = self.deep.at(q);
        let mid = q.x - 1.6 * noise.at(v3(0.5, q.y / 45.0, q.z / 45.0));
        let texture = 1.2 * noise.at(q * 0.11);
        let gap = 0.5 + self.p.atrophy * (2.3 + 1.2 * noise.at(q * 0.03)) * smooth(-10.0, 25.0, q.z);
        let tent = q.z - tentorium(q);
        let in_notch = notch(q) < 1.0;
        let behind = q.y - petrous_ridge(q.x.abs());
        let infra = tent < 0.0 && behind > -3.0 || deep.stem < 4.0 && q.z < -2.0;
        let mut point = if infra {
            self.below_tentorium(q, d.cavity - gap, if in_notch { 50.0 } else { -tent }, &deep, noise)
        } else {
            let depth = (d.cavity - gap).min(if behind > 0.0 && !in_notch { tent - 0.8 } else { 50.0 });
            self.cerebrum(q, mid, depth, &deep, noise)
        };
        point.hu += texture;
        self.cisterns(q, &deep, &mut point);
        self.dura(q, mid, d, if in_notch || behind < -2.0 { 50.0 } else { tent }, &mut point);
        self.arteries(q, &mut point);
        point
    }

    fn cerebrum(&self, q: V3, mid: f32, outer: f32, deep: &Deep, noise: &Noise) -> BrainPoint {
        let p = &self.p;
        let fissure = if in_fissure(q) { mid.abs() - p.fissure * (0.5 + 0.5 * smooth(30.0, -60.0, q.y)) } else { 60.0 };
        let depth = outer.min(fissure);
        // Folds run from the surface inwards, so the pattern is read where the point projects to on the surface.
        let (mut sulcus, mut bank) = (0.0, 60.0);
        if depth < 26.0 && deep.ventricle > 1.0 {
            let centre = v3(0.0, 0.0, -6.0);
            let out = q - centre;
            let site = if fissure < outer {
                v3((45.0 + 0.8 * mid.abs()) * mid.signum(), q.y, q.z)
            } else {
                out * mix(66.0 / out.len().max(20.0), 1.0, 0.5)
            };
            let [fold, reach] = self.folds.at(site);
            let fold = fold.abs();
            let width = (0.22 + 1.25 * p.atrophy) * (1.0 - depth.max(0.0) / reach) + 0.1;
            if depth < reach {
                sulcus = smooth(width + SOFT, width - SOFT, fold);
            }
            bank = fold - width + 0.6 * (depth - reach).max(0.0);
        }
        let (sylvian, insula) = self.sylvian(q, noise);
        let pia = depth.min(bank).min(insula);
        let cortex = 3.0 + 0.8 * noise.at(q * 0.07 + v3(5.0, 1.0, 0.0));
        let grey = smooth(cortex + 1.0, cortex - 1.0, pia).max(smooth(0.9, -0.9, deep.nuclei) * 0.85);
        let edge = p.leukoaraiosis * bell(deep.ventricle.max(0.0) / 7.0) * (1.0 + 0.5 * noise.at(q * 0.08));
        let tissue = mix(p.white_hu - edge, p.grey_hu, grey);
        let csf = sulcus.max(smooth(SOFT, -SOFT, depth)).max(sylvian);
        self.with_fluids(tissue, csf, deep, depth)
    }

    fn below_tentorium(&self, q: V3, outer: f32, tent: f32, deep: &Deep, noise: &Noise) -> BrainPoint {
        let p = &self.p;
        let ax = q.x.abs();
        if deep.stem < 0.8 {
            let tissue = mix(p.white_hu, p.grey_hu, 0.45) + 1.5 * noise.at(q * 0.2);
            return self.with_fluids(tissue, smooth(-SOFT, SOFT, deep.stem) * apart(q), deep, -deep.stem);
        }
        // The cerebellum: two lobes behind the stem, folia as fine layers parallel to the tentorium.
        let lobe = -ellipsoid(v3(ax - 24.0, q.y - 44.0, q.z + 32.0), v3(32.0, 35.0, 38.0));
        let vermis = -ellipsoid(v3(ax, q.y - 50.0, q.z + 26.0), v3(16.0, 31.0, 35.0 - 4.0 * p.atrophy));
        let depth = outer.min(tent - 0.9).min(lobe.max(vermis));
        let layer = noise.at(v3(q.x / 26.0, q.y / 14.0, q.z / 3.6));
        let folia = smooth(0.55, 0.85, layer.abs()) * 0.25 * (0.3 + p.atrophy) * smooth(14.0, 2.0, depth);
        let core = bell((ax - 17.0) / 9.0) * bell((q.y - 38.0) / 11.0) * bell((q.z + 33.0) / 9.0);
        let tissue = mix(p.white_hu, p.grey_hu, 0.72 - 0.6 * core + 0.15 * layer);
        let link = -capsule(v3(ax, q.y, q.z), v3(12.0, 18.0, -27.0), v3(22.0, 36.0, -30.0), 8.0, 12.0);
        let depth = depth.max(link);
        self.with_fluids(tissue, smooth(SOFT, -SOFT, depth).max(folia), deep, depth)
    }

    fn with_fluids(&self, tissue: f32, csf: f32, deep: &Deep, depth: f32) -> BrainPoint {
        let ventricle = smooth(SOFT, -SOFT, deep.ventricle);
        let csf = csf * (1.0 - ventricle);
        BrainPoint {
            hu: mix(tissue, self.p.csf_hu, (csf + ventricle).min(1.0)),
            csf,
            ventricle,
            depth: depth.min(if csf > 0.5 { 0.0 } else { depth }),
        }
    }

    /// Sylvian fissure (share of fluid) and distance to its banks and the insular cortex.
    fn sylvian(&self, q: V3, noise: &Noise) -> (f32, f32) {
        let ax = q.x.abs();
        if ax < 24.0 || !(-42.0..36.0).contains(&q.y) || !(-24.0..28.0).contains(&q.z) {
            return (0.0, 60.0);
        }
        let wave = 2.0 * noise.at(q * 0.09 + v3(2.0 * q.x.signum(), 0.0, 0.0));
        let width = (0.3 + 1.9 * self.p.atrophy) * (1.0 + 0.8 * noise.at(q * 0.13 + v3(1.0, 2.0 * q.x.signum(), 8.0)));
        let line = (q.z - (-9.0 + 0.42 * (q.y + 18.0)) + wave) * 0.92;
        let cleft = if ax > 37.0 { line.abs() } else { 60.0 };
        let island = ellipsoid(v3(ax - 36.5 - 0.4 * wave, (q.y + 4.0) * 0.05, (q.z - 3.0) * 0.05), v3(1.0, 1.0, 0.75));
        let ripple = 2.2 * noise.at(q * 0.16 + v3(4.0 * q.x.signum(), 3.0, 0.0));
        let plate = if island < 4.0 { (ax - 37.0 - 0.5 * wave - ripple + 0.008 * (q.y + 4.0) * (q.y + 4.0)).abs() } else { 60.0 };
        let plate = plate + 0.8 * ((q.y + 4.0).abs() - 20.0).max(0.0) + 0.8 * ((q.z - 3.0).abs() - 12.0).max(0.0);
        let nearest = cleft.min(plate);
        (smooth(width + SOFT, width - SOFT, nearest), nearest - width)
    }

    fn cisterns(&self, q: V3, deep: &Deep, point: &mut BrainPoint) {
        if q.z > 12.0 || q.z < -66.0 || q.x.abs() > 48.0 || deep.stem < 0.0 {
            return;
        }
        let wide = 0.75 + 0.6 * self.p.atrophy;
        let ax = q.x.abs();
        let m = v3(ax, q.y, q.z);
        let star = ellipsoid(q - v3(0.0, -11.0, -12.0), v3(11.0 * wide, 10.0, 6.5)).min(capsule(
            m,
            v3(3.0, -14.0, -12.0),
            v3(36.0, -18.0, -11.0),
            3.0 * wide,
            1.6 * wide,
        ));
        let front = capsule(q, v3(0.0, -14.0, -10.0), v3(0.0, -40.0, -6.0), 2.6 * wide, 1.4 * wide);
        let ring = if q.z > -24.0 {
            (deep.stem - 1.1 * wide).abs() - 1.1 * wide + 0.5 * (q.z - 3.0).max(0.0) + 30.0 * (1.0 - apart(q))
        } else {
            60.0
        };
        let pons = if q.y < 16.0 && q.z > -56.0 { deep.stem - 4.5 * wide } else { deep.stem - 1.6 * wide + 30.0 * (1.0 - apart(q)) };
        let quadrigeminal = ellipsoid(q - v3(0.0, 32.0, -1.0), v3(11.0 * wide, 4.5 * wide, 6.0));
        let magna = ellipsoid(q - v3(0.0, 54.0, -56.0), v3(14.0, 10.0, 11.0) * wide);
        let angle = ellipsoid(m - v3(20.0, 11.0, -31.0), v3(8.0, 4.5, 6.0) * wide);
        let d = star.min(front).min(ring).min(pons).min(quadrigeminal).min(magna).min(angle);
        let fluid = smooth(SOFT, -SOFT, d) * (1.0 - point.ventricle);
        if fluid > point.csf {
            point.hu += (self.p.csf_hu - point.hu) * (fluid - point.csf) / (1.0 - point.csf).max(0.05);
            point.csf = fluid;
        }
    }

    fn dura(&self, q: V3, mid: f32, d: &Depths, tent: f32, point: &mut BrainPoint) {
        let mut sheet = 0.0_f32;
        if q.z > falx_edge(q.y) && q.z > tentorium(q) - 1.0 {
            sheet = smooth(0.95, 0.25, mid.abs()) * 0.95;
        }
        sheet = sheet.max(smooth(1.0, 0.3, tent.abs()) * 0.8);
        sheet = sheet.max(smooth(1.1, 0.4, d.cavity) * 0.9);
        let sagittal = if q.z > -6.0 && (q.y > -60.0 || q.z > 20.0) { smooth(0.8, -0.8, mid.abs() * 1.5 + d.vault - 6.5) } else { 0.0 };
        let transverse =
            if q.y > 18.0 && d.vault < 9.0 { smooth(0.8, -0.8, v3(tent.min(20.0), d.vault - 1.5, 0.0).len() - 4.2) } else { 0.0 };
        let sinus = sagittal.max(transverse);
        if sheet > 0.0 {
            point.hu = mix(point.hu, self.p.dura_hu, sheet);
        }
        if sinus > 0.0 {
            point.hu = mix(point.hu, self.p.blood_hu, sinus);
        }
        let solid = sheet.max(sinus);
        point.csf *= 1.0 - solid;
    }

    fn arteries(&self, q: V3, point: &mut BrainPoint) {
        let m = v3(q.x.abs(), q.y, q.z);
        if m.x > 38.0 || !(-34.0..4.0).contains(&q.y) || !(-42.0..-4.0).contains(&q.z) {
            return;
        }
        let basilar = capsule(q, v3(1.5, 1.0, -38.0), v3(0.0, -2.5, -16.0), 1.7, 1.5);
        let middle = capsule(m, v3(8.0, -14.0, -13.0), v3(22.0, -17.0, -12.0), 1.6, 1.4).min(capsule(
            m,
            v3(22.0, -17.0, -12.0),
            v3(37.0, -14.0, -8.0),
            1.4,
            0.9,
        ));
        let carotid = capsule(m, v3(9.0, -13.0, -19.0), v3(8.0, -14.0, -12.0), 2.0, 1.8);
        let anterior = capsule(m, v3(7.0, -15.0, -12.0), v3(1.5, -24.0, -9.0), 1.1, 1.0);
        let vessel = smooth(SOFT, -SOFT, basilar.min(middle).min(carotid).min(anterior));
        if vessel > 0.0 {
            point.hu = mix(point.hu, self.p.blood_hu, vessel);
            point.csf *= 1.0 - vessel;
        }
    }
}

/// Height of the tentorium over (x, y).
pub fn tentorium(q: V3) -> f32 {
    12.0 - 0.33 * q.x.abs() - 0.006 * (q.y - 30.0).max(0.0) * (q.y - 30.0).max(0.0) - 0.1 * (q.y - 30.0)
}

/// Below 1 in the opening of the tentorium, where the stem passes.
fn notch(q: V3) -> f32 {
    let (x, y) = (q.x / 20.0, (q.y - 14.0) / 24.0);
    x * x + y * y
}

/// 1 where fluid separates the stem from the cerebellum, 0 behind the pons, where the peduncles join them.
fn apart(q: V3) -> f32 {
    1.0 - smooth(10.0, 15.0, q.y) * smooth(-47.0, -42.0, q.z) * smooth(-12.0, -18.0, q.z)
}

/// Lower edge of the falx along the midline.
fn falx_edge(y: f32) -> f32 {
    37.0 - 0.0058 * (y + 8.0) * (y + 8.0)
}

/// Whether the two hemispheres are apart here (above, before and behind the corpus callosum).
fn in_fissure(q: V3) -> bool {
    q.z > 30.0 - 0.0075 * q.y * q.y || q.y < -43.0 || (q.y > 40.0)
}
