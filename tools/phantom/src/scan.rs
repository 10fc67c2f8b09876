//! A scan: head, plan and physics put together, with masks and labels.

use rayon::prelude::*;

use crate::anatomy::{AIR_HU, Anatomy};
use crate::head::{Head, Sample};
use crate::lesions::{Kind, draw_bleeds, draw_mimics};
use crate::math::{Rotation, V3, mix, smooth, v3};
use crate::physics::{Hardening, blur, correlated_noise};
use crate::rng::Rng;
use crate::scanner::{Plan, PlanLimits, PlannedSlice, Scanner};

/// A slice carries a type's label when its mask of that type covers at least this area.
pub const MIN_LABEL_AREA_MM2: f32 = 30.0;

/// Which hemorrhages a scan gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BleedChoice {
    /// None in about half of the seeds, else any type.
    Auto,
    /// None.
    None,
    /// This type, possibly with companions.
    Of(Kind),
}

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// Scanner, or drawn.
    pub scanner: Option<Scanner>,
    /// Hemorrhages.
    pub bleed: BleedChoice,
    /// Rows and columns.
    pub size: usize,
    /// Greatest number of slices.
    pub max_slices: usize,
    /// Distance of slices, or drawn.
    pub spacing_mm: Option<f32>,
    /// Held-out distribution.
    pub shift: bool,
    /// Renders only this many slices of the series, spread evenly over it from a drawn start; all of them when missing.
    pub sample: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 0, scanner: None, bleed: BleedChoice::Auto, size: 256, max_slices: 40, spacing_mm: None, shift: false, sample: None }
    }
}

/// One image with its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Its place in the series, from inferior.
    pub index: usize,
    /// `size × size` HU, row-major: rows towards posterior, columns towards the patient's left.
    pub hu: Vec<i16>,
    /// Type codes, 0 where there is no hemorrhage.
    pub mask: Vec<u8>,
    /// Where it lies.
    pub plan: PlannedSlice,
    /// Area per type in mm², in the order of [`Kind::ALL`].
    pub area_mm2: [f32; 5],
}

impl Slice {
    /// Types whose area reaches [`MIN_LABEL_AREA_MM2`].
    pub fn labels(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|k| self.area_mm2[k.code() as usize - 1] >= MIN_LABEL_AREA_MM2)
    }
}

/// A generated scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// What was asked for.
    pub settings: Settings,
    /// How it was acquired.
    pub plan: Plan,
    /// Age of the imaginary patient.
    pub age: f32,
    /// Inferior to superior.
    pub slices: Vec<Slice>,
}

impl Scan {
    /// Generates a scan; equal settings give equal bits, whatever the number of threads.
    pub fn generate(settings: &Settings) -> Scan {
        let anatomy = Anatomy::new(settings.seed);
        let limits = PlanLimits { max_slices: settings.max_slices, spacing_mm: settings.spacing_mm, shift: settings.shift };
        let plan = Plan::draw(&mut Rng::new(settings.seed, "plan"), settings.scanner, anatomy.params.scale.z, &limits);
        let pose = Rotation::from_angles(plan.pose[0], plan.pose[1], plan.pose[2]);
        let bleeds = main_kind(settings).map_or_else(Vec::new, |kind| {
            let mut rng = Rng::new(settings.seed, "bleeds");
            let small = if settings.shift { rng.range(0.3, 1.0) } else { rng.range(0.0, 0.8) };
            draw_bleeds(&mut rng, kind, small, pose.invert(v3(0.0, 1.0, 0.0)))
        });
        let mimics = draw_mimics(&mut Rng::new(settings.seed, "mimics"), &anatomy.params);
        let age = anatomy.params.age;
        let head = Head { anatomy, bleeds, mimics };
        let hardening = Hardening::default();
        let renderer = Renderer { head: &head, plan: &plan, pose, settings, hardening: &hardening };
        let rendered = sampled(plan.slices.len(), settings);
        let slices = rendered.into_par_iter().map(|index| renderer.slice(index)).collect();
        Scan { settings: settings.clone(), plan, age, slices }
    }

    /// Whether any slice carries a label.
    pub fn positive(&self) -> bool {
        self.slices.iter().any(|s| s.labels().next().is_some())
    }

    /// Side of a pixel, mm.
    pub fn pixel_mm(&self) -> f32 {
        self.plan.fov_mm / self.settings.size as f32
    }
}

/// The indices of the slices to render, in order.
fn sampled(slices: usize, settings: &Settings) -> Vec<usize> {
    let count = settings.sample.unwrap_or(slices).min(slices);
    let start = Rng::new(settings.seed, "sample").range(0.0, 1.0);
    (0..count).map(|i| (((i as f32 + start) * slices as f32 / count as f32) as usize).min(slices - 1)).collect()
}

fn main_kind(settings: &Settings) -> Option<Kind> {
    match settings.bleed {
        BleedChoice::None => None,
        BleedChoice::Of(kind) => Some(kind),
        BleedChoice::Auto => {
            let mut rng = Rng::new(settings.seed, "verdict");
            rng.chance(0.52).then(|| Kind::ALL[rng.below(5)])
        }
    }
}

struct Renderer<'a> {
    head: &'a Head,
    plan: &'a Plan,
    pose: Rotation,
    settings: &'a Settings,
    hardening: &'a Hardening,
}

/// Sub-samples of a voxel as (column, row, thickness) offsets in voxel units: a rotated grid, so that each axis sees four positions.
const SUBSAMPLES: [(f32, f32, f32); 4] = [(-0.375, 0.125, -0.375), (0.125, 0.375, -0.125), (-0.125, -0.375, 0.125), (0.375, -0.125, 0.375)];

/// Where the two outermost samples of a voxel agree to this, the other two are not taken.
const UNIFORM_HU: f32 = 4.0;

impl Renderer<'_> {
    fn slice(&self, index: usize) -> Slice {
        let n = self.settings.size;
        let planned = self.plan.slices[index];
        let pixel_mm = self.plan.fov_mm / n as f32;
        let mut rng = Rng::new(self.settings.seed.wrapping_add((index as u64) << 40), "slice");
        let (mut hu, mask) = self.sample(&planned, pixel_mm);
        let bony = hu.iter().filter(|v| **v > 300.0).count() as f32 * pixel_mm * pixel_mm;
        let moved = if self.plan.motion_hu > 0.0 && rng.chance(0.4) { self.plan.motion_hu } else { 0.0 };
        self.hardening.apply(&mut hu, n, pixel_mm, self.plan.hardening, moved, &mut rng);
        blur(&mut hu, n, self.plan.blur_mm / pixel_mm);
        let tone = (1.0 / pixel_mm).clamp(0.6, 1.8) * (self.plan.blur_mm / 0.52);
        let noise = correlated_noise(n, tone, &mut rng);
        // Quanta: thin slices and slices full of bone are noisier, and the middle of the head more than its rim.
        let sigma = self.plan.noise_hu * (5.0 / planned.thickness_mm).sqrt().min(1.5) * (0.85 + bony / 9000.0);
        let middle = n as f32 / 2.0;
        for (i, (v, e)) in hu.iter_mut().zip(&noise).enumerate() {
            let (x, y) = (((i % n) as f32 - middle) / middle, ((i / n) as f32 - middle) / middle);
            let local = mix(1.1, 0.6, (x * x + y * y).min(1.0)) * mix(1.0, 1.0 + smooth(200.0, 1500.0, *v), 1.0);
            *v += sigma * local * e;
        }
        let mut area_mm2 = [0.0; 5];
        for &code in mask.iter().filter(|c| **c > 0) {
            area_mm2[code as usize - 1] += pixel_mm * pixel_mm;
        }
        Slice { index, hu: hu.iter().map(|v| v.round().clamp(-1024.0, 3071.0) as i16).collect(), mask, plan: planned, area_mm2 }
    }

    fn sample(&self, planned: &PlannedSlice, pixel_mm: f32) -> (Vec<f32>, Vec<u8>) {
        let n = self.settings.size;
        let [row, col, normal] = self.plan.axes();
        let middle = self.plan.slice_middle(planned);
        let half = (n as f32 - 1.0) / 2.0;
        // Everything is linear, so the pixel steps can be taken in the head's frame.
        let origin = self.pose.invert(middle - row * (half * pixel_mm) - col * (half * pixel_mm));
        let (dx, dy, dz) =
            (self.pose.invert(row * pixel_mm), self.pose.invert(col * pixel_mm), self.pose.invert(normal * planned.thickness_mm));
        let scale = self.head.anatomy.params.scale;
        let offsets = SUBSAMPLES.map(|(u, v, w)| (dx * u + dy * v + dz * w).over(scale));
        let (mut hu, mut mask) = (Vec::with_capacity(n * n), Vec::with_capacity(n * n));
        for i in 0..n {
            for j in 0..n {
                let centre = origin + dx * j as f32 + dy * i as f32;
                let (value, code) = self.voxel(centre, &offsets);
                let value = if value < -700.0 {
                    value.max(self.holder(middle, row * ((j as f32 - half) * pixel_mm) + col * ((i as f32 - half) * pixel_mm)))
                } else {
                    value
                };
                hu.push(value);
                mask.push(code);
            }
        }
        (hu, mask)
    }

    fn voxel(&self, centre: V3, offsets: &[V3; 4]) -> (f32, u8) {
        // The deformation hardly changes within a voxel: it is looked up once.
        let q = self.head.anatomy.canonical(centre);
        if self.head.far_outside(q) {
            return (AIR_HU, 0);
        }
        let ends = [self.head.sample(q + offsets[0]), self.head.sample(q + offsets[3])];
        if (ends[0].hu - ends[1].hu).abs() < UNIFORM_HU && ends.iter().all(|s| s.share == 0.0) {
            return ((ends[0].hu + ends[1].hu) * 0.5, 0);
        }
        let samples: [Sample; 4] = [ends[0], self.head.sample(q + offsets[1]), self.head.sample(q + offsets[2]), ends[1]];
        let hu = samples.iter().map(|s| s.hu).sum::<f32>() * 0.25;
        let share = samples.iter().map(|s| s.share).sum::<f32>() * 0.25;
        if share < 0.3 {
            return (hu, 0);
        }
        let code = samples.iter().max_by(|a, b| a.share.total_cmp(&b.share)).map_or(0, |s| s.code);
        // Thin sheets of subarachnoid blood never fill a voxel; solid clots must fill half of it.
        let needed = if code == Kind::Subarachnoid.code() { 0.35 } else { 0.5 };
        (hu, if share >= needed { code } else { 0 })
    }

    /// The head holder: a carbon shell bent around the back of the head, the same in all slices.
    fn holder(&self, middle: V3, in_plane: V3) -> f32 {
        let at = middle + in_plane;
        let [radius, depth] = self.plan.holder;
        let y = at.y - (depth - radius);
        if y < -35.0 {
            return AIR_HU;
        }
        let off = ((at.x * at.x + y * y).sqrt() - radius).abs();
        mix(AIR_HU, 120.0, smooth(2.0, 0.8, off))
    }
}
