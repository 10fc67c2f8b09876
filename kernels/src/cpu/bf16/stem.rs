//! The stem of a network over bf16, on tiers that multiply so much faster that an input is worth being split into two bf16: conv 7×7/2 pad 3, norm0 (folded), ReLU,
//! maxpool 3×3/2 pad 1, planar floats to the first channels of block 1's slab, rounded to bf16 once. Other tiers take the stem of fp32 ([`crate::cpu::stem`]).
//!
//! A scale of 1 and the bias are applied after the pool, which they do not change. |error| of a sum is below (2⁻¹⁵ + γ of its length) · Σ|x·w|.

use crate::cpu::spans::Span;
use crate::cpu::stem::StemShape;
use crate::isa::Isa;

/// The largest magnitude of an input: what it is split into is finite.
pub const LARGEST: f32 = 1e38;

/// The packed weights of a stem.
#[derive(Clone, Copy)]
pub struct StemWeights<'a> {
    /// With norm0 folded in, by [`pack_stem`].
    pub conv: &'a [u16],
    /// 1 for every output.
    pub ones: &'a [f32],
    /// The rest of norm0.
    pub bias: &'a [f32],
}

/// Numbers of the packed weights; 0 where a tier has no stem of its own.
pub fn weights_len(isa: Isa, shape: &StemShape) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(_) = isa {
        return tiled::weights_len(shape);
    }
    let _ = (isa, shape);
    0
}

/// Packs weights given by `weight(output, 49 · channel + 7 · row + column)`.
///
/// # Panics
/// When `dst` is not [`weights_len`] long.
pub fn pack_stem(isa: Isa, shape: &StemShape, dst: &mut [u16], weight: impl Fn(usize, usize) -> f32) {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(_) = isa {
        return tiled::pack(shape, dst, weight);
    }
    let _ = (isa, shape, weight);
    assert!(dst.is_empty());
}

/// Floats that one worker needs.
pub fn scratch_len(isa: Isa, shape: &StemShape) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(_) = isa {
        return tiled::scratch_len(shape) / 4 + 3 * shape.conv().1 * shape.out_channels;
    }
    let _ = (isa, shape);
    0
}

/// Whether a tier has a stem of its own for such values: those up to [`LARGEST`].
pub fn fits(isa: Isa, values: &[f32]) -> bool {
    matches!(isa, Isa::Amx(_)) && isa.run(crate::cpu::stem::Largest { values }) <= LARGEST.to_bits()
}

/// Runs the stem on one image \[channels, height, width\] that [`fits`]; `scratch` holds [`scratch_len`] floats for each of `workers`.
/// With `spans`, one an output row, only those pixels are written.
///
/// # Panics
/// When a slice is too short, there are no or more than 16 channels, or the tier has no stem of its own.
pub fn stem(
    isa: Isa,
    shape: &StemShape,
    weights: &StemWeights<'_>,
    (input, spans): (&[f32], Option<&[Span]>),
    slab: &mut [u16],
    scratch: &mut [f32],
    workers: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Amx(token) = isa {
        return tiled::stem(token, shape, weights, (input, spans), slab, scratch, workers);
    }
    let _ = (shape, weights, input, spans, slab, scratch, workers);
    panic!("the tier {} has no stem over bf16", isa.name());
}

#[cfg(target_arch = "x86_64")]
mod tiled {
    use super::StemWeights;
    use crate::cpu::bf16::HalfKernel;
    use crate::cpu::bf16::lanes::HalfLanes;
    use crate::cpu::int8::stem::{Window, window_rows};
    use crate::cpu::lanes::F32Lanes;
    use crate::cpu::layout::PANEL;
    use crate::cpu::part;
    use crate::cpu::spans::Span;
    use crate::cpu::stem::{MAX_CHANNELS, StemShape};
    use crate::cpu::tiles::split_stem::Lines;
    pub(super) use crate::cpu::tiles::split_stem::{pack, scratch_len, weights_len};
    use crate::cpu::tiles::stem::pooled_rows;
    use crate::isa::{Amx, Isa};
    use crate::parallel::{self, SharedMut};

    pub(super) fn stem(
        token: Amx,
        shape: &StemShape,
        weights: &StemWeights<'_>,
        (input, spans): (&[f32], Option<&[Span]>),
        slab: &mut [u16],
        scratch: &mut [f32],
        workers: usize,
    ) {
        let ((rows, columns), n) = (shape.output(), shape.out_channels);
        assert!((1..=MAX_CHANNELS).contains(&shape.channels) && n.is_multiple_of(PANEL) && shape.slab_stride >= n);
        assert!(input.len() >= shape.channels * shape.height * shape.width && shape.height > 0 && shape.width > 0);
        assert!(weights.conv.len() >= weights_len(shape) && weights.ones.len() >= n && weights.bias.len() >= n);
        assert!(slab.len() >= rows * columns * shape.slab_stride);
        assert!(spans.is_none_or(|s| s.len() == rows && s.iter().all(|s| s.end <= columns)));
        let len = super::scratch_len(Isa::Amx(token), shape);
        assert!(scratch.len() >= len * workers);
        let slab = SharedMut::new(slab);
        parallel::over_chunks(&mut scratch[..len * workers], len, &|worker, scratch| {
            let rows = part(rows, workers, worker);
            if rows.is_empty() {
                return;
            }
            let (lines, ring) = scratch.split_at_mut(scratch_len(shape) / 4);
            let (lines, ring) = (lines.as_mut_ptr().cast(), ring.as_mut_ptr());
            let lines = Lines { token, shape, input, weights: weights.conv, scratch: lines };
            let pool = |row| {
                // SAFETY: the ring has three rows; the row lies in the slab, whose length was checked, and is this worker's.
                unsafe {
                    let (rows, columns) = (window_rows(shape, row, ring), shape.pooled(spans, row));
                    let window = Window { shape, scale: weights.ones, offset: weights.bias, rows, columns };
                    let dst = slab.at(row * shape.output().1 * shape.slab_stride);
                    Isa::Amx(token).run_halves(PoolHalves { window, dst });
                }
            };
            // SAFETY: the scratch was laid out for the lines and the ring.
            unsafe { pooled_rows(&lines, shape, spans, rows, ring, pool) };
        });
    }

    /// A pooled row as bf16.
    struct PoolHalves<'a> {
        window: Window<'a>,
        dst: *mut u16,
    }

    impl HalfKernel for PoolHalves<'_> {
        #[inline(always)]
        fn run<V: HalfLanes>(self) {
            let shape = self.window.shape;
            for x in self.window.columns.columns() {
                for c in (0..shape.out_channels).step_by(V::Floats::LANES) {
                    // SAFETY: the pixel lies in the row.
                    unsafe { V::narrow(self.window.value(x, c), self.dst.add(x * shape.slab_stride + c)) };
                }
            }
        }
    }
}
