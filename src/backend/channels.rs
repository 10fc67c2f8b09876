//! Where the logical channels of a block lie in its slab.

use crate::model::{Network, Step};
use radnet_kernels::cpu::layout::pad;

/// A block's channels: `base` from the stem or transition, then `growth` for each layer; every one of these segments begins at a multiple
/// of 16, so that a layer's output is whole panels. For DenseNet's own shapes nothing is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Channels {
    pub(in crate::backend) base: usize,
    pub(in crate::backend) growth: usize,
}

impl Channels {
    /// Those of every block, in order.
    pub(in crate::backend) fn of_blocks(network: &Network) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        for step in &network.steps {
            match *step {
                Step::Stem { out_channels: base, .. } | Step::Transition { out_channels: base, .. } => {
                    blocks.push(Self { base, growth: 1 })
                }
                Step::DenseLayer { block, growth, .. } => blocks[block - 1].growth = growth,
                _ => {}
            }
        }
        blocks
    }

    /// Physical position of logical channel `c`.
    pub(in crate::backend) fn physical(self, c: usize) -> usize {
        match c.checked_sub(self.base) {
            None => c,
            Some(grown) => pad(self.base) + grown / self.growth * pad(self.growth) + grown % self.growth,
        }
    }

    /// Logical channel at physical position `p`, unless that is padding.
    pub(in crate::backend) fn logical(self, p: usize) -> Option<usize> {
        match p.checked_sub(pad(self.base)) {
            None => (p < self.base).then_some(p),
            Some(grown) => {
                let (layer, within) = (grown / pad(self.growth), grown % pad(self.growth));
                (within < self.growth).then_some(self.base + layer * self.growth + within)
            }
        }
    }

    /// Physical channels that hold the first `channels` logical ones, which end with a segment.
    pub(in crate::backend) fn padded(self, channels: usize) -> usize {
        pad(self.base) + (channels - self.base) / self.growth.max(1) * pad(self.growth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both directions agree, padding is nobody's, and DenseNet-121's own counts are the identity.
    #[test]
    fn physical_and_logical_are_inverse() {
        for (base, growth, layers) in [(64, 32, 6), (24, 12, 3), (7, 5, 4), (16, 16, 1)] {
            let channels = Channels { base, growth };
            let total = base + layers * growth;
            assert_eq!(channels.padded(base), pad(base));
            let mut seen = vec![None; channels.padded(total)];
            for c in 0..total {
                seen[channels.physical(c)] = Some(c);
            }
            for (p, c) in seen.into_iter().enumerate() {
                assert_eq!(channels.logical(p), c, "position {p} of base {base} growth {growth}");
            }
        }
        assert!((0..256).all(|c| Channels { base: 64, growth: 32 }.physical(c) == c));
    }
}
