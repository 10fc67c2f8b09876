//! Smooth random fields over space: a periodic lattice of values, and sampled grids of precomputed functions.

use crate::math::{V3, mix, v3};
use crate::rng::Rng;

const SIDE: usize = 32;

/// Largest whole number not above x, for |x| < 2³⁰; `f32::floor` is a library call on the baseline instruction set.
#[inline]
fn floor(x: f32) -> i32 {
    let i = x as i32;
    i - i32::from((i as f32) > x)
}

#[inline]
fn wrap(i: i32) -> usize {
    (i as usize) & (SIDE - 1)
}

/// Value noise: random values on a 32³ lattice that repeats, interpolated with a cubic ease. One unit is one lattice cell.
#[derive(Clone, Debug)]
pub struct Noise {
    lattice: Vec<f32>,
}

impl Noise {
    /// Draws a lattice, values uniform in [-1, 1).
    pub fn new(rng: &mut Rng) -> Self {
        Self { lattice: (0..SIDE * SIDE * SIDE).map(|_| rng.range(-1.0, 1.0)).collect() }
    }

    /// The field at `p` (in cells); within [-1, 1].
    #[inline]
    pub fn at(&self, p: V3) -> f32 {
        let (x, y, z) = (floor(p.x), floor(p.y), floor(p.z));
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (tx, ty, tz) = (ease(p.x - x as f32), ease(p.y - y as f32), ease(p.z - z as f32));
        let (x0, x1) = (wrap(x), wrap(x + 1));
        let (y0, y1) = (wrap(y) * SIDE, wrap(y + 1) * SIDE);
        let (z0, z1) = (wrap(z) * SIDE * SIDE, wrap(z + 1) * SIDE * SIDE);
        let row = |base: usize| self.lattice[base + x0] + (self.lattice[base + x1] - self.lattice[base + x0]) * tx;
        let near = row(z0 + y0) + (row(z0 + y1) - row(z0 + y0)) * ty;
        let far = row(z1 + y0) + (row(z1 + y1) - row(z1 + y0)) * ty;
        near + (far - near) * tz
    }

    /// Gradient noise on the same lattice: 0 on the nodes, smooth and without blocks between; roughly within [-1, 1].
    pub fn gradient(&self, p: V3) -> f32 {
        let (x, y, z) = (floor(p.x), floor(p.y), floor(p.z));
        let off = v3(p.x - x as f32, p.y - y as f32, p.z - z as f32);
        let ease = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let corner = |i: i32, j: i32, k: i32| {
            let node = wrap(x + i) + SIDE * (wrap(y + j) + SIDE * wrap(z + k));
            let value = |shift: usize| self.lattice[(node + shift) & (SIDE * SIDE * SIDE - 1)];
            v3(value(0), value(7919), value(16_127)).unit().dot(off - v3(i as f32, j as f32, k as f32))
        };
        let along = |j: i32, k: i32| mix(corner(0, j, k), corner(1, j, k), ease(off.x));
        let plane = |k: i32| mix(along(0, k), along(1, k), ease(off.y));
        1.5 * mix(plane(0), plane(1), ease(off.z))
    }

    /// Two octaves in rotated frames, which hides the lattice directions; roughly within [-1, 1].
    pub fn rich(&self, p: V3) -> f32 {
        let q = v3(0.8 * p.x + 0.6 * p.y + 7.3, -0.48 * p.x + 0.64 * p.y + 0.6 * p.z + 3.1, 0.36 * p.x - 0.48 * p.y + 0.8 * p.z + 11.7);
        0.62 * self.at(p) + 0.62 * self.at(q * 1.37)
    }
}

/// `N` values per node of a regular 3-D grid, interpolated linearly, constant beyond the border.
#[derive(Clone, Debug)]
pub struct Grid3<const N: usize> {
    origin: V3,
    step: f32,
    dims: [usize; 3],
    values: Vec<[f32; N]>,
}

impl<const N: usize> Grid3<N> {
    /// Tabulates `f` between two corners (mm).
    pub fn tabulate(low: V3, high: V3, step: f32, f: impl Fn(V3) -> [f32; N]) -> Self {
        let count = |a: f32, b: f32| ((b - a) / step).ceil() as usize + 1;
        let dims = [count(low.x, high.x), count(low.y, high.y), count(low.z, high.z)];
        let mut values = Vec::with_capacity(dims.iter().product());
        for k in 0..dims[2] {
            for j in 0..dims[1] {
                for i in 0..dims[0] {
                    values.push(f(low + v3(i as f32, j as f32, k as f32) * step));
                }
            }
        }
        Self { origin: low, step, dims, values }
    }

    /// The interpolated values at `p`.
    #[inline]
    pub fn at(&self, p: V3) -> [f32; N] {
        let q = (p - self.origin) * (1.0 / self.step);
        let cell = |v: f32, n: usize| {
            let v = v.clamp(0.0, (n - 1) as f32 - 1e-3);
            let i = v as usize;
            (i, v - i as f32)
        };
        let (i, tx) = cell(q.x, self.dims[0]);
        let (j, ty) = cell(q.y, self.dims[1]);
        let (k, tz) = cell(q.z, self.dims[2]);
        let base = (k * self.dims[1] + j) * self.dims[0] + i;
        let (row, plane) = (self.dims[0], self.dims[0] * self.dims[1]);
        let mut out = [0.0; N];
        let corners = [
            (base, (1.0 - tx) * (1.0 - ty) * (1.0 - tz)),
            (base + 1, tx * (1.0 - ty) * (1.0 - tz)),
            (base + row, (1.0 - tx) * ty * (1.0 - tz)),
            (base + row + 1, tx * ty * (1.0 - tz)),
            (base + plane, (1.0 - tx) * (1.0 - ty) * tz),
            (base + plane + 1, tx * (1.0 - ty) * tz),
            (base + plane + row, (1.0 - tx) * ty * tz),
            (base + plane + row + 1, tx * ty * tz),
        ];
        for (index, weight) in corners {
            let v = &self.values[index];
            for n in 0..N {
                out[n] += weight * v[n];
            }
        }
        out
    }
}

/// A function of (x, y), tabulated and interpolated linearly, constant beyond the border.
#[derive(Clone, Debug)]
pub struct Map2 {
    low: (f32, f32),
    step: f32,
    dims: [usize; 2],
    values: Vec<f32>,
}

impl Map2 {
    /// Tabulates `f` between two corners.
    pub fn tabulate(low: (f32, f32), high: (f32, f32), step: f32, f: impl Fn(f32, f32) -> f32) -> Self {
        let dims = [((high.0 - low.0) / step).ceil() as usize + 1, ((high.1 - low.1) / step).ceil() as usize + 1];
        let values = (0..dims[0] * dims[1]).map(|n| f(low.0 + (n % dims[0]) as f32 * step, low.1 + (n / dims[0]) as f32 * step)).collect();
        Self { low, step, dims, values }
    }

    /// The interpolated value.
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let u = ((x - self.low.0) / self.step).clamp(0.0, (self.dims[0] - 1) as f32 - 1e-3);
        let v = ((y - self.low.1) / self.step).clamp(0.0, (self.dims[1] - 1) as f32 - 1e-3);
        let (i, j) = (u as usize, v as usize);
        let base = j * self.dims[0] + i;
        let row = |b: usize| mix(self.values[b], self.values[b + 1], u - i as f32);
        mix(row(base), row(base + self.dims[0]), v - j as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The noise is continuous across cell borders and periodic.
    #[test]
    fn noise_is_continuous_and_periodic() {
        let n = Noise::new(&mut Rng::new(1, "t"));
        let (a, b) = (n.at(v3(2.9999, 1.5, 0.5)), n.at(v3(3.0001, 1.5, 0.5)));
        assert!((a - b).abs() < 1e-3);
        assert!((n.at(v3(-1.5, 0.25, 4.0)) - n.at(v3(30.5, 0.25, 4.0))).abs() < 1e-4);
    }

    /// A linear function is reproduced by a grid, and held at the border.
    #[test]
    fn grid_interpolates_linearly() {
        let g = Grid3::<1>::tabulate(v3(0.0, 0.0, 0.0), v3(10.0, 10.0, 10.0), 2.0, |p| [p.x + 2.0 * p.y - p.z]);
        assert!((g.at(v3(3.3, 4.7, 9.1))[0] - (3.3 + 9.4 - 9.1)).abs() < 1e-4);
        assert!((g.at(v3(-5.0, 0.0, 0.0))[0]).abs() < 0.01);
    }
}
