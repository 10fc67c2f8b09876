//! Numbers for buffers: the same on every machine, of the size that activations and weights have, never subnormal.

/// `len` values in [−1, 1).
pub(crate) fn activations(len: usize) -> Vec<f32> {
    sequence(len, 1.0)
}

/// `len` values whose products over a sum of `k` stay near one.
pub(crate) fn weights(len: usize, k: usize) -> Vec<f32> {
    sequence(len, (3.0 / k.max(1) as f32).sqrt())
}

/// `len` bytes of any value.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    random().map(|bits| (bits >> 16) as u8).take(len).collect()
}

fn sequence(len: usize, scale: f32) -> Vec<f32> {
    random().map(|bits| (bits as f32 / (1u32 << 23) as f32 - 1.0) * scale).take(len).collect()
}

/// The upper 24 bits of a linear congruential generator.
fn random() -> impl Iterator<Item = u32> {
    let mut state = 0x2545_F491u32;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    })
}
