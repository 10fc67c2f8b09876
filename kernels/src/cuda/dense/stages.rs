//! A layer's weights once more, as the stages of `dense_sm90.cu`: in the order of use, each as it lies in shared memory, in wgmma's core matrices
//! of 8 outputs × 8 inputs.
//!
//! The 1×1, for every 128 mid channels and 32 inputs: conv1 as \[128 / 8\]\[4\]\[8\]\[8\], then 32 scales and 32 shifts of norm1. The 3×3, for
//! every 32 outputs and 16 mid channels: conv2 as \[kx\]\[ky\]\[32 / 8\]\[2\]\[8\]\[8\]. What lies beyond the last channel is zero.

use super::{DenseLayer, DenseShape};

const MID: usize = 128;
const INPUTS: usize = 32;
const OUTPUTS: usize = 32;
const TAP_INPUTS: usize = 16;
/// Bytes of an element.
const BYTES: usize = 2;

/// Bytes of the stages of a layer that reads `in_channels`.
pub(super) fn bytes(shape: &DenseShape, in_channels: usize) -> usize {
    let first = shape.mid.div_ceil(MID) * in_channels.div_ceil(INPUTS) * (MID * INPUTS + 2 * INPUTS);
    let second = shape.growth.div_ceil(OUTPUTS) * shape.mid / TAP_INPUTS * (9 * OUTPUTS * TAP_INPUTS);
    (first + second) * BYTES
}

/// Appends the stages of `layer`, whose weights are in `to` already.
pub(super) fn pack(shape: &DenseShape, layer: &DenseLayer, to: &mut Vec<u8>) {
    let (k, mid, growth) = (layer.in_channels as usize, shape.mid, shape.growth);
    let copy = |at: u32, index: Option<usize>, to: &mut Vec<u8>| match index {
        Some(index) => to.extend_from_within(at as usize + index * BYTES..at as usize + (index + 1) * BYTES),
        None => to.extend_from_slice(&[0; BYTES]),
    };
    for part in (0..mid).step_by(MID) {
        for step in (0..k).step_by(INPUTS) {
            cores(MID, INPUTS, |n, i| {
                let (n, i) = (part + n, step + i);
                copy(layer.conv1, (n < mid && i < k).then_some(n * k + i), to);
            });
            for terms in 0..2 {
                (step..step + INPUTS).for_each(|i| copy(layer.norm1, (i < k).then_some(terms * k + i), to));
            }
        }
    }
    for first in (0..growth).step_by(OUTPUTS) {
        for step in (0..mid).step_by(TAP_INPUTS) {
            for (kx, ky) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                cores(OUTPUTS, TAP_INPUTS, |n, i| {
                    let index = ((ky * 3 + kx) * growth + first + n) * mid + step + i;
                    copy(layer.conv2, (first + n < growth).then_some(index), to);
                });
            }
        }
    }
}

/// All (output, input) in the order of core matrices: outputs by eight, inputs by eight, then the eight outputs and their eight inputs.
fn cores(outputs: usize, inputs: usize, mut each: impl FnMut(usize, usize)) {
    for n in (0..outputs).step_by(8) {
        for i in (0..inputs).step_by(8) {
            for at in 0..64 {
                each(n + at / 8, i + at % 8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Element;
    use super::super::super::packing::Norm;
    use super::super::{DenseShape, DenseWeights};
    use super::*;

    /// Stages are as long as `bytes` says, and a few elements lie where the formula of the module documentation puts them.
    #[test]
    fn stages_follow_their_formula() {
        let shape = DenseShape { element: Element::F16, height: 1, width: 1, stride: 128, mid: 144, growth: 48 };
        let (k, conv1) = (48, (0..144 * 48).map(|i| (i % 1009) as f32).collect::<Vec<_>>());
        let conv2: Vec<f32> = (0..48 * 144 * 9).map(|i| (i % 2003) as f32).collect();
        let (scale, zeros) = ((0..48).map(f64::from).collect::<Vec<_>>(), vec![0f32; 48]);
        let norm1 = Norm { scale: &scale, mean: &zeros, bias: &zeros };
        let weights = DenseWeights { norm1, conv1: &conv1, scale2: &[1.0; 144], shift2: &[0.0; 144], conv2: &conv2 };
        let mut packed = Vec::new();
        let layer = shape.pack(&weights, &Some, (k, k), &mut packed);
        let stages = Element::F16.decode(&packed[layer.stages as usize..]);
        assert_eq!(stages.len() * BYTES, bytes(&shape, k));
        let first = MID * INPUTS + 2 * INPUTS;
        // Output 130, input 37: second part, second step, row 2 of the first core, element 5.
        assert_eq!(stages[3 * first + 2 * 8 + 5], ((130 * 48 + 37) % 1009) as f32);
        assert_eq!(stages[3 * first + 2 * INPUTS * 8], 0.0, "output 144 does not exist");
        assert_eq!(stages[first + MID * INPUTS + 15], 47.0, "the last scale");
        assert_eq!(stages[first + MID * INPUTS + 16], 0.0, "there is no scale 48");
        // Output 33, mid channel 27, ky 2, kx 1.
        let at = 4 * first + (9 + 1) * 9 * 512 + (3 + 2) * 512 + 128 / 2 + 8 + 3;
        assert_eq!(stages[at], ((33 * 144 + 27) * 9 + 7) as f32 % 2003.0);
    }
}
