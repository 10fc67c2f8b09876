//! Layouts of packed bf16 weights, and floats seen as bf16.
//!
//! A matrix is stored in panels of 16 outputs whose inputs lie in pairs, as integer weights of 16 bits are ([`crate::cpu::int8::layout`]),
//! since an instruction multiplies and adds pairs. Buffers are counted in floats.

use super::numbers::finite;
use crate::cpu::int8::layout::place;
pub use crate::cpu::int8::layout::{floats_of_words, matrix_len, panel_len};
use crate::isa::Isa;

/// bf16 in a row of a tile.
const STEP: usize = 32;

/// The channel that a tier packs at place `p` of the inputs of a norm with its 1×1: in tiles, of 32 channels first the even ones.
pub fn channel(isa: Isa, p: usize) -> usize {
    match isa {
        Isa::Amx(_) => p / STEP * STEP + p % (STEP / 2) * 2 + p % STEP / (STEP / 2),
        _ => p,
    }
}

/// Puts what belongs to the channels of a norm, [`inputs`] of them, in the order in which a tier reads them.
pub fn order_channels(isa: Isa, factors: &mut [f32]) {
    if matches!(isa, Isa::Amx(_)) {
        for group in factors.chunks_exact_mut(STEP) {
            let before: [f32; STEP] = std::array::from_fn(|i| group[i]);
            group.iter_mut().enumerate().for_each(|(p, slot)| *slot = before[channel(isa, p)]);
        }
    }
}

/// Inputs that a tier packs for `k`: whole steps of tiles where it has those.
pub fn inputs(isa: Isa, k: usize) -> usize {
    if matches!(isa, Isa::Amx(_)) { k.next_multiple_of(STEP) } else { k }
}

/// Packs a matrix given by `weight(output, input)`, each rounded to the nearest finite bf16.
///
/// # Panics
/// When `dst` is not [`matrix_len`] long.
pub fn pack_matrix(dst: &mut [u16], k: usize, n: usize, weight: impl Fn(usize, usize) -> f64) {
    assert_eq!(dst.len(), matrix_len(k, n));
    dst.fill(0);
    for o in 0..n {
        for i in 0..k {
            dst[place(k, o, i)] = finite(weight(o, i));
        }
    }
}

/// Floats as bf16, two in each.
pub fn halves(floats: &[f32]) -> &[u16] {
    // SAFETY: floats are plain bytes and aligned more strictly.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), 2 * floats.len()) }
}

/// Floats as bf16, to be written: every pattern of bits is a float.
pub fn halves_mut(floats: &mut [f32]) -> &mut [u16] {
    // SAFETY: as above, and borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), 2 * floats.len()) }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::widen;
    use super::*;

    /// The formula of the integer layout holds, padding is zero, and no panel stride is a multiple of 4096 bytes.
    #[test]
    fn packed_matrix_follows_its_formula() {
        for (k, n) in [(2, 1), (48, 16), (64, 17), (128, 32)] {
            let mut data = vec![1; matrix_len(k, n)];
            let weight = |o: usize, i: usize| (o * 3 + i) as f64;
            pack_matrix(&mut data, k, n, weight);
            assert!(!(panel_len(k) * 2).is_multiple_of(4096));
            for (o, i) in (0..n.next_multiple_of(16)).flat_map(|o| (0..k).map(move |i| (o, i))) {
                let at = o / 16 * panel_len(k) + i / 2 * 32 + o % 16 * 2 + i % 2;
                assert_eq!(data[at], if o < n { finite(weight(o, i)) } else { 0 }, "{k} {n} {o} {i}");
            }
        }
        assert_eq!(halves(&[widen(0x3F80)])[usize::from(cfg!(target_endian = "little"))], 0x3F80);
    }
}
