//! Layouts of packed integer weights, and floats seen as codes.
//!
//! A matrix \[n, k\] is stored as panels of 16 outputs whose inputs lie in pairs, since products are added in pairs:
//! `w(o, i) = data[(o / 16) · panel_len(k) + (i / 2) · 32 + (o % 16) · 2 + i % 2]`, with zeros beyond n and k.
//! Buffers of codes and integers live in arenas and packed weights that are counted in floats.

use crate::cpu::layout::{PANEL, pad};

/// Largest code.
pub const CODES: i64 = 255;

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

/// Packs a matrix given by `weight(output, input)`, for activations of 0 to `activation`. Whether every sum fits 32 bits whatever the
/// activations are; if not, the matrix must not be used.
///
/// # Panics
/// When `dst` is not [`matrix_len`] long.
#[must_use]
pub fn pack_matrix(dst: &mut [i16], k: usize, n: usize, activation: i64, weight: impl Fn(usize, usize) -> i8) -> bool {
    assert_eq!(dst.len(), matrix_len(k, n));
    dst.fill(0);
    let mut largest = 0;
    for o in 0..n {
        let mut sum = 0;
        for i in 0..k {
            let w = weight(o, i);
            sum += i64::from(w.unsigned_abs());
            dst[place(k, o, i)] = w.into();
        }
        largest = largest.max(sum * activation);
    }
    largest <= i32::MAX.into()
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

    /// The formula of the module documentation holds, padding is zero, and no panel stride is a multiple of 4096 bytes.
    #[test]
    fn packed_matrix_follows_its_formula() {
        for (k, n) in [(1, 1), (3, 16), (64, 17), (128, 32)] {
            let mut data = vec![-1; matrix_len(k, n)];
            let weight = |o: usize, i: usize| ((o * 31 + i * 7) % 255) as i8;
            assert!(pack_matrix(&mut data, k, n, CODES, weight));
            assert!(!(panel_len(k) * 2).is_multiple_of(4096));
            for o in 0..pad(n) {
                for i in 0..k {
                    let at = o / 16 * panel_len(k) + i / 2 * 32 + o % 16 * 2 + i % 2;
                    assert_eq!(i64::from(data[at]), if o < n { weight(o, i).into() } else { 0 }, "{k} {n} {o} {i}");
                }
            }
        }
    }

    /// Sums that could leave 32 bits are noticed, at the last weight that fits.
    #[test]
    fn sums_beyond_32_bits_are_noticed() {
        let fits = |k: usize, activation: i64, weight: i8| {
            let mut data = vec![0; matrix_len(k, 2)];
            pack_matrix(&mut data, k, 2, activation, |o, _| if o == 1 { weight } else { 1 })
        };
        for (activation, weight) in [(CODES, 127), (CODES, -127), (4 * CODES, 100)] {
            let most = (i64::from(i32::MAX) / activation / i64::from(weight).abs()) as usize;
            assert!(fits(most, activation, weight) && !fits(most + 1, activation, weight));
        }
    }
}
