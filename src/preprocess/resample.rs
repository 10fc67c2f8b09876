//! Bilinear resampling with antialiasing: the separable triangle filter whose support grows with the reduction.
//!
//! Output pixel i of n_out from n_in has its centre at c = (i + ½) · s, s = n_in / n_out; with r = max(s, 1) its taps are the pixels
//! ⌊c − r + ½⌋ .. ⌊c + r + ½⌋ (clamped), weighted by max(0, 1 − |j + ½ − c| / r) and normalised to sum 1. This is
//! `torch.nn.functional.interpolate(mode="bilinear", align_corners=False, antialias=True)`. Weights and sums are float64, rounded to
//! float32 once per output, so the result does not depend on vector width.

use super::geometry::{AxisMap, Placement};
use crate::tensor::AxisTaps;
use crate::volume::HuPixels;

/// The taps of every input pixel along one axis.
pub fn axis_taps(axis: AxisMap) -> AxisTaps {
    let scale = axis.source as f64 / axis.resized as f64;
    let support = scale.max(1.0);
    let mut all = AxisTaps::default();
    for index in 0..axis.size {
        let Some(at) = axis.resized_index(index) else {
            all.push_padding();
            continue;
        };
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let last = ((centre + support + 0.5) as usize).min(axis.source);
        let weights: Vec<f64> = (first..last).map(|j| (1.0 - (j as f64 + 0.5 - centre).abs() / support).max(0.0)).collect();
        let total: f64 = weights.iter().sum();
        all.push(first, weights.into_iter().map(|w| w / total));
    }
    all
}

/// Resamples one slice of `placement` into `dst` ([height, width], row-major); padding becomes `outside_hu`.
pub fn resample_plane(pixels: &HuPixels, placement: Placement, filters: (&AxisTaps, &AxisTaps), outside_hu: f32, dst: &mut [f32]) {
    match pixels {
        HuPixels::Int(v) => resample(v, placement, filters, outside_hu, dst),
        HuPixels::Float(v) => resample(v, placement, filters, outside_hu, dst),
    }
}

fn resample<T: Copy + Into<f64>>(src: &[T], placement: Placement, (rows, cols): (&AxisTaps, &AxisTaps), outside: f32, dst: &mut [f32]) {
    let (source_cols, width) = (placement.cols.source, placement.cols.size);
    assert_eq!(src.len(), placement.rows.source * source_cols, "one slice of the placement's source size");
    assert_eq!(dst.len(), placement.rows.size * width, "one plane of the placement's input size");
    // Source rows already filtered along x, by source row modulo the tallest window: neighbouring output rows share them.
    let window = (0..placement.rows.size).filter_map(|y| rows.at(y)).map(|(_, w)| w.len()).max().unwrap_or(1);
    let mut ring = vec![0.0f64; window * width];
    let mut sum = vec![0.0f64; width];
    let mut filtered_to = 0;
    for (y, out) in dst.chunks_exact_mut(width).enumerate() {
        let Some((first, weights)) = rows.at(y) else {
            out.fill(outside);
            continue;
        };
        for row in filtered_to.max(first)..first + weights.len() {
            filter_row(&src[row * source_cols..][..source_cols], cols, &mut ring[row % window * width..][..width]);
        }
        filtered_to = first + weights.len();
        sum.fill(0.0);
        for (row, &w) in (first..).zip(weights) {
            let filtered = &ring[row % window * width..][..width];
            sum.iter_mut().zip(filtered).for_each(|(s, v)| *s += w * v);
        }
        for (x, (o, s)) in out.iter_mut().zip(&sum).enumerate() {
            *o = if cols.at(x).is_some() { *s as f32 } else { outside };
        }
    }
}

fn filter_row<T: Copy + Into<f64>>(src: &[T], cols: &AxisTaps, dst: &mut [f64]) {
    for (x, out) in dst.iter_mut().enumerate() {
        let Some((first, weights)) = cols.at(x) else { continue };
        let taps = &src[first..first + weights.len()];
        *out = taps.iter().zip(weights).map(|(&v, w)| v.into() * w).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: usize, size: usize) -> AxisMap {
        AxisMap { source, resized: size, offset: 0, size }
    }

    fn run(src: &[f32], rows: AxisMap, cols: AxisMap) -> Vec<f32> {
        let placement = Placement { rows, cols };
        let mut dst = vec![f32::NAN; rows.size * cols.size];
        let filters = (axis_taps(rows), axis_taps(cols));
        resample_plane(&HuPixels::Float(src.to_vec()), placement, (&filters.0, &filters.1), -1000.0, &mut dst);
        dst
    }

    #[test]
    fn same_size_is_the_identity() {
        let src: Vec<f32> = (0..35).map(|i| (i * i) as f32).collect();
        assert_eq!(run(&src, whole(5, 5), whole(7, 7)), src);
    }

    #[test]
    fn a_constant_stays_constant_at_any_size() {
        // Sizes on both sides of the source, coprime with it, and the one-pixel extremes.
        for size in [1, 2, 3, 12, 13, 14, 27, 64] {
            let out = run(&[40.0; 13 * 13], whole(13, size), whole(13, size));
            assert!(out.iter().all(|v| (v - 40.0).abs() < 1e-4), "{size}: {out:?}");
        }
    }

    #[test]
    fn halving_weighs_four_taps_one_three_three_one() {
        // Away from the border a reduction by 2 has taps 1/8, 3/8, 3/8, 1/8.
        let out = run(&[0.0, 8.0, 16.0, 64.0, 0.0, 0.0, 0.0, 0.0], whole(1, 1), whole(8, 4));
        assert_eq!(out[1], 8.0 / 8.0 + 16.0 * 3.0 / 8.0 + 64.0 * 3.0 / 8.0);
    }

    #[test]
    fn cropping_and_padding_read_the_same_pixels_as_the_whole_resize() {
        let src: Vec<f32> = (0..40 * 30).map(|i| ((i * 7919) % 1000) as f32).collect();
        let full = run(&src, whole(40, 21), whole(30, 17));
        let rows = AxisMap { source: 40, resized: 21, offset: 4, size: 9 };
        let cols = AxisMap { source: 30, resized: 17, offset: -3, size: 24 };
        let part = run(&src, rows, cols);
        for y in 0..9 {
            for x in 0..24 {
                let want = cols.resized_index(x).map_or(-1000.0, |c| full[(y + 4) * 17 + c]);
                assert_eq!(part[y * 24 + x], want, "row {y}, column {x}");
            }
        }
    }

    #[test]
    fn whole_numbers_and_floats_agree() {
        let ints: Vec<i16> = (0..63).map(|i| (i * 97 % 4096) as i16 - 1024).collect();
        let placement = Placement { rows: whole(9, 4), cols: whole(7, 5) };
        let (rows, cols) = (axis_taps(placement.rows), axis_taps(placement.cols));
        let (mut a, mut b) = (vec![0.0; 20], vec![0.0; 20]);
        resample_plane(&HuPixels::Int(ints.clone()), placement, (&rows, &cols), 0.0, &mut a);
        let floats = ints.iter().map(|&v| f32::from(v)).collect();
        resample_plane(&HuPixels::Float(floats), placement, (&rows, &cols), 0.0, &mut b);
        assert_eq!(a, b);
    }
}
