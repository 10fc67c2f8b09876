//! Layouts of packed weights and padded maps, as formulas.
//!
//! Channels are padded to multiples of 16, the width of a panel. A matrix [n, k] is stored as panels of 16 outputs:
//! `w(o, i) = data[(o / 16) · panel_len(k) + i · 16 + o % 16]`, outputs beyond n being zero.

use std::ops::Range;

/// Outputs in one panel of weights, and the unit that channels are padded to.
pub const PANEL: usize = 16;

/// `channels` rounded up to whole panels.
pub fn pad(channels: usize) -> usize {
    channels.next_multiple_of(PANEL)
}

/// Floats from one panel to the next: `16 · k`, and one more row where that would be a multiple of 4096 bytes, since the panels of one
/// tile would then fall into the same cache sets.
pub fn panel_len(k: usize) -> usize {
    unaliased(PANEL * k)
}

/// Floats of a packed matrix with `n` outputs.
pub fn matrix_len(k: usize, n: usize) -> usize {
    pad(n) / PANEL * panel_len(k)
}

/// A stride in floats of at least `stride` that is not a multiple of 4096 bytes.
pub fn unaliased(stride: usize) -> usize {
    if stride.is_multiple_of(1024) { stride + PANEL } else { stride }
}

/// Zero for values that arithmetic would treat as subnormal: they cost a hundred cycles each and mean nothing.
#[inline]
pub fn flush(x: f32) -> f32 {
    // Bits and no branches, so that loops over this are vectors.
    let bits = x.to_bits();
    let subnormal = (bits & 0x7F80_0000 == 0) & (bits & 0x007F_FFFF != 0);
    if subnormal { 0.0 } else { x }
}

/// Packs a matrix given by `weight(output, input)` into panels. `dst` has [`matrix_len`] floats.
///
/// # Panics
/// When `dst` has another length.
pub fn pack_matrix(dst: &mut [f32], k: usize, n: usize, weight: impl Fn(usize, usize) -> f32) {
    pack_rows(dst, k, n, |outputs, i, row| row.iter_mut().zip(outputs).for_each(|(slot, o)| *slot = weight(o, i)));
}

/// As [`pack_matrix`], a row of a panel at a time: `row(outputs, input, slots)` fills the slots of these at most 16 outputs, which are zero.
///
/// # Panics
/// When `dst` has another length.
pub fn pack_rows(dst: &mut [f32], k: usize, n: usize, row: impl Fn(Range<usize>, usize, &mut [f32])) {
    assert_eq!(dst.len(), matrix_len(k, n));
    for (p, panel) in dst.chunks_exact_mut(panel_len(k)).enumerate() {
        let outputs = p * PANEL..n.min((p + 1) * PANEL);
        let (rows, gap) = panel.split_at_mut(k * PANEL);
        gap.fill(0.0);
        for (i, slots) in rows.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            *slots = [0.0; PANEL];
            row(outputs.clone(), i, &mut slots[..outputs.len()]);
            slots.iter_mut().for_each(|slot| *slot = flush(*slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of the module documentation holds, padding is zero, and panel strides are never multiples of 4096 bytes.
    #[test]
    fn packed_matrix_follows_its_formula() {
        for (k, n) in [(1, 1), (3, 16), (64, 17), (128, 32)] {
            let mut data = vec![f32::NAN; matrix_len(k, n)];
            pack_matrix(&mut data, k, n, |o, i| (o * 1000 + i + 1) as f32);
            assert!(!(panel_len(k) * 4).is_multiple_of(4096));
            for o in 0..pad(n) {
                for i in 0..k {
                    let expected = if o < n { (o * 1000 + i + 1) as f32 } else { 0.0 };
                    assert_eq!(data[o / 16 * panel_len(k) + i * 16 + o % 16], expected);
                }
            }
        }
        assert_eq!(flush(f32::MIN_POSITIVE / 2.0), 0.0);
        for kept in [f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1.0, -0.0, f32::MAX, f32::NEG_INFINITY] {
            assert_eq!(flush(kept).to_bits(), kept.to_bits());
        }
        assert_eq!(flush(-1e-45).to_bits(), 0);
    }
}
