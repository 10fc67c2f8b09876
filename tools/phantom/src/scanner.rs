//! Scanners and their habits, and the plan of one acquisition.

use serde::{Deserialize, Serialize};

use crate::math::{V3, sin_cos, v3};
use crate::rng::Rng;

/// Whose habits a series follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scanner {
    /// Signed pixels, intercept 0 or −1024, padding −1500 or −2000 outside the reconstruction circle, tilted gantries, 4 + 7 mm series.
    Ge,
    /// Unsigned 12-bit pixels, intercept −1024, no padding.
    Siemens,
    /// Unsigned 12-bit pixels, file names without order, instance numbers from the top.
    Philips,
    /// Signed pixels, intercept 0, no padding tag, 16 bits stored.
    Toshiba,
}

impl Scanner {
    /// All scanners.
    pub const ALL: [Scanner; 4] = [Scanner::Ge, Scanner::Siemens, Scanner::Philips, Scanner::Toshiba];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Scanner::Ge => "ge",
            Scanner::Siemens => "siemens",
            Scanner::Philips => "philips",
            Scanner::Toshiba => "toshiba",
        }
    }

    /// The scanner of that name.
    pub fn from_name(name: &str) -> Option<Scanner> {
        Scanner::ALL.into_iter().find(|s| s.name() == name)
    }

    fn kernels(self) -> [(&'static str, f32); 3] {
        match self {
            Scanner::Ge => [("SOFT", 0.62), ("STANDARD", 0.52), ("STD+", 0.45)],
            Scanner::Siemens => [("H31s", 0.58), ("Hr40f", 0.5), ("J40s", 0.46)],
            Scanner::Philips => [("UA", 0.62), ("UB", 0.54), ("B", 0.48)],
            Scanner::Toshiba => [("FC21", 0.6), ("FC26", 0.52), ("FC64", 0.46)],
        }
    }
}

/// One slice of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedSlice {
    /// Distance of its middle from the head's centre along the slice normal, mm.
    pub along_mm: f32,
    /// Thickness, mm.
    pub thickness_mm: f32,
}

/// How one series is acquired.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Whose habits.
    pub scanner: Scanner,
    /// Kernel name.
    pub kernel: &'static str,
    /// In-plane blur (standard deviation), mm.
    pub blur_mm: f32,
    /// Noise of brain at 5 mm, HU.
    pub noise_hu: f32,
    /// Strength of beam hardening left after the scanner's correction.
    pub hardening: f32,
    /// Slices in which the patient moved: amplitude of streaks per affected slice, HU.
    pub motion_hu: f32,
    /// Gantry tilt, degrees.
    pub tilt_deg: f32,
    /// Field of view, mm.
    pub fov_mm: f32,
    /// Inferior to superior.
    pub slices: Vec<PlannedSlice>,
    /// Middle of the image in the head's surroundings, mm off the head's centre.
    pub offset: V3,
    /// Rotation of the head in the scanner: pitch, roll, yaw (radians).
    pub pose: [f32; 3],
    /// Radius of the head holder's shell, mm; depth of its lowest point below the head's centre.
    pub holder: [f32; 2],
}

/// What a caller may fix.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlanLimits {
    /// Greatest number of slices: wider steps replace what does not fit.
    pub max_slices: usize,
    /// Distance of slices, mm.
    pub spacing_mm: Option<f32>,
    /// Held-out distribution instead of the training one.
    pub shift: bool,
}

impl Plan {
    /// Draws a plan that covers a head of the given vertical scale.
    pub fn draw(rng: &mut Rng, scanner: Option<Scanner>, height: f32, limits: &PlanLimits) -> Self {
        let scanner = scanner.unwrap_or(Scanner::ALL[rng.below(4)]);
        let shift = limits.shift;
        let (kernel, blur_mm) = scanner.kernels()[rng.below(3)];
        let blur_mm = if shift { blur_mm * rng.range(0.7, 1.7) } else { blur_mm * rng.range(0.9, 1.15) };
        let tilted = rng.chance(if scanner == Scanner::Ge { 0.5 } else { 0.25 });
        let tilt_deg = if tilted { (rng.range(6.0, if shift { 26.0 } else { 20.0 }) * 2.0).round() / 2.0 } else { 0.0 };
        let slices = slices(rng, scanner, height, limits);
        let lean = if shift { 0.13 } else { 0.075 };
        let (base_noise, spread) = if shift { (3.6, 1.4) } else { (2.6, 0.8) };
        let tilt = tilt_deg.to_radians();
        Self {
            scanner,
            kernel,
            blur_mm,
            noise_hu: (base_noise + spread * rng.normal()).clamp(1.1, 7.0),
            hardening: if shift { rng.range(0.6, 1.8) } else { rng.range(0.3, 1.2) },
            motion_hu: if rng.chance(if shift { 0.15 } else { 0.08 }) { rng.range(6.0, 25.0) } else { 0.0 },
            tilt_deg,
            fov_mm: (rng.range(218.0, if shift { 275.0 } else { 252.0 })).round(),
            slices,
            offset: v3(5.0 * rng.normal(), 5.0 * rng.normal() - 4.0, 0.0),
            pose: [-tilt + lean * rng.normal(), 0.8 * lean * rng.normal(), 1.2 * lean * rng.normal()],
            holder: [rng.range(92.0, 106.0), rng.range(100.0, 112.0)],
        }
    }

    /// In-plane directions of rows (+column) and columns (+row), and the slice normal, in patient coordinates.
    pub fn axes(&self) -> [V3; 3] {
        let (s, c) = sin_cos(self.tilt_deg.to_radians());
        [v3(1.0, 0.0, 0.0), v3(0.0, c, -s), v3(0.0, s, c)]
    }

    /// Middle of a slice's image in patient coordinates: the table moves along z alone, so tilted stacks are sheared.
    pub fn slice_middle(&self, slice: &PlannedSlice) -> V3 {
        let n = self.axes()[2];
        self.offset + v3(0.0, 0.0, (slice.along_mm - self.offset.dot(n)) / n.z)
    }
}

fn slices(rng: &mut Rng, scanner: Scanner, height: f32, limits: &PlanLimits) -> Vec<PlannedSlice> {
    let choices: &[f32] = match (limits.shift, scanner) {
        (true, _) => &[2.5, 3.0, 3.75, 6.0, 7.0, 8.0],
        (_, Scanner::Ge) => &[5.0, 5.0, 2.5, 4.0],
        (_, Scanner::Siemens) => &[5.0, 4.0, 4.8, 3.0],
        (_, Scanner::Philips) => &[5.0, 5.0, 4.0, 2.5],
        (_, Scanner::Toshiba) => &[5.0, 4.0, 5.0, 5.0],
    };
    let thin = choices[rng.below(choices.len())];
    let (low, high) = (-rng.range(48.0, 66.0) * height, 84.0 * height + rng.range(-5.0, 5.0));
    let mixed = limits.spacing_mm.is_none() && thin >= 4.0 && rng.chance(if scanner == Scanner::Ge { 0.25 } else { 0.05 });
    let gap = if rng.chance(0.12) { rng.range(0.05, 0.5) } else { 0.0 };
    let step = limits.spacing_mm.unwrap_or(thin * (1.0 + gap));
    let thick = if mixed { thin + 3.0 } else { thin };
    let switch = if mixed { rng.range(-15.0, 10.0) } else { high };
    let wanted = ((switch - low) / step).max(0.0) + ((high - switch) / (step + thick - thin)).max(0.0) + 1.0;
    let stretch = (wanted / limits.max_slices.max(1) as f32).max(1.0);
    let (mut list, mut at) = (Vec::new(), low);
    while at <= high && list.len() < limits.max_slices.max(1) {
        let upper = at > switch;
        list.push(PlannedSlice { along_mm: at, thickness_mm: if upper { thick } else { thin } });
        at += stretch * if upper { step + thick - thin } else { step };
    }
    list
}
