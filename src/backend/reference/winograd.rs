//! The 8-bit network's 3×3 by Winograd's F(4×4) in integers, point by point and in 64 bits; which layers go this way the shape decides.
//!
//! U = (G g Gᵀ) · β βᵀ rounded to integers of one step an output, V = Bᵀ d B of codes, M = Σ U · V exact and rounded to float32 once, and
//! Aᵀ M A in float32 in the order written here, with β divided out again. Tiles of 4×4 outputs begin at (0, 0).

use super::quantised::Codes;
use crate::backend::quantised::{DenseCodes, saturated};
use crate::tensor::Extent;

const INPUT: [[i64; 6]; 6] =
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]];
const FILTER: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// β: what row and column j of U are multiplied by.
const BALANCE: [f64; 6] = [1.0, 0.5, 0.5, 2.0, 2.0, 0.25];

/// Channels come in sixteens; padded ones are zero but count in the bound on sums.
const PANEL: usize = 16;

/// A layer's 3×3.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    /// Per output and mid channel, the 36 points.
    filters: Vec<Vec<[i64; 36]>>,
    /// Per output, the fused multiply-add that makes a code.
    encode: Vec<(f32, f32)>,
}

impl Winograd {
    /// Of a layer on maps of this extent; none where the 3×3 goes directly: few mid channels, which pay little, many, which leave the sums
    /// no bits, and maps that tiles overhang.
    pub(super) fn new(dense: &DenseCodes, extent: Extent) -> Option<Self> {
        let (growth, mid) = (dense.ranges.len(), dense.mid_means.len());
        let tiles = extent.height.div_ceil(4) * extent.width.div_ceil(4);
        let padded = mid.next_multiple_of(PANEL);
        if !(64..=192).contains(&padded) || extent.area() < 6 * tiles {
            return None;
        }
        let mut winograd = Self { filters: Vec::new(), encode: Vec::new() };
        for o in 0..growth {
            let taps = dense.conv2[o * mid * 9..][..mid * 9].chunks_exact(9);
            let exact: Vec<[f64; 36]> = taps.map(|taps| std::array::from_fn(|point| transformed(taps, point))).collect();
            let step = (0..36).map(|point| step_of(exact.iter().map(|u| u[point].abs()), padded, point)).fold(0.0, f64::max);
            let rounded = |u: &[f64; 36]| u.map(|u| if step > 0.0 { (u / step).round_ties_even() as i64 } else { 0 });
            winograd.filters.push(exact.iter().map(rounded).collect());
            winograd.encode.push(dense.encoder2(o, step));
        }
        Some(winograd)
    }

    /// The new channels.
    pub(super) fn run(&self, mid: &Codes) -> Vec<Vec<u8>> {
        let Extent { height, width } = mid.extent;
        let mut out = vec![vec![0; height * width]; self.encode.len()];
        for (top, left) in (0..height).step_by(4).flat_map(|top| (0..width).step_by(4).map(move |left| (top, left))) {
            let inputs: Vec<[i64; 36]> = mid.channels.iter().map(|codes| patch(codes, mid.extent, top, left)).collect();
            for ((plane, filters), (scale, shift)) in out.iter_mut().zip(&self.filters).zip(&self.encode) {
                let sums: [f32; 36] =
                    std::array::from_fn(|point| filters.iter().zip(&inputs).map(|(u, v)| u[point] * v[point]).sum::<i64>() as f32);
                let columns: [[f32; 4]; 6] = std::array::from_fn(|x| output(std::array::from_fn(|y| sums[y * 6 + x])));
                for y in 0..4.min(height - top) {
                    let row = output(std::array::from_fn(|x| columns[x][y]));
                    for (x, value) in row.into_iter().enumerate().take(width - left) {
                        plane[(top + y) * width + left + x] = saturated(value.mul_add(*scale, *shift));
                    }
                }
            }
        }
        out
    }
}

/// One point of G g Gᵀ, with its balance.
fn transformed(taps: &[f64], point: usize) -> f64 {
    let (y, x) = (point / 6, point % 6);
    let row = |t: usize| FILTER[x][0] * taps[3 * t] + FILTER[x][1] * taps[3 * t + 1] + FILTER[x][2] * taps[3 * t + 2];
    (FILTER[y][0] * row(0) + FILTER[y][1] * row(1) + FILTER[y][2] * row(2)) * BALANCE[y] * BALANCE[x]
}

/// The smallest step with which a point's integers fit 16 bits and its sums 32, whatever the codes.
fn step_of(magnitudes: impl Iterator<Item = f64>, inputs: usize, point: usize) -> f64 {
    let (most, sum) = magnitudes.fold((0.0f64, 0.0), |(most, sum), u| (most.max(u), sum + u));
    let reach = |row: [i64; 6]| (row.iter().map(|x| (*x).max(0)).sum::<i64>(), row.iter().map(|x| (-x).max(0)).sum::<i64>());
    let ((p, n), (q, m)) = (reach(INPUT[point / 6]), reach(INPUT[point % 6]));
    let largest = 255 * (p * q + n * m).max(p * m + n * q);
    let room = f64::from(i32::MAX) / largest as f64 - inputs as f64 * 0.5;
    (most / 32_766.0).max(sum / room.max(1.0))
}

/// Bᵀ d B of the 6×6 codes around a tile; outside the map they are 0.
fn patch(codes: &[u8], Extent { height, width }: Extent, top: usize, left: usize) -> [i64; 36] {
    let code = |y: usize, x: usize| {
        let (row, column) = (top + y, left + x);
        let inside = (1..=height).contains(&row) && (1..=width).contains(&column);
        if inside { i64::from(codes[(row - 1) * width + column - 1]) } else { 0 }
    };
    let half: [[i64; 6]; 6] = std::array::from_fn(|y| std::array::from_fn(|x| (0..6).map(|k| INPUT[y][k] * code(k, x)).sum()));
    std::array::from_fn(|point| (0..6).map(|k| half[point / 6][k] * INPUT[point % 6][k]).sum())
}

/// Aᵀ m along one axis.
fn output(m: [f32; 6]) -> [f32; 4] {
    let (s1, d1, s2, d2) = (m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]);
    [s2.mul_add(0.5, s1.mul_add(2.0, m[0])), d1.mul_add(2.0, d2), (s1 + s2) * 2.0, (d2 + m[5]).mul_add(4.0, d1 + d1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::quantised::Reader;
    use crate::model::quantisation::Range;

    /// A 3×3 over codes by either way, to the rounding of weights and one code; a map that tiles overhang.
    #[test]
    fn it_is_the_direct_convolution() {
        let mut state = 7u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let (mid, growth, extent) = (64, 3, Extent { height: 9, width: 14 });
        let conv2: Vec<f64> = (0..growth * mid * 9).map(|_| f64::from(random() % 2001) / 1000.0 - 1.0).collect();
        let dense = DenseCodes {
            readers: vec![Reader::default(); 1],
            conv1: Default::default(),
            conv2: conv2.clone(),
            mid_means: vec![0.0; mid],
            ranges: vec![Range { low: -6000.0, high: 6000.0 }; growth],
        };
        let channels: Vec<Vec<u8>> = (0..mid).map(|_| (0..extent.area()).map(|_| (random() % 256) as u8).collect()).collect();
        let new = Winograd::new(&dense, extent).unwrap().run(&Codes { extent, channels: channels.clone() });
        for (o, plane) in new.iter().enumerate() {
            for (at, code) in plane.iter().enumerate() {
                let (y, x) = (at / extent.width, at % extent.width);
                let mut sum = 0.0;
                for (i, tap) in (0..mid).flat_map(|i| (0..9).map(move |tap| (i, tap))) {
                    let (row, column) = (y + tap / 3, x + tap % 3);
                    if (1..=extent.height).contains(&row) && (1..=extent.width).contains(&column) {
                        sum += conv2[(o * mid + i) * 9 + tap] * f64::from(channels[i][(row - 1) * extent.width + column - 1]);
                    }
                }
                let exact = (sum + 6000.0) / (12_000.0 / 255.0);
                assert!((f64::from(*code) - exact.clamp(0.0, 255.0)).abs() <= 1.0, "{o} {y} {x}: {code}, not {exact}");
            }
        }
        assert!(Winograd::new(&dense, Extent { height: 1, width: 14 }).is_none());
    }
}
