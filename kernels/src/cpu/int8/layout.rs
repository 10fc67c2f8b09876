//! Layouts of packed integer weights, and floats seen as codes.
//!
//! A matrix \[n, k\] is stored as panels of 16 outputs whose inputs lie in groups of g, as many as a sum takes in one step: 2 of 16 bits, 4 of 8:
//! `w(o, i) = data[(o / 16) · panel_len(k) + (i / g) · 16 · g + (o % 16) · g + i % g]`, with zeros beyond n and k.
//! Buffers of codes and integers live in arenas and packed weights that are counted in floats.

use super::lanes::{Codes, IntLanes, Words};
use crate::cpu::layout::{PANEL, pad};
use crate::integers::Integers;

/// Largest code.
pub const CODES: i64 = 255;

/// What a sum takes in one step: four bytes of a row and of the weights.
pub(crate) trait Group: Copy {
    /// A number of a row.
    type Activation: Copy;
    /// A weight.
    type Weight: Copy + From<i8> + Into<i64>;
    /// How many of each.
    const LEN: usize;

    /// Sum, and what it takes.
    fn madd<V: IntLanes>(sum: V, a: V, w: V) -> V;

    /// Writes sixteen codes as numbers of a row.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store<V: IntLanes>(codes: Codes<V>, dst: *mut Self::Activation);
}

/// Two numbers of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Pairs;

impl Group for Pairs {
    type Activation = i16;
    type Weight = i16;
    const LEN: usize = 2;

    #[inline(always)]
    fn madd<V: IntLanes>(sum: V, a: V, w: V) -> V {
        sum.madd(a, w)
    }

    #[inline(always)]
    unsafe fn store<V: IntLanes>(codes: Codes<V>, dst: *mut i16) {
        // SAFETY: as promised.
        unsafe { V::Words::widen(codes).store(dst) }
    }
}

/// Four codes, and four weights of 8 bits.
#[derive(Clone, Copy)]
pub(crate) struct Quads;

impl Group for Quads {
    type Activation = u8;
    type Weight = i8;
    const LEN: usize = 4;

    #[inline(always)]
    fn madd<V: IntLanes>(sum: V, a: V, w: V) -> V {
        sum.madd_quads(a, w)
    }

    #[inline(always)]
    unsafe fn store<V: IntLanes>(codes: Codes<V>, dst: *mut u8) {
        // SAFETY: as promised.
        unsafe { V::store_quads(codes, dst) }
    }
}

/// [`panel_len`] of either kind.
pub(crate) fn panel_len_of<G: Group>(k: usize) -> usize {
    let len = PANEL * k.next_multiple_of(G::LEN);
    if (len * size_of::<G::Weight>()).is_multiple_of(4096) { len + PANEL * G::LEN } else { len }
}

/// [`matrix_len`] of either kind.
pub(crate) fn matrix_len_of<G: Group>(k: usize, n: usize) -> usize {
    pad(n) / PANEL * panel_len_of::<G>(k)
}

/// Numbers from one panel of pairs to the next; never a multiple of 4096 bytes, as in fp32.
pub fn panel_len(k: usize) -> usize {
    panel_len_of::<Pairs>(k)
}

/// Numbers of a packed matrix of pairs with `n` outputs.
pub fn matrix_len(k: usize, n: usize) -> usize {
    matrix_len_of::<Pairs>(k, n)
}

/// Codes in a row of a tile.
const STEP: usize = 64;

/// Inputs that a level packs for `k`: whole steps of tiles where it has those.
pub fn inputs(level: Integers, k: usize) -> usize {
    if matches!(level, Integers::Amx(_)) { k.next_multiple_of(STEP) } else { k }
}

/// Where a weight lies.
fn place_of<G: Group>(k: usize, o: usize, i: usize) -> usize {
    o / PANEL * panel_len_of::<G>(k) + i / G::LEN * G::LEN * PANEL + o % PANEL * G::LEN + i % G::LEN
}

/// [`place_of`] with inputs in pairs.
pub(crate) fn place(k: usize, o: usize, i: usize) -> usize {
    place_of::<Pairs>(k, o, i)
}

/// Packs a matrix given by `weight(output, input)` with inputs in pairs, for activations of 0 to `activation`. Whether every sum fits 32 bits
/// whatever the activations are; if not, the matrix must not be used.
///
/// # Panics
/// When `dst` is not [`matrix_len`] long.
#[must_use]
pub fn pack_matrix(dst: &mut [i16], k: usize, n: usize, activation: i64, weight: impl Fn(usize, usize) -> i8) -> bool {
    pack_matrix_of::<Pairs>(dst, k, n, activation, |o, i| weight(o, i).into())
}

/// [`pack_matrix`] in groups of either kind, of weights as wide as they hold.
pub(crate) fn pack_matrix_of<G: Group>(
    dst: &mut [G::Weight],
    k: usize,
    n: usize,
    activation: i64,
    weight: impl Fn(usize, usize) -> G::Weight,
) -> bool {
    assert_eq!(dst.len(), matrix_len_of::<G>(k, n));
    dst.fill(0.into());
    let mut largest = 0;
    for o in 0..n {
        let mut sum = 0;
        for i in 0..k {
            let w = weight(o, i);
            sum += Into::<i64>::into(w).abs();
            dst[place_of::<G>(k, o, i)] = w;
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

/// Bytes as small weights, to be written.
pub(crate) fn weights_mut(bytes: &mut [u8]) -> &mut [i8] {
    // SAFETY: the two differ in what their patterns of bits stand for.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Numbers of 16 bits as bytes, whose place need not suit them.
pub(crate) fn as_bytes(words: &[i16], dst: &mut [u8]) {
    assert_eq!(dst.len(), 2 * words.len());
    dst.as_chunks_mut().0.iter_mut().zip(words).for_each(|(bytes, w)| *bytes = w.to_ne_bytes());
}

/// The bytes of numbers of 16 bits.
#[cfg(target_arch = "x86_64")]
pub(crate) fn bytes(words: &[i16]) -> &[u8] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), 2 * words.len()) }
}

/// The bytes of numbers of 16 bits, to be written.
#[cfg(target_arch = "x86_64")]
pub(crate) fn bytes_mut(words: &mut [i16]) -> &mut [u8] {
    // SAFETY: as above, and borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 2 * words.len()) }
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
        follows_its_formula::<Pairs>(2);
        follows_its_formula::<Quads>(4);
    }

    fn follows_its_formula<G: Group>(g: usize) {
        for (k, n) in [(1, 1), (3, 16), (64, 17), (128, 32), (256, 16)] {
            let mut data = vec![G::Weight::from(-1); matrix_len_of::<G>(k, n)];
            let weight = |o: usize, i: usize| ((o * 31 + i * 7) % 255) as i8;
            assert!(pack_matrix_of::<G>(&mut data, k, n, CODES, |o, i| weight(o, i).into()));
            let panel = panel_len_of::<G>(k);
            assert!(!(panel * size_of::<G::Weight>()).is_multiple_of(4096));
            for o in 0..pad(n) {
                for i in 0..k.next_multiple_of(g) {
                    let at = o / 16 * panel + i / g * 16 * g + o % 16 * g + i % g;
                    assert_eq!(data[at].into(), if o < n && i < k { weight(o, i).into() } else { 0 }, "{k} {n} {o} {i}");
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
