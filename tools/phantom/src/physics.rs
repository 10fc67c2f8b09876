//! What the scanner adds: beam hardening and streaks, in-plane blur, correlated noise.

use crate::math::sin_cos;
use crate::rng::Rng;

/// Projection angles of the coarse beam-hardening model.
const ANGLES: usize = 48;
/// Side of the grid on which it runs.
const GRID: usize = 96;
/// Detector bins: the grid's diagonal and a margin.
const BINS: usize = 144;

/// Angles, filter and scratch sizes shared by all slices.
#[derive(Clone, Debug)]
pub struct Hardening {
    directions: Vec<(f32, f32)>,
    ramp: Vec<f32>,
}

impl Default for Hardening {
    fn default() -> Self {
        let directions =
            (0..ANGLES).map(|a| sin_cos((a as f32 + 0.3) * std::f32::consts::PI / ANGLES as f32)).map(|(s, c)| (c, s)).collect();
        // Ram-Lak: 1/4 at 0, −1/(πk)² at odd k, 0 at even k.
        let ramp = (0..BINS)
            .map(|k| match k {
                0 => 0.25,
                k if k % 2 == 1 => -1.0 / (std::f32::consts::PI * k as f32 * std::f32::consts::PI * k as f32),
                _ => 0.0,
            })
            .collect();
        Self { directions, ramp }
    }
}

impl Hardening {
    /// Adds to `hu` (n × n, pixels of `pixel_mm`) what a water-corrected polychromatic beam leaves: the path through bone p is measured as p − strength·p²;
    /// the filtered back-projection of that error is the artefact. `motion` adds streaks from a few inconsistent angles.
    pub fn apply(&self, hu: &mut [f32], n: usize, pixel_mm: f32, strength: f32, motion: f32, rng: &mut Rng) {
        let cell_mm = pixel_mm * n as f32 / GRID as f32;
        let bone = coarse_bone(hu, n);
        if bone.iter().all(|&b| b == 0.0) {
            return;
        }
        let mut sinogram = self.project(&bone);
        for row in sinogram.chunks_mut(BINS) {
            for v in row.iter_mut() {
                let path_cm = *v * cell_mm * 0.1;
                *v = -strength * path_cm * path_cm;
            }
        }
        if motion > 0.0 {
            for _ in 0..1 + rng.below(3) {
                let row = rng.below(ANGLES) * BINS;
                for v in &mut sinogram[row + 20..row + BINS - 20] {
                    *v += 0.12 * motion * rng.normal();
                }
            }
        }
        let image = self.back_project(&self.filter(&sinogram));
        add_enlarged(hu, n, &image);
    }

    fn project(&self, bone: &[f32]) -> Vec<f32> {
        let mut sinogram = vec![0.0; ANGLES * BINS];
        for (index, &b) in bone.iter().enumerate().filter(|(_, b)| **b > 0.0) {
            let (x, y) = centred(index);
            for (a, &(c, s)) in self.directions.iter().enumerate() {
                let t = x * c + y * s + BINS as f32 / 2.0;
                let bin = t as usize;
                let f = t - bin as f32;
                sinogram[a * BINS + bin] += b * (1.0 - f);
                sinogram[a * BINS + bin + 1] += b * f;
            }
        }
        sinogram
    }

    fn filter(&self, sinogram: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; sinogram.len()];
        for (row, result) in sinogram.chunks(BINS).zip(out.chunks_mut(BINS)) {
            let last = row.iter().rposition(|&v| v != 0.0).map_or(0, |i| i + 1);
            for (j, &v) in row[..last].iter().enumerate().filter(|(_, v)| **v != 0.0) {
                for (i, r) in result.iter_mut().enumerate() {
                    *r += v * self.ramp[i.abs_diff(j)];
                }
            }
        }
        out
    }

    fn back_project(&self, filtered: &[f32]) -> Vec<f32> {
        let scale = std::f32::consts::PI / ANGLES as f32 * 100.0;
        let radius2 = (GRID as f32 / 2.0 - 1.0) * (GRID as f32 / 2.0 - 1.0);
        let mut image = vec![0.0; GRID * GRID];
        for (index, v) in image.iter_mut().enumerate() {
            let (x, y) = centred(index);
            if x * x + y * y > radius2 {
                continue;
            }
            let mut sum = 0.0;
            for (row, &(c, s)) in filtered.chunks(BINS).zip(&self.directions) {
                let t = x * c + y * s + BINS as f32 / 2.0;
                let bin = t as usize;
                let f = t - bin as f32;
                sum += row[bin] * (1.0 - f) + row[bin + 1] * f;
            }
            *v = sum * scale;
        }
        image
    }
}

fn centred(index: usize) -> (f32, f32) {
    let half = (GRID as f32 - 1.0) / 2.0;
    ((index % GRID) as f32 - half, (index / GRID) as f32 - half)
}

/// Mean share of dense bone per cell of the coarse grid: 0 below 250 HU, 1 at 1250 HU.
fn coarse_bone(hu: &[f32], n: usize) -> Vec<f32> {
    let mut bone = vec![0.0; GRID * GRID];
    let scale = GRID as f32 / n as f32;
    for (i, row) in hu.chunks(n).enumerate() {
        let y = ((i as f32 + 0.5) * scale) as usize;
        for (j, &v) in row.iter().enumerate().filter(|(_, v)| **v > 250.0) {
            bone[y * GRID + ((j as f32 + 0.5) * scale) as usize] += (v - 250.0) * 1e-3;
        }
    }
    bone.iter_mut().for_each(|b| *b *= scale * scale);
    bone
}

/// Bilinear enlargement, added to everything that is not air.
fn add_enlarged(hu: &mut [f32], n: usize, image: &[f32]) {
    let scale = GRID as f32 / n as f32;
    let at = |i: usize| {
        let t = ((i as f32 + 0.5) * scale - 0.5).clamp(0.0, GRID as f32 - 1.001);
        (t as usize, t - (t as usize) as f32)
    };
    for (i, row) in hu.chunks_mut(n).enumerate() {
        let (y, fy) = at(i);
        for (j, v) in row.iter_mut().enumerate() {
            let (x, fx) = at(j);
            let base = y * GRID + x;
            let top = image[base] + (image[base + 1] - image[base]) * fx;
            let bottom = image[base + GRID] + (image[base + GRID + 1] - image[base + GRID]) * fx;
            let amount = if *v < -300.0 { 0.3 } else { 1.0 };
            *v += amount * (top + (bottom - top) * fy);
        }
    }
}

/// Gaussian blur with standard deviation `sigma` pixels, as a separable five-tap filter; edges are repeated.
pub fn blur(image: &mut [f32], n: usize, sigma: f32) {
    let w = |k: f32| crate::math::exp(-0.5 * k * k / (sigma * sigma).max(1e-4));
    let (a, b) = (w(1.0), w(2.0));
    let total = 1.0 + 2.0 * (a + b);
    let taps = [1.0 / total, a / total, b / total];
    let mut rows = vec![0.0; n * n];
    for (src, dst) in image.chunks(n).zip(rows.chunks_mut(n)) {
        for j in 0..n {
            let at = |k: isize| src[(j as isize + k).clamp(0, n as isize - 1) as usize];
            dst[j] = taps[0] * src[j] + taps[1] * (at(-1) + at(1)) + taps[2] * (at(-2) + at(2));
        }
    }
    for i in 0..n {
        let at = |k: isize| (i as isize + k).clamp(0, n as isize - 1) as usize * n;
        let (r0, r1, r2, r3, r4) = (at(-2), at(-1), at(0), at(1), at(2));
        for j in 0..n {
            image[i * n + j] = taps[0] * rows[r2 + j] + taps[1] * (rows[r1 + j] + rows[r3 + j]) + taps[2] * (rows[r0 + j] + rows[r4 + j]);
        }
    }
}

/// Noise of unit variance whose spectrum is that of a reconstruction kernel: white noise, blurred, less its slow part.
pub fn correlated_noise(n: usize, sigma: f32, rng: &mut Rng) -> Vec<f32> {
    let mut fine: Vec<f32> = (0..n * n).map(|_| rng.normal()).collect();
    blur(&mut fine, n, sigma);
    let mut slow = fine.clone();
    blur(&mut slow, n, 1.6);
    for (f, s) in fine.iter_mut().zip(&slow) {
        *f -= 0.7 * s;
    }
    let variance = fine.iter().map(|v| v * v).sum::<f32>() / fine.len() as f32;
    let scale = 1.0 / variance.max(1e-12).sqrt();
    fine.iter_mut().for_each(|v| *v *= scale);
    fine
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two dense discs leave a dark band between them and none far off to the side.
    #[test]
    fn dense_bones_darken_what_lies_between() {
        let n = 128;
        let mut hu = vec![30.0; n * n];
        for (i, v) in hu.iter_mut().enumerate() {
            let (x, y) = ((i % n) as f32 - 64.0, (i / n) as f32 - 64.0);
            if (x.abs() - 30.0) * (x.abs() - 30.0) + y * y < 64.0 {
                *v = 1500.0;
            }
        }
        Hardening::default().apply(&mut hu, n, 1.7, 1.0, 0.0, &mut Rng::new(1, "t"));
        let (between, aside) = (hu[64 * n + 64], hu[20 * n + 64]);
        assert!(between < 26.0 && between < aside - 4.0, "between {between}, aside {aside}");
    }

    /// Blur keeps the mean and noise has unit variance.
    #[test]
    fn blur_and_noise_are_normalised() {
        let n = 64;
        let mut flat = vec![7.0; n * n];
        blur(&mut flat, n, 0.8);
        assert!(flat.iter().all(|v| (v - 7.0).abs() < 1e-4));
        let noise = correlated_noise(n, 0.8, &mut Rng::new(5, "n"));
        let var = noise.iter().map(|v| v * v).sum::<f32>() / noise.len() as f32;
        assert!((var - 1.0).abs() < 1e-3);
    }
}
