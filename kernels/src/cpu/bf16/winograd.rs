//! Winograd F(4×4, 3×3) over bf16: the points and transforms of fp32 ([`crate::cpu::winograd`]), computed in float32; what is multiplied, the
//! transformed patches V and filters U, is rounded to bf16, and the sums M stay float32 until the output transform has added them up.
//!
//! The transforms enlarge what rounding loses: one layer is off by a hundredth of its size where a direct bf16 3×3 is off by a quarter of that. Through a
//! backbone it hardly tells, since what each layer reads was rounded to bf16 anyway.
//! Layouts as in fp32: planes of V and M are 64 bytes longer than they need.

use super::HalfKernel;
use super::lanes::HalfLanes;
use super::layout::{matrix_len, panel_len};
use super::numbers::narrow;
use crate::cpu::int8::layout::place;
use crate::cpu::lanes::F32Lanes;
use crate::cpu::layout::PANEL;
use crate::cpu::winograd::{PATCH, POINTS, TILE, filter_matrix, input_1d, output_1d, transformed};

/// Numbers of the packed U of a layer.
pub(crate) fn weights_len(inputs: usize, outputs: usize) -> usize {
    POINTS * matrix_len(inputs, outputs)
}

/// G g Gᵀ of every filter, rounded and packed: `weight(output, input)` gives the nine taps, row by row. `inputs` is the padded number.
///
/// # Panics
/// When `dst` is not [`weights_len`] long.
pub(crate) fn pack_weights(dst: &mut [u16], inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> [f64; 9]) {
    assert_eq!(dst.len(), weights_len(inputs, outputs));
    dst.fill(0);
    let g = filter_matrix();
    let plane = matrix_len(inputs, outputs);
    for p in 0..plane / panel_len(inputs) {
        let filters = PANEL.min(outputs - p * PANEL);
        for i in 0..inputs {
            let mut taps = [[0.0; PANEL]; 9];
            for f in 0..filters {
                let filter = weight(p * PANEL + f, i);
                taps.iter_mut().zip(filter).for_each(|(lanes, tap)| lanes[f] = tap);
            }
            for (point, lanes) in transformed(&g, &taps).into_iter().enumerate() {
                for (f, u) in lanes.into_iter().enumerate().take(filters) {
                    dst[point * plane + place(inputs, p * PANEL + f, i)] = narrow(u);
                }
            }
        }
    }
}

/// Bᵀ d B of one tile, all channels: the patch's rows start at `rows` and its pixels are `pixel_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct InputTransform {
    pub(crate) rows: [*const u16; PATCH],
    pub(crate) pixel_stride: usize,
    pub(crate) channels: usize,
    /// Row of this tile in plane 0 of V.
    pub(crate) dst: *mut u16,
    pub(crate) plane: usize,
}

impl HalfKernel for InputTransform {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        for c in (0..self.channels).step_by(V::Floats::LANES) {
            let mut half = [[V::Floats::zero(); PATCH]; PATCH];
            for x in 0..PATCH {
                let mut d = [V::Floats::zero(); PATCH];
                for y in 0..PATCH {
                    // SAFETY: the six rows hold six pixels of `channels` numbers each.
                    d[y] = unsafe { V::widen(self.rows[y].add(x * self.pixel_stride + c)) };
                }
                let d = input_1d(d);
                for y in 0..PATCH {
                    half[y][x] = d[y];
                }
            }
            for y in 0..PATCH {
                let v = input_1d(half[y]);
                for x in 0..PATCH {
                    // SAFETY: V holds 36 planes with this tile's row of `channels` numbers in each.
                    unsafe { V::narrow(v[x], self.dst.add((y * PATCH + x) * self.plane + c)) };
                }
            }
        }
    }
}

/// Aᵀ m A of one tile, all outputs, rounded into the pixels of the map that exist.
#[derive(Clone, Copy)]
pub(crate) struct OutputTransform {
    /// Row of this tile in plane 0 of M.
    pub(crate) src: *const f32,
    pub(crate) plane: usize,
    pub(crate) channels: usize,
    pub(crate) dst: *mut u16,
    pub(crate) row_stride: usize,
    pub(crate) pixel_stride: usize,
    /// Rows and columns of the tile inside the map, at most 4.
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl HalfKernel for OutputTransform {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        for c in (0..self.channels).step_by(V::Floats::LANES) {
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
                        // SAFETY: the pixel lies inside the map.
                        unsafe { V::narrow(out[x], self.dst.add(y * self.row_stride + x * self.pixel_stride + c)) };
                    }
                }
            }
        }
    }
}
