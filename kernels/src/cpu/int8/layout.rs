//! Layouts of packed integer weights, and floats seen as codes.
//!
//! A matrix \[n, k\] is stored as panels of 16 outputs whose inputs lie in pairs, since products are added in pairs:
//! `w(o, i) = data[(o / 16) · panel_len(k) + (i / 2) · 32 + (o % 16) · 2 + i % 2]`, with zeros beyond n and k.
//! Buffers of codes and integers live in arenas and packed weights that are counted in floats.

use crate::cpu::layout::{PANEL, pad};

/// Largest code.
pub const CODES: i64 = 255;
/// Largest magnitude of an 8-bit weight.
const LARGEST_WEIGHT: i64 = 127;

/// Numbers from one panel to the next; never a multiple of 4096 bytes, as in fp32.
pub fn panel_len(k: usize) -> usize {
    unaliased(PANEL * k.next_multiple_of(2))
}

/// Numbers of a packed matrix with `n` outputs.
pub fn matrix_len(k: usize, n: usize) -> usize {
    pad(n) / PANEL * panel_len(k)
}

/// A stride in numbers of 16 bits of at least `stride` that is not a multiple of 4096 bytes.
pub(crate) fn unaliased(stride: usize) -> usize {
    if stride.is_multiple_of(2048) { stride + 2 * PANEL } else { stride }
}

/// Where a weight lies.
pub(crate) fn place(k: usize, o: usize, i: usize) -> usize {
    o / PANEL * panel_len(k) + i / 2 * 2 * PANEL + o % PANEL * 2 + i % 2
}

/// The largest weight magnitude with which no sum of `k` products with activations up to `activation` can leave 32 bits.
pub(crate) fn largest_weight(k: usize, activation: i64) -> i64 {
    (i64::from(i32::MAX) / activation / k.max(1) as i64).min(LARGEST_WEIGHT)
}

/// Rounds a matrix given by `weight(output, input)` to 8 bits, one step an output, and packs it for activations of 0 to `activation`.
/// `steps` receives the steps: weight ≈ step · integer, and 0 where all weights of an output are.
///
/// # Panics
/// When `dst` is not [`matrix_len`] long, `steps` is shorter than `n`, or a weight is not finite.
pub fn pack_matrix(dst: &mut [i16], steps: &mut [f64], k: usize, n: usize, activation: i64, weight: impl Fn(usize, usize) -> f64) {
    assert_eq!(dst.len(), matrix_len(k, n));
    let largest = largest_weight(k, activation) as f64;
    dst.fill(0);
    for (o, step) in steps[..n].iter_mut().enumerate() {
        let most = (0..k).map(|i| weight(o, i).abs()).fold(0.0, f64::max);
        assert!(most.is_finite(), "a weight of output {o} is not finite");
        *step = most / largest;
        for i in (0..k).filter(|_| *step > 0.0) {
            dst[place(k, o, i)] = (weight(o, i) / *step).round_ties_even().clamp(-largest, largest) as i16;
        }
    }
}

/// Floats that hold `codes` codes.
pub fn floats_of_codes(codes: usize) -> usize {
    codes.div_ceil(4)
}

/// Floats that hold `words` numbers of 16 bits.
pub fn floats_of_words(words: usize) -> usize {
    words.div_ceil(2)
}

/// The bytes of floats.
pub fn codes(floats: &[f32]) -> &[u8] {
    // SAFETY: floats are plain bytes, and a byte needs no alignment.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}

/// The bytes of floats, to be written: every pattern of bits is a float.
pub fn codes_mut(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: as above, and borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}

/// Floats as numbers of 16 bits.
pub fn words(floats: &[f32]) -> &[i16] {
    // SAFETY: floats are plain bytes and aligned more strictly.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), 2 * floats.len()) }
}

/// Floats as numbers of 16 bits, to be written.
pub fn words_mut(floats: &mut [f32]) -> &mut [i16] {
    // SAFETY: as above, and borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), 2 * floats.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of the module documentation holds, padding is zero, no panel stride is a multiple of 4096 bytes, each output uses its
    /// whole range, and a sum of the largest activations stays in 32 bits even where that costs weight bits.
    #[test]
    fn packed_matrix_follows_its_formula() {
        for (k, n) in [(1, 1), (3, 16), (64, 17), (128, 32), (70_000, 1)] {
            let (mut data, mut steps) = (vec![-1; matrix_len(k, n)], vec![0.0; n]);
            let weight = |o: usize, i: usize| if o == 5 { 0.0 } else { (o as f64 + 0.5) * ((i * 37 % 101) as f64 - 50.0) };
            pack_matrix(&mut data, &mut steps, k, n, CODES, weight);
            assert!(!(panel_len(k) * 2).is_multiple_of(4096));
            for o in 0..pad(n) {
                let row: Vec<i64> = (0..k).map(|i| data[place(k, o, i)].into()).collect();
                let bound = CODES * row.iter().map(|w| w.abs()).sum::<i64>();
                assert!(bound <= i64::from(i32::MAX), "{k} {o}");
                for (i, w) in row.iter().enumerate() {
                    let exact = if o < n { weight(o, i) } else { 0.0 };
                    let step = steps.get(o).copied().unwrap_or(0.0);
                    assert!((exact - step * *w as f64).abs() <= 0.5000001 * step, "{k} {n} {o} {i}");
                }
            }
            let used: usize = data.iter().filter(|w| **w != 0).count();
            assert!(used <= n * k && (n != 1 || data[0] != 0));
        }
    }
}
