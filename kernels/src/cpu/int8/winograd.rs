//! Winograd F(4×4, 3×3) over codes: 36 products for the 16 outputs of a tile, all of them exact.
//!
//! `Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A` with the points 0, ±1, ±2, ∞: Bᵀ d B of codes are integers below 2¹⁵, so that they are transformed and
//! multiplied in 16 bits. G g Gᵀ is worked out in f64 and rounded to integers of one step an output, as large as the sums' 32 bits allow for
//! any codes whatever (about 12 bits, where the weights of a direct 3×3 have 8). Row and column j of it are first multiplied by a power of
//! two that gives all points like bounds, and which Aᵀ divides out again. The output transform is in f32, of sums rounded once each.
//!
//! Layouts: U \[36\] packed matrices \[outputs, inputs\]; V \[36\]\[tiles\]\[inputs\] and M \[36\]\[tiles\]\[outputs\], planes 64 bytes longer
//! than they need, since 36 streams whose distance is a multiple of 4096 bytes would share one cache set.

use super::IntKernel;
use super::gemm::Requantise;
use super::lanes::{IntLanes, Words};
use super::layout::{CODES, matrix_len, place};
use crate::cpu::lanes::F32Lanes;
pub(crate) use crate::cpu::winograd::{PATCH, POINTS, TILE};

/// Bᵀ: products of (x − q) over the other points.
const INPUT: [[i64; PATCH]; PATCH] =
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]];
/// G: rows (1, p, p²) over the product of (p − q), and (0, 0, 1) for ∞; times [`BALANCE`] they are what U is made of.
const FILTER: [[f64; 3]; PATCH] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// What row and column j of U are multiplied by; [`output_1d`] divides by it.
const BALANCE: [f64; PATCH] = [1.0, 0.5, 0.5, 2.0, 2.0, 0.25];

/// The largest |Bᵀ d B| at each point, for codes d.
fn largest_input(point: usize) -> i64 {
    let reach = |row: [i64; PATCH]| (row.iter().map(|x| (*x).max(0)).sum::<i64>(), row.iter().map(|x| (-x).max(0)).sum::<i64>());
    let ((p, n), (q, m)) = (reach(INPUT[point / PATCH]), reach(INPUT[point % PATCH]));
    CODES * (p * q + n * m).max(p * m + n * q)
}

/// Numbers of the packed U of a layer.
pub(crate) fn weights_len(inputs: usize, outputs: usize) -> usize {
    POINTS * matrix_len(inputs, outputs)
}

/// G g Gᵀ of a filter with its balance.
fn transformed(taps: [f64; 9]) -> [f64; POINTS] {
    let mut u = [0.0; POINTS];
    for (point, slot) in u.iter_mut().enumerate() {
        let (y, x) = (point / PATCH, point % PATCH);
        let row = |t: usize| FILTER[x][0] * taps[3 * t] + FILTER[x][1] * taps[3 * t + 1] + FILTER[x][2] * taps[3 * t + 2];
        *slot = (FILTER[y][0] * row(0) + FILTER[y][1] * row(1) + FILTER[y][2] * row(2)) * BALANCE[y] * BALANCE[x];
    }
    u
}

/// Packs U of every filter: `weight(output, input)` gives the nine taps, row by row; `steps` receives what a unit of each output's sums
/// stands for, 0 where all its weights are 0.
///
/// # Panics
/// When `dst` is not [`weights_len`] long, `steps` is shorter than `outputs` or a weight is not finite.
pub(crate) fn pack_weights(dst: &mut [i16], steps: &mut [f64], inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> [f64; 9]) {
    assert_eq!(dst.len(), weights_len(inputs, outputs));
    let plane = matrix_len(inputs, outputs);
    dst.fill(0);
    let mut filters = vec![[0.0; POINTS]; inputs];
    for (o, step) in steps[..outputs].iter_mut().enumerate() {
        filters.iter_mut().enumerate().for_each(|(i, u)| *u = transformed(weight(o, i)));
        *step = finest_step(&filters);
        for (i, u) in filters.iter().enumerate().filter(|_| *step > 0.0) {
            for (point, u) in u.iter().enumerate() {
                dst[point * plane + place(inputs, o, i)] = (u / *step).round_ties_even() as i16;
            }
        }
    }
}

/// The smallest step whose integers fit 16 bits and whose sums of products fit 32, whatever the codes are.
fn finest_step(filters: &[[f64; POINTS]]) -> f64 {
    let mut step = 0.0f64;
    for point in 0..POINTS {
        let column = filters.iter().map(|u| u[point].abs());
        let (most, sum) = column.fold((0.0f64, 0.0), |(most, sum), u| (most.max(u), sum + u));
        assert!(sum.is_finite(), "a weight is not finite");
        // Rounding adds at most half a unit a weight.
        let room = i64::from(i32::MAX) as f64 / largest_input(point) as f64 - filters.len() as f64 * 0.5;
        step = step.max(most / 32_766.0).max(sum / room.max(1.0));
    }
    step
}

/// Bᵀ d along one axis.
#[inline(always)]
fn input_1d<W: Words>(d: [W; 6]) -> [W; 6] {
    let (even, odd) = (d[4].sub(d[2]), d[3].sub(d[1]));
    let (a, b) = (d[4].sub(d[2].times4()), d[3].sub(d[1].times4()));
    let odd2 = odd.add(odd);
    [d[0].sub(d[2]).times4().add(even), a.add(b), a.sub(b), even.add(odd2), even.sub(odd2), d[5].sub(d[3]).sub(odd.times4())]
}

/// Aᵀ m along one axis, with the balance taken out.
#[inline(always)]
fn output_1d<F: F32Lanes>(m: [F; 6]) -> [F; 4] {
    let (sum1, dif1) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (sum2, dif2) = (m[3].add(m[4]), m[3].sub(m[4]));
    let two = F::splat(2.0);
    [
        sum2.mul_add(F::splat(0.5), sum1.mul_add(two, m[0])),
        dif1.mul_add(two, dif2),
        sum1.add(sum2).mul(two),
        dif2.add(m[5]).mul_add(F::splat(4.0), dif1.add(dif1)),
    ]
}

/// Bᵀ d B of one tile, all channels: the patch's rows start at `rows` and its pixels are `pixel_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct InputTransform {
    pub(crate) rows: [*const i16; PATCH],
    pub(crate) pixel_stride: usize,
    pub(crate) channels: usize,
    /// Row of this tile in plane 0 of V.
    pub(crate) dst: *mut i16,
    pub(crate) plane: usize,
}

impl IntKernel for InputTransform {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        for c in (0..self.channels).step_by(16) {
            // SAFETY: the six rows hold six pixels of `channels` numbers each, a multiple of 16; V holds 36 planes with this tile's row.
            unsafe {
                let mut half = [[V::Words::load(self.rows[0].add(c)); PATCH]; PATCH];
                for x in 0..PATCH {
                    let mut d = half[0];
                    for y in 0..PATCH {
                        d[y] = V::Words::load(self.rows[y].add(x * self.pixel_stride + c));
                    }
                    let d = input_1d(d);
                    for y in 0..PATCH {
                        half[y][x] = d[y];
                    }
                }
                for y in 0..PATCH {
                    let v = input_1d(half[y]);
                    for x in 0..PATCH {
                        v[x].store(self.dst.add((y * PATCH + x) * self.plane + c));
                    }
                }
            }
        }
    }
}

/// Aᵀ m A of one tile, all outputs, to codes of the pixels of the map that exist.
#[derive(Clone, Copy)]
pub(crate) struct OutputTransform {
    /// Row of this tile in plane 0 of M.
    pub(crate) src: *const f32,
    pub(crate) plane: usize,
    pub(crate) channels: usize,
    pub(crate) requantise: Requantise,
    pub(crate) dst: *mut u8,
    pub(crate) row_stride: usize,
    pub(crate) pixel_stride: usize,
    /// Rows and columns of the tile inside the map, at most 4.
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl IntKernel for OutputTransform {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        for c in (0..self.channels).step_by(V::LANES) {
            let mut half = [[V::Floats::zero(); PATCH]; TILE];
            for x in 0..PATCH {
                let mut m = [V::Floats::zero(); PATCH];
                for y in 0..PATCH {
                    // SAFETY: M holds 36 planes with this tile's row of `channels` floats in each.
                    m[y] = unsafe { V::Floats::load(self.src.add((y * PATCH + x) * self.plane + c)) };
                }
                let m = output_1d(m);
                for y in 0..TILE {
                    half[y][x] = m[y];
                }
            }
            for y in 0..self.height.min(TILE) {
                let out = output_1d(half[y]);
                for x in 0..TILE {
                    if x < self.width {
                        // SAFETY: the pixel lies inside the map, and every output has its factors.
                        unsafe {
                            let code = self.requantise.apply(out[x], c);
                            V::store_codes(code, self.dst.add(y * self.row_stride + x * self.pixel_stride + c));
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_numbers::Numbers;
    use super::*;

    /// In i64 and f64, with unrounded U, the matrices as they are written make a correlation.
    #[test]
    fn matrices_make_a_correlation() {
        let mut numbers = Numbers(1);
        let taps: [f64; 9] = std::array::from_fn(|_| numbers.below(2001) as f64 / 1000.0 - 1.0);
        let d: [[i64; PATCH]; PATCH] = std::array::from_fn(|_| std::array::from_fn(|_| numbers.below(256) as i64));
        let u = transformed(taps);
        let mut m = [[0.0; PATCH]; PATCH];
        for (y, row) in m.iter_mut().enumerate() {
            for (x, m) in row.iter_mut().enumerate() {
                let v: i64 = (0..36).map(|i| INPUT[y][i / 6] * d[i / 6][i % 6] * INPUT[x][i % 6]).sum();
                assert!(v.abs() <= largest_input(y * PATCH + x));
                *m = u[y * PATCH + x] * v as f64;
            }
        }
        let column = |m: [f64; 6]| {
            let (s1, d1, s2, d2) = (m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]);
            [m[0] + 2.0 * s1 + 0.5 * s2, 2.0 * d1 + d2, 2.0 * (s1 + s2), 2.0 * d1 + 4.0 * (d2 + m[5])]
        };
        let half: [[f64; 4]; 6] = m.map(column);
        for x in 0..4 {
            let out = column(std::array::from_fn(|y| half[y][x]));
            for (y, out) in out.into_iter().enumerate() {
                let direct: f64 = (0..9).map(|t| taps[t] * d[y + t / 3][x + t % 3] as f64).sum();
                assert!((out - direct).abs() < 1e-9, "{y} {x}: {out} {direct}");
            }
        }
    }

    /// The bound of 16 bits on transformed codes, and of 32 on sums, at the worst codes there are.
    #[test]
    fn sums_stay_in_32_bits() {
        assert!((0..POINTS).all(|p| largest_input(p) < 1 << 15));
        for inputs in [16, 128, 512] {
            let mut numbers = Numbers(inputs as u64);
            let taps: Vec<f64> = (0..9 * 16 * inputs).map(|_| numbers.below(2001) as f64 / 1000.0 - 1.0).collect();
            let (mut dst, mut steps) = (vec![0; weights_len(inputs, 16)], vec![0.0; 16]);
            pack_weights(&mut dst, &mut steps, inputs, 16, |o, i| std::array::from_fn(|t| taps[(o * inputs + i) * 9 + t]));
            let plane = matrix_len(inputs, 16);
            let mut largest = 0;
            for (point, o) in (0..POINTS).flat_map(|p| (0..16).map(move |o| (p, o))) {
                let sum: i64 = (0..inputs).map(|i| i64::from(dst[point * plane + place(inputs, o, i)]).abs()).sum();
                largest = largest.max(sum * largest_input(point));
            }
            assert!(largest <= i64::from(i32::MAX), "{inputs}");
            // Most of the 32 bits are used, unless 16 bits a weight are what limits.
            assert!(largest > 1 << 29 || dst.iter().any(|u| u.unsigned_abs() > 32_000), "{inputs}: {largest}");
        }
    }
}
