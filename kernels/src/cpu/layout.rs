//! Layouts of packed weights and padded maps, as formulas.
//!
//! Channels are padded to multiples of 16, the width of a panel. A matrix [n, k] is stored as panels of 16 outputs:
//! `w(o, i) = data[(o / 16) · panel_len(k) + i · 16 + o % 16]`, outputs beyond n being zero.

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
pub fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 } else { x }
}

/// Packs a matrix given by `weight(output, input)` into panels. `dst` has [`matrix_len`] floats.
///
/// # Panics
/// When `dst` has another length.
pub fn pack_matrix(dst: &mut [f32], k: usize, n: usize, weight: impl Fn(usize, usize) -> f32) {
    assert_eq!(dst.len(), matrix_len(k, n));
    dst.fill(0.0);
    for (p, panel) in dst.chunks_exact_mut(panel_len(k)).enumerate() {
        let outputs = (n - p * PANEL).min(PANEL);
        for (i, row) in panel.chunks_exact_mut(PANEL).take(k).enumerate() {
            for (o, slot) in row[..outputs].iter_mut().enumerate() {
                *slot = flush(weight(p * PANEL + o, i));
            }
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
        assert_eq!(flush(f32::MIN_POSITIVE), f32::MIN_POSITIVE);
    }
}
