//! The 2-D network over 8-bit codes: slabs hold codes, the stem, dense layers and transitions multiply integers, and the fp32 steps at the end
//! (segmentation heads, attention pooling) get their maps converted. Recurrence and classifier are those of fp32.
//!
//! What the integers and constants are is [`crate::backend::quantised`]'s to say; here they are laid out and run.

mod pack;
mod program;
mod run;
mod stem;

pub(super) use pack::{pack_decoder, pack_dense, pack_encoder, pack_transition};
pub(super) use program::{DensePlaces, Factors, TransitionPlaces, stage};
pub(super) use stem::{StemPlaces, pack as pack_stem};

use crate::model::Quantisation;

/// A name for ranges in the key of the packed weights' cache: FNV-1a, 64 bits, over their bits.
pub(super) fn fingerprint(quantisation: &Quantisation) -> u64 {
    let blocks = quantisation.blocks.iter();
    let numbers = blocks.flat_map(|b| b.channels.iter().flat_map(|r| [r.low, r.high]).chain(b.mid.iter().flatten().copied()));
    let bytes = numbers.flat_map(|x| x.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
