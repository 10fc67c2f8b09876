//! Winograd F(4) along the rows of the stem: the seven taps of a window's row are four, two columns apart, over every other column and three over the
//! columns between, of which four outputs in a row take 13 products instead of 28.
//!
//! `y = Aᵀ[(G₄ g₄) ⊙ (B₄ᵀ d₄) + (G₃ g₃) ⊙ (B₃ᵀ d₃)]` with the points 0, ±1, ±1/2 and ∞ of both and −2 of the four taps (Winograd 1980; the matrices
//! are those of Toom and Cook). Points of both have the same column of A, so that both kinds of taps, all rows and all channels add up in one sum a point.
//! All entries of A and B are dyadic, hence exact in f32, G g is computed in f64 at load, and the error is that of a direct chain of 147 products.

use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::{matrix_len, pack_matrix};

/// Outputs of a tile.
pub(crate) const TILE: usize = 4;
/// Columns from one tile's inputs to the next one's.
pub(crate) const STEP: usize = 2 * TILE;
/// Points, of which those of both kinds of taps come first.
pub(super) const POINTS: usize = 7;
pub(super) const COMMON: usize = 6;
/// Planes of transformed inputs: the four taps' points, then the three taps'.
pub(super) const PLANES: usize = POINTS + COMMON;

/// The points but for ∞, which is the last of the common ones.
const FINITE: [f64; 6] = [0.0, 1.0, -1.0, 0.5, -0.5, -2.0];

/// B₄ᵀ: coefficients of Π (x − q) over the other points q; of all of them for ∞.
const FOUR: [[f32; 7]; POINTS] = [
    [0.5, 0.25, -2.5, -1.25, 2.0, 1.0, 0.0],
    [0.0, -0.5, -0.75, 1.75, 3.0, 1.0, 0.0],
    [0.0, 0.5, -0.25, -2.25, 1.0, 1.0, 0.0],
    [0.0, -1.0, -2.5, 0.0, 2.5, 1.0, 0.0],
    [0.0, 1.0, -1.5, -2.0, 1.5, 1.0, 0.0],
    [0.0, 0.5, 0.25, -2.5, -1.25, 2.0, 1.0],
    [0.0, 0.25, 0.0, -1.25, 0.0, 1.0, 0.0],
];

/// B₃ᵀ.
const THREE: [[f32; 6]; COMMON] = [
    [0.25, 0.0, -1.25, 0.0, 1.0, 0.0],
    [0.0, -0.25, -0.25, 1.0, 1.0, 0.0],
    [0.0, 0.25, -0.25, -1.0, 1.0, 0.0],
    [0.0, -0.5, -1.0, 0.5, 1.0, 0.0],
    [0.0, 0.5, -1.0, -0.5, 1.0, 0.0],
    [0.0, 0.25, 0.0, -1.25, 0.0, 1.0],
];

/// G g of taps `g` over the first points of [`FINITE`]: g(p) / Π (p − q) over the other points q, and the last tap for ∞.
fn filter<const TAPS: usize, const N: usize>(taps: [f64; TAPS], finite: &[f64]) -> [f64; N] {
    std::array::from_fn(|i| {
        // ∞ is the last of the common points.
        let Some(p) = [&FINITE[..5], &[f64::INFINITY], &FINITE[5..]].concat().get(i).copied().filter(|p| p.is_finite()) else {
            return taps[TAPS - 1];
        };
        let apart: f64 = finite.iter().filter(|q| **q != p).map(|q| p - q).product();
        taps.iter().rev().fold(0.0, |sum, tap| sum * p + tap) / apart
    })
}

/// The points of a window's row.
fn points(taps: [f64; 7]) -> ([f64; POINTS], [f64; COMMON]) {
    (filter([taps[0], taps[2], taps[4], taps[6]], &FINITE), filter([taps[1], taps[3], taps[5]], &FINITE[..5]))
}

/// Length of a sum of a point: one for each row of a window's channels, twice that where both kinds of taps have it.
pub(super) fn sum_len(point: usize, runs: usize) -> usize {
    if point < COMMON { 2 * runs } else { runs }
}

/// Floats of the packed weights of windows of `runs` rows.
pub(super) fn weights_len(runs: usize, outputs: usize) -> usize {
    COMMON * matrix_len(2 * runs, outputs) + matrix_len(runs, outputs)
}

/// Packs a matrix for each point from `weight(output, 7 · run + column)`, rounded to float32 once.
pub(super) fn pack(dst: &mut [f32], runs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f64) {
    assert_eq!(dst.len(), weights_len(runs, outputs));
    let of_row: Vec<_> = (0..outputs * runs).map(|i| points(std::array::from_fn(|x| weight(i / runs, i % runs * 7 + x)))).collect();
    let matrix = matrix_len(2 * runs, outputs);
    for point in 0..POINTS {
        let k = sum_len(point, runs);
        pack_matrix(&mut dst[point * matrix..][..matrix_len(k, outputs)], k, outputs, |o, i| {
            let (four, three) = &of_row[o * runs + i % runs];
            let value = if i < runs { four[point] } else { three[point] };
            value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
        });
    }
}

/// Every eighth column of a row with its borders: eight planes `stride` floats apart, in which a tile's place is its number and one.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) start: *const f32,
    pub(super) stride: usize,
}

impl Columns {
    /// Columns 8·tile + x of as many tiles as there are lanes.
    #[inline(always)]
    unsafe fn load<V: F32Lanes, const N: usize>(self, tile: usize, x: [isize; N]) -> [V; N] {
        let mut values = [V::zero(); N];
        for i in 0..N {
            let (place, plane) = (1 + x[i].div_euclid(STEP as isize), x[i].rem_euclid(STEP as isize) as usize);
            // SAFETY: the caller's planes have a place more on either side, and room for whole vectors.
            values[i] = unsafe { V::load(self.start.add(plane * self.stride + tile).offset(place)) };
        }
        values
    }

    /// The points of as many tiles as there are lanes, to planes `stride` floats apart.
    ///
    /// # Safety
    /// The planes of both sides have room for whole vectors, those of the columns for one place more on either side.
    #[inline(always)]
    pub(super) unsafe fn transform<V: F32Lanes>(self, tile: usize, dst: *mut f32, stride: usize) {
        // SAFETY: as promised.
        unsafe {
            let four = self.load::<V, 7>(tile, [-3, -1, 1, 3, 5, 7, 9]);
            for p in 0..POINTS {
                combine(&FOUR[p], &four).store(dst.add(p * stride + tile));
            }
            let three = self.load::<V, 6>(tile, [-2, 0, 2, 4, 6, 8]);
            for p in 0..COMMON {
                combine(&THREE[p], &three).store(dst.add((POINTS + p) * stride + tile));
            }
        }
    }
}

#[inline(always)]
fn combine<V: F32Lanes, const N: usize>(factors: &[f32; N], values: &[V; N]) -> V {
    let mut sum = V::zero();
    for j in 0..N {
        if factors[j] != 0.0 {
            sum = values[j].mul_add(V::splat(factors[j]), sum);
        }
    }
    sum
}

/// Aᵀ m, of sums that include what each output starts with in point 1.
#[inline(always)]
pub(super) fn output<V: F32Lanes>(m: [V; POINTS]) -> [V; TILE] {
    let (sum_1, dif_1) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (sum_2, dif_2) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(sum_1).add(sum_2.add(m[6])),
        dif_2.mul_add(V::splat(0.5), m[6].mul_add(V::splat(-2.0), dif_1)),
        sum_2.mul_add(V::splat(0.25), m[6].mul_add(V::splat(4.0), sum_1)),
        dif_2.mul_add(V::splat(0.125), m[6].mul_add(V::splat(-8.0), dif_1)).add(m[5]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::lanes::portable::PortableLanes;

    fn dot<T: Copy + Into<f64>>(x: &[f64], y: &[T]) -> f64 {
        x.iter().zip(y).map(|(x, y)| x * (*y).into()).sum()
    }

    /// In f64 the matrices make four outputs of a row two columns apart, to rounding; and [`output`] is Aᵀ.
    #[test]
    fn matrices_make_a_convolution() {
        let taps = [0.3, -1.1, 0.7, 0.4, -0.6, 1.9, -0.2];
        let d: [f64; 13] = std::array::from_fn(|i| (i as f64 * 1.7).sin());
        let (four, three) = points(taps);
        let (odd, even): (Vec<f64>, Vec<f64>) = (d.iter().step_by(2).copied().collect(), d[1..].iter().step_by(2).copied().collect());
        let sums: [f64; POINTS] = std::array::from_fn(|p| {
            let three = if p < COMMON { three[p] * dot(&even, &THREE[p]) } else { 0.0 };
            four[p] * dot(&odd, &FOUR[p]) + three
        });
        let found = output(sums.map(|m| PortableLanes::splat(m as f32)));
        for (r, found) in found.into_iter().enumerate() {
            let finite: f64 = FINITE.iter().zip([0, 1, 2, 3, 4, 6]).map(|(p, i)| p.powi(r as i32) * sums[i]).sum();
            let y = if r == 3 { finite + sums[5] } else { finite };
            assert!((y - dot(&taps, &d[2 * r..2 * r + 7])).abs() < 1e-13, "output {r}");
            let mut lanes = [0.0; 16];
            // SAFETY: sixteen floats, of which there are at most as many lanes.
            unsafe { found.store(lanes.as_mut_ptr()) };
            assert!((f64::from(lanes[0]) - y).abs() < 1e-5, "output {r}");
        }
    }
}
