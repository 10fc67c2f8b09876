//! Winograd F(4×4, 3×3): 36 products for the 16 outputs of a tile where the direct form takes 144.
//!
//! `Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A` with the points 0, ±3/4, ±3/2, ∞. All entries of A and B are dyadic, hence exact in f32, and these points
//! keep the error at the level of a direct chain of 1152 products; 0, ±1, ±2 would more than double it. G g Gᵀ is computed in f64 at load.
//!
//! Layouts: U \[36\] packed matrices \[outputs, inputs\]; V \[36\]\[tiles\]\[inputs\] and M \[36\]\[tiles\]\[outputs\], each ξ plane 64 bytes longer than
//! it needs, since 36 streams whose distance is a multiple of 4096 bytes would share one cache set.

use super::Kernel;
use super::lanes::F32Lanes;
use super::layout::{PANEL, flush, matrix_len, pack_matrix, panel_len};

/// Products per tile: 6 × 6.
pub const POINTS: usize = 36;
/// Outputs along one side of a tile.
pub const TILE: usize = 4;
/// Inputs along one side of a tile.
pub(crate) const PATCH: usize = 6;

const A: f32 = 0.75;
const B: f32 = 1.5;

/// Floats of the packed U of a layer.
pub fn weights_len(inputs: usize, outputs: usize) -> usize {
    POINTS * matrix_len(inputs, outputs)
}

/// G g Gᵀ of every filter, packed: `weight(output, input)` gives the nine taps, row by row. `inputs` is the padded number.
///
/// The filters of a panel go together, so that 16 of them are the lanes of every operation and each plane gets whole cache lines.
///
/// # Panics
/// When `dst` is not [`weights_len`] long.
pub fn pack_weights(dst: &mut [f32], inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> [f64; 9]) {
    assert_eq!(dst.len(), weights_len(inputs, outputs));
    let g = filter_matrix();
    let plane = matrix_len(inputs, outputs);
    let panel = panel_len(inputs);
    for p in 0..plane / panel {
        let filters = PANEL.min(outputs - p * PANEL);
        for i in 0..inputs {
            let mut taps = [[0.0; PANEL]; 9];
            for f in 0..filters {
                let filter = weight(p * PANEL + f, i);
                taps.iter_mut().zip(filter).for_each(|(lanes, tap)| lanes[f] = tap);
            }
            let at = p * panel + i * PANEL;
            for (xi, mut lanes) in transformed(&g, &taps).into_iter().enumerate() {
                lanes[filters..].fill(0.0);
                dst[xi * plane + at..][..PANEL].copy_from_slice(&lanes);
            }
        }
        for xi in 0..POINTS {
            dst[xi * plane + p * panel + inputs * PANEL..xi * plane + (p + 1) * panel].fill(0.0);
        }
    }
}

/// G g Gᵀ of 16 filters g, each point rounded to float32 once.
pub(crate) fn transformed(g: &[[f64; 3]; PATCH], taps: &[[f64; PANEL]; 9]) -> [[f32; PANEL]; POINTS] {
    let mut points = [[0.0; PANEL]; POINTS];
    for (y, g_y) in g.iter().enumerate() {
        let mut row = [[0.0; PANEL]; 3];
        for x in 0..3 {
            for f in 0..PANEL {
                row[x][f] = g_y[0] * taps[x][f] + g_y[1] * taps[3 + x][f] + g_y[2] * taps[6 + x][f];
            }
        }
        for (x, g_x) in g.iter().enumerate() {
            for f in 0..PANEL {
                points[y * PATCH + x][f] = flush((row[0][f] * g_x[0] + row[1][f] * g_x[1] + row[2][f] * g_x[2]) as f32);
            }
        }
    }
    points
}

/// Packs a direct 3×3 as one matrix \[outputs, 9 · inputs\] in the order of its runs.
pub(crate) fn pack_direct(dst: &mut [f32], inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> [f64; 9]) {
    pack_matrix(dst, 9 * inputs, outputs, |o, k| weight(o, k % inputs)[k / inputs] as f32);
}

/// Rows (1, p, p²)/N_p with N_p = Π (p − q) over the other points q, and (0, 0, 1) for ∞.
pub(crate) fn filter_matrix() -> [[f64; 3]; PATCH] {
    let points = [0.0, A as f64, -A as f64, B as f64, -B as f64];
    let mut g = [[0.0, 0.0, 1.0]; PATCH];
    for (row, p) in g.iter_mut().zip(points) {
        let n: f64 = points.iter().filter(|q| **q != p).map(|q| p - q).product();
        *row = [1.0 / n, p / n, p * p / n];
    }
    g
}

/// Bᵀ d along one axis: 12 fused multiply-adds.
#[inline(always)]
pub(crate) fn input_1d<V: F32Lanes>(d: [V; 6]) -> [V; 6] {
    let (a, na) = (V::splat(A), V::splat(-A));
    let (b, nb) = (V::splat(B), V::splat(-B));
    let (na2, nb2) = (V::splat(-A * A), V::splat(-B * B));
    let (sum, product) = (V::splat(-(A * A + B * B)), V::splat(A * A * B * B));
    let even_a = d[2].mul_add(nb2, d[4]);
    let odd_a = d[1].mul_add(nb2, d[3]);
    let even_b = d[2].mul_add(na2, d[4]);
    let odd_b = d[1].mul_add(na2, d[3]);
    [
        d[0].mul_add(product, d[2].mul_add(sum, d[4])),
        odd_a.mul_add(a, even_a),
        odd_a.mul_add(na, even_a),
        odd_b.mul_add(b, even_b),
        odd_b.mul_add(nb, even_b),
        d[1].mul_add(product, d[3].mul_add(sum, d[5])),
    ]
}

/// Aᵀ m along one axis.
#[inline(always)]
pub(crate) fn output_1d<V: F32Lanes>(m: [V; 6]) -> [V; 4] {
    let (sum_a, dif_a) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (sum_b, dif_b) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(sum_a).add(sum_b),
        dif_b.mul_add(V::splat(B), dif_a.mul(V::splat(A))),
        sum_b.mul_add(V::splat(B * B), sum_a.mul(V::splat(A * A))),
        dif_b.mul_add(V::splat(B * B * B), dif_a.mul_add(V::splat(A * A * A), m[5])),
    ]
}

/// Bᵀ d B of one tile, all channels: the patch's rows start at `rows` and its pixels are `pixel_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct InputTransform {
    pub(crate) rows: [*const f32; PATCH],
    pub(crate) pixel_stride: usize,
    pub(crate) channels: usize,
    /// Row of this tile in plane 0 of V.
    pub(crate) dst: *mut f32,
    pub(crate) plane: usize,
}

impl Kernel for InputTransform {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        for c in (0..self.channels).step_by(V::LANES) {
            let mut half = [[V::zero(); PATCH]; PATCH];
            for x in 0..PATCH {
                let mut d = [V::zero(); PATCH];
                for y in 0..PATCH {
                    // SAFETY: the six rows hold six pixels of `channels` floats each.
                    d[y] = unsafe { V::load(self.rows[y].add(x * self.pixel_stride + c)) };
                }
                let d = input_1d(d);
                for y in 0..PATCH {
                    half[y][x] = d[y];
                }
            }
            for y in 0..PATCH {
                let v = input_1d(half[y]);
                for x in 0..PATCH {
                    // SAFETY: V holds 36 planes with this tile's row of `channels` floats in each.
                    unsafe { v[x].store(self.dst.add((y * PATCH + x) * self.plane + c)) };
                }
            }
        }
    }
}

/// Aᵀ m A of one tile, all outputs, into the pixels of the map that exist.
#[derive(Clone, Copy)]
pub(crate) struct OutputTransform {
    /// Row of this tile in plane 0 of M.
    pub(crate) src: *const f32,
    pub(crate) plane: usize,
    pub(crate) channels: usize,
    pub(crate) dst: *mut f32,
    pub(crate) row_stride: usize,
    pub(crate) pixel_stride: usize,
    /// Rows and columns of the tile inside the map, at most 4.
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Kernel for OutputTransform {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        for c in (0..self.channels).step_by(V::LANES) {
            let mut half = [[V::zero(); PATCH]; TILE];
            for x in 0..PATCH {
                let mut m = [V::zero(); PATCH];
                for y in 0..PATCH {
                    // SAFETY: M holds 36 planes with this tile's row of `channels` floats in each.
                    m[y] = unsafe { V::load(self.src.add((y * PATCH + x) * self.plane + c)) };
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
                        // SAFETY: the pixel lies inside the map.
                        unsafe { out[x].store(self.dst.add(y * self.row_stride + x * self.pixel_stride + c)) };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three matrices make a correlation: in f64 the identity holds to rounding for random filters and data.
    #[test]
    fn matrices_make_a_correlation() {
        let (a, b) = (A as f64, B as f64);
        let points = [0.0, a, -a, b, -b];
        let g = filter_matrix();
        let taps = [0.3, -1.1, 0.7];
        let d = [0.5, -0.2, 0.9, 1.3, -0.8, 0.1];
        let bt = [
            [a * a * b * b, 0.0, -(a * a + b * b), 0.0, 1.0, 0.0],
            [0.0, -a * b * b, -b * b, a, 1.0, 0.0],
            [0.0, a * b * b, -b * b, -a, 1.0, 0.0],
            [0.0, -b * a * a, -a * a, b, 1.0, 0.0],
            [0.0, b * a * a, -a * a, -b, 1.0, 0.0],
            [0.0, a * a * b * b, 0.0, -(a * a + b * b), 0.0, 1.0],
        ];
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let products: Vec<f64> = (0..6).map(|i| dot(&g[i], &taps) * dot(&bt[i], &d)).collect();
        for r in 0..4 {
            let mut y: f64 = points.iter().zip(&products).map(|(p, m)| p.powi(r as i32) * m).sum();
            if r == 3 {
                y += products[5];
            }
            assert!((y - dot(&taps, &d[r..r + 3])).abs() < 1e-14, "row {r}");
        }
    }
}
