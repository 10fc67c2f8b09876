//! How a map is cut into tiles: one pure function of the shape, the device and the slices, and the model of cost that it minimises.
//!
//! A block of 256 threads makes the mid map of its tile and a border of one pixel in shared memory, 64 positions × 128 channels at a time,
//! and from it the tile's new channels. A small tile makes much of its border twice; a large one leaves multiprocessors idle.
//! The model counts, in cycles of a multiprocessor: products at the rate of `mma.sync`, operands at the rate at which L2 and shared memory
//! give them, a fixed price per step of the pipeline (a barrier) and per block (its first loads), and waves of blocks. Only the order of the
//! candidates matters. Results are the same bits for every tile: the order of additions does not depend on it.

use super::{DenseShape, Element, GpuProperties, LAYERS_PER_LAUNCH};
use std::fmt;

/// Bytes of the pipeline's ring: three stages of 128 rows of the slab, 128 of conv1 and their norm1, 64 bytes of each.
const RING: usize = 3 * (2 * 128 * 64 + 128);
/// Bytes of norm2 for 128 channels.
const NORM2: usize = 128 * 8;
/// Mid channels in shared memory at a time, and outputs of a pass.
const MID: usize = 128;
const OUTPUTS: usize = 32;
/// Most blocks of a cluster that every device with clusters runs.
const CLUSTER: usize = 8;

/// What a warp makes of the 3×3: rows below each other × output channels, for 16 columns of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// 4 rows × 32 channels.
    R4N32,
    /// 2 rows × 32 channels.
    R2N32,
    /// 2 rows × 16 channels.
    R2N16,
    /// 1 row × 16 channels.
    R1N16,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::R4N32, Self::R2N32, Self::R2N16, Self::R1N16];

    fn rows(self) -> usize {
        match self {
            Self::R4N32 => 4,
            Self::R2N32 | Self::R2N16 => 2,
            Self::R1N16 => 1,
        }
    }

    fn outputs(self) -> usize {
        match self {
            Self::R4N32 | Self::R2N32 => 32,
            Self::R2N16 | Self::R1N16 => 16,
        }
    }

    /// Columns of pixels that the eight warps hold.
    fn columns(self) -> usize {
        8 * self.outputs() / OUTPUTS * 16
    }

    /// Blocks that the registers of a multiprocessor hold.
    fn blocks(self) -> usize {
        match self {
            Self::R4N32 | Self::R2N32 => 1,
            Self::R2N16 | Self::R1N16 => 2,
        }
    }
}

/// A cut of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DenseTile {
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub columns: usize,
    /// What a warp makes.
    pub split: Split,
    /// Layers of one launch; more than one only where the tiles of a slice form one cluster.
    pub layers: usize,
}

impl fmt::Display for DenseTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{} {:?}, {} layers a launch", self.rows, self.columns, self.split, self.layers)
    }
}

impl DenseTile {
    /// The cheapest tile for layers that read `in_channels` on average. Ties go to the wider tile.
    pub fn choose(shape: &DenseShape, in_channels: usize, device: &GpuProperties, slices: usize) -> Self {
        let mut best: Option<(u64, Self)> = None;
        for tile in Self::candidates(shape, device) {
            let cost = tile.cycles(shape, in_channels, device, slices);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, tile));
            }
        }
        best.map_or(Self { rows: 1, columns: 1, split: Split::R1N16, layers: 1 }, |(_, tile)| tile)
    }

    /// Every cut of the map in even parts that a block of `device` holds, wider tiles first.
    pub fn candidates(shape: &DenseShape, device: &GpuProperties) -> Vec<Self> {
        let parts = |n: usize| {
            let mut sizes: Vec<usize> =
                (1..=n.min(64)).map(|parts| n.div_ceil(parts)).chain([n.min(64), n.min(32), n.min(16), n.min(8), 1]).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes.dedup();
            sizes
        };
        let mut all = Vec::new();
        for columns in parts(shape.width) {
            for rows in parts(shape.height) {
                for split in Split::ALL {
                    let tile = Self { rows, columns, split, layers: 1 };
                    if tile.fits(shape) && tile.shared_bytes(shape.element) <= device.shared_bytes_per_block as usize {
                        all.push(Self { layers: tile.layers_per_launch(shape, device), ..tile });
                    }
                }
            }
        }
        all
    }

    /// Tiles of a slice.
    pub fn tiles(&self, shape: &DenseShape) -> usize {
        shape.height.div_ceil(self.rows) * shape.width.div_ceil(self.columns)
    }

    /// Dynamic shared memory of a block: the ring, norm2, and the mid map with a border of one pixel, its rows a multiple of what a warp makes.
    pub fn shared_bytes(&self, element: Element) -> usize {
        RING + NORM2 + (self.rows.next_multiple_of(self.step(element)) + 2) * (self.columns + 2) * (MID * element.bytes() + 16)
    }

    /// The entry point.
    pub(super) fn kernel(&self, element: Element) -> &'static str {
        match (element, self.split) {
            (Element::F16, Split::R4N32) => "dense_r4n32_f16",
            (Element::F16, Split::R2N32) => "dense_r2n32_f16",
            (Element::F16, Split::R2N16) => "dense_r2n16_f16",
            (Element::F16, Split::R1N16) => "dense_r1n16_f16",
            (Element::Bf16, Split::R4N32) => "dense_r4n32_bf16",
            (Element::Bf16, Split::R2N32) => "dense_r2n32_bf16",
            (Element::Bf16, Split::R2N16) => "dense_r2n16_bf16",
            (Element::Bf16, Split::R1N16) => "dense_r1n16_bf16",
            (Element::F32, _) => "dense_f32",
        }
    }

    /// Whether the warps of a block hold the tile, and a cluster the slice.
    pub(super) fn fits(&self, shape: &DenseShape) -> bool {
        let inside = (1..=shape.height).contains(&self.rows) && (1..=shape.width).contains(&self.columns);
        let held = match shape.element {
            Element::F32 => self.split == Split::R1N16 && self.rows * self.columns <= 256,
            _ => inside && self.rows.div_ceil(self.split.rows()) * self.columns <= self.split.columns(),
        };
        inside && held && (1..=LAYERS_PER_LAUNCH).contains(&self.layers) && (self.layers == 1 || self.tiles(shape) <= CLUSTER)
    }

    /// Rows of outputs that a warp makes below each other.
    fn step(&self, element: Element) -> usize {
        if element == Element::F32 { 1 } else { self.split.rows() }
    }

    fn layers_per_launch(&self, shape: &DenseShape, device: &GpuProperties) -> usize {
        let tiles = self.tiles(shape);
        let together = tiles == 1 || tiles <= CLUSTER && device.compute_capability >= (9, 0);
        if together { LAYERS_PER_LAUNCH } else { 1 }
    }

    /// The model of the module documentation, for one layer.
    fn cycles(&self, shape: &DenseShape, in_channels: usize, device: &GpuProperties, slices: usize) -> u64 {
        const BLOCK: usize = 2500;
        const LAUNCH: usize = 3500;
        const BARRIER: usize = 60;
        let passes = shape.growth.div_ceil(OUTPUTS);
        let chunks = shape.mid.div_ceil(MID);
        let positions = (self.rows + 2).min(shape.height) * (self.columns + 2).min(shape.width);
        // A step of the 1×1 is 128 positions × 128 channels × 32 inputs: 512 cycles of products, 16.5 KB from L2.
        let steps = |rows: usize| {
            rows.div_ceil(128) * (in_channels.div_ceil(32) * (344 + BARRIER)) + rows.div_ceil(64) * in_channels.div_ceil(32) * 168
        };
        let first = steps(positions) * chunks * if chunks > 1 { passes } else { 1 };
        let warps = (self.rows.div_ceil(self.split.rows()) * self.columns).div_ceil(16) * OUTPUTS / self.split.outputs();
        let products = warps.div_ceil(4) * self.split.rows() * 9 * self.split.outputs();
        let operands = warps * (12 * (self.split.rows() + 2) + 9 * self.split.outputs() / 4);
        let second = (products.max(operands).max(192) + BARRIER) * shape.mid.div_ceil(16) * passes;
        let held = device.shared_bytes_per_multiprocessor as usize / (self.shared_bytes(shape.element) + 1024);
        let held = held.clamp(1, self.split.blocks());
        let blocks = self.tiles(shape) * slices.max(1);
        let at_once = (device.multiprocessors as usize * held).max(1);
        let busy = blocks.div_ceil(device.multiprocessors.max(1) as usize).min(held);
        let waves = blocks.div_ceil(at_once);
        (waves * (busy * (first + second) + BLOCK) + if self.layers > 1 { 0 } else { LAUNCH }) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(shared: u32, multiprocessors: u32, compute_capability: (u32, u32)) -> GpuProperties {
        GpuProperties {
            name: "a device".into(),
            compute_capability,
            multiprocessors,
            shared_bytes_per_block: shared << 10,
            shared_bytes_per_multiprocessor: (shared + 1) << 10,
            memory_bytes: 1 << 36,
        }
    }

    fn shape(element: Element, height: usize, width: usize) -> DenseShape {
        DenseShape { element, height, width, stride: 1024, mid: 128, growth: 32 }
    }

    /// Every map has a tile on every device, which fits into the block's shared memory and covers the map.
    #[test]
    fn every_map_has_a_tile() {
        for (shared, multiprocessors, capability) in [(99, 84, (8, 6)), (163, 108, (8, 0)), (227, 132, (9, 0))] {
            let device = device(shared, multiprocessors, capability);
            for (height, width) in [(1, 1), (1, 7), (5, 3), (7, 7), (64, 64), (9, 33), (31, 17), (128, 128), (300, 1), (257, 511)] {
                for element in Element::ALL {
                    let shape = shape(element, height, width);
                    for slices in [1, 32, 400] {
                        let tile = DenseTile::choose(&shape, 256, &device, slices);
                        assert!(tile.fits(&shape), "{height}×{width} {element:?}: {tile}");
                        assert!(tile.shared_bytes(element) <= device.shared_bytes_per_block as usize);
                        assert!(tile.layers == 1 || tile.tiles(&shape) == 1 || capability.0 >= 9);
                    }
                }
            }
        }
    }

    /// What an H200 gets for DenseNet-121 at 256 and 32 slices: whole rows, most of its multiprocessors busy, the small maps in one launch.
    #[test]
    fn densenet_121_fills_the_device() {
        let device = device(227, 132, (9, 0));
        for (side, in_channels) in [(64, 144), (32, 304), (16, 624), (8, 752)] {
            let shape = shape(Element::F16, side, side);
            let tile = DenseTile::choose(&shape, in_channels, &device, 32);
            let blocks = tile.tiles(&shape) * 32;
            println!("{side}×{side}: {tile}, {blocks} blocks");
            assert!(tile.columns == side && blocks >= 60, "{side}: {tile}");
            assert!(side > 16 || tile.layers > 1, "{side}: {tile}");
        }
    }
}
