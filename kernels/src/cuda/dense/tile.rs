//! How a map is cut into tiles: one pure function of the shape, the device and the slices, and the model of cost that it minimises.
//!
//! A block makes the mid map of its tile and a border of one pixel in shared memory, 128 positions × 128 channels at a time, and from it the
//! tile's new channels. A small tile makes much of its border twice and reads the weights for few pixels; a large one leaves multiprocessors
//! idle. The model counts, in cycles of a multiprocessor, the slower of products and operands for each of the two convolutions: products at the
//! rate of the instructions used, slab rows and weights at the rate at which L2 gives them to as many blocks as run at once, fragments at the
//! rate of shared memory. It adds a price per step of the pipeline (a barrier), per block (its first loads) and per launch, and counts waves of
//! blocks. Only the order of the candidates matters. The order of additions does not depend on the tile: for one family of kernels, results
//! are the same bits for every tile.

use super::{DenseShape, Element, GpuProperties, LAYERS_PER_LAUNCH};
use std::fmt;

/// Bytes of a stage of the ring: 128 rows of the slab, 128 of conv1 and their norm1, 64 bytes of each.
const STAGE: usize = 2 * 128 * 64 + 128;
/// Bytes of norm2 for 128 channels, and of the barriers of `sm90`.
const NORM2: usize = 128 * 8;
const BARRIERS: usize = 256;
/// Mid channels in shared memory at a time, and outputs of a pass.
const MID: usize = 128;
const OUTPUTS: usize = 32;
/// Most blocks of a cluster that every device with clusters runs.
const CLUSTER: usize = 8;

/// Which kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `dense.cu`: every device, every element.
    Portable,
    /// `dense_sm90.cu`: compute capability 9.0, f16 and bf16.
    Sm90,
}

/// What a warp makes of the 3×3: rows below each other × output channels, for 16 columns of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// 4 rows × 32 channels.
    R4N32,
    /// 2 rows × 32 channels.
    R2N32,
    /// 1 row × 32 channels.
    R1N32,
    /// 2 rows × 16 channels.
    R2N16,
    /// 1 row × 16 channels.
    R1N16,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::R4N32, Self::R2N32, Self::R1N32, Self::R2N16, Self::R1N16];

    fn rows(self) -> usize {
        match self {
            Self::R4N32 => 4,
            Self::R2N32 | Self::R2N16 => 2,
            Self::R1N32 | Self::R1N16 => 1,
        }
    }

    fn outputs(self) -> usize {
        match self {
            Self::R4N32 | Self::R2N32 | Self::R1N32 => 32,
            Self::R2N16 | Self::R1N16 => 16,
        }
    }

    /// Columns of pixels that the eight warps hold.
    fn columns(self) -> usize {
        8 * self.outputs() / OUTPUTS * 16
    }

    /// Stages of the ring of `sm90`: as many as leave room for the tiles that the split is for.
    fn stages(self) -> usize {
        match self {
            Self::R4N32 => 3,
            Self::R2N32 => 4,
            _ => 6,
        }
    }
}

/// A cut of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DenseTile {
    /// Which kernels.
    pub family: Family,
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub columns: usize,
    /// What a warp makes.
    pub split: Split,
    /// Blocks of a cluster: the tiles of whole slices, where it runs several layers.
    pub cluster: usize,
    /// Layers of one launch.
    pub layers: usize,
}

impl fmt::Display for DenseTile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, rows, columns, split, cluster, layers } = self;
        write!(f, "{family:?} {rows}×{columns} {split:?}, {cluster} blocks a cluster, {layers} layers a launch")
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
        let smallest = Self { family: Family::Portable, rows: 1, columns: 1, split: Split::R1N16, cluster: 1, layers: 1 };
        best.map_or(smallest, |(_, tile)| tile)
    }

    /// Every cut of the map in even parts that a block of `device` holds, by the kernels that suit the device; wider tiles first.
    pub fn candidates(shape: &DenseShape, device: &GpuProperties) -> Vec<Self> {
        let sm90 = device.compute_capability == (9, 0) && shape.element != Element::F32;
        Self::candidates_of(if sm90 { Family::Sm90 } else { Family::Portable }, shape, device)
    }

    /// The same for one family.
    pub fn candidates_of(family: Family, shape: &DenseShape, device: &GpuProperties) -> Vec<Self> {
        let parts = |n: usize| {
            let even = (1..=n.min(64)).map(|parts| n.div_ceil(parts));
            let mut sizes: Vec<usize> = even.chain([n.min(64), n.min(32), n.min(16), n.min(8), 1]).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes.dedup();
            sizes
        };
        let mut all = Vec::new();
        for columns in parts(shape.width) {
            for rows in parts(shape.height) {
                for split in Split::ALL {
                    let tile = Self { family, rows, columns, split, cluster: 1, layers: 1 };
                    if tile.fits(shape) && tile.shared_bytes(shape.element) <= device.shared_bytes_per_block as usize {
                        all.push(tile.grouped(shape, device));
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
        let step = if element == Element::F32 { 1 } else { self.split.rows() };
        let mid = (self.rows.next_multiple_of(step) + 2) * (self.columns + 2) * (MID * element.bytes() + 16);
        match self.family {
            Family::Portable => 3 * STAGE + NORM2 + mid,
            Family::Sm90 => self.split.stages() * STAGE + NORM2 + BARRIERS + mid,
        }
    }

    /// Threads of a block: 256 that multiply, and a warpgroup that fetches.
    pub(super) fn threads(&self) -> u32 {
        if self.family == Family::Sm90 { 384 } else { 256 }
    }

    /// The entry point.
    pub(super) fn kernel(&self, element: Element) -> &'static str {
        match (self.family, element, self.split) {
            (_, Element::F32, _) => "dense_f32",
            (Family::Portable, Element::F16, Split::R4N32) => "dense_r4n32_f16",
            (Family::Portable, Element::F16, Split::R2N32) => "dense_r2n32_f16",
            (Family::Portable, Element::F16, Split::R2N16) => "dense_r2n16_f16",
            (Family::Portable, Element::F16, _) => "dense_r1n16_f16",
            (Family::Portable, Element::Bf16, Split::R4N32) => "dense_r4n32_bf16",
            (Family::Portable, Element::Bf16, Split::R2N32) => "dense_r2n32_bf16",
            (Family::Portable, Element::Bf16, Split::R2N16) => "dense_r2n16_bf16",
            (Family::Portable, Element::Bf16, _) => "dense_r1n16_bf16",
            (Family::Sm90, Element::F16, Split::R4N32) => "dense_sm90_r4n32_f16",
            (Family::Sm90, Element::F16, Split::R2N32) => "dense_sm90_r2n32_f16",
            (Family::Sm90, Element::F16, Split::R1N32) => "dense_sm90_r1n32_f16",
            (Family::Sm90, Element::F16, _) => "dense_sm90_r1n16_f16",
            (Family::Sm90, Element::Bf16, Split::R4N32) => "dense_sm90_r4n32_bf16",
            (Family::Sm90, Element::Bf16, Split::R2N32) => "dense_sm90_r2n32_bf16",
            (Family::Sm90, Element::Bf16, Split::R1N32) => "dense_sm90_r1n32_bf16",
            (Family::Sm90, Element::Bf16, _) => "dense_sm90_r1n16_bf16",
        }
    }

    /// Whether the family has the split, the warps of a block hold the tile, and a cluster whole slices where it must.
    pub(super) fn fits(&self, shape: &DenseShape) -> bool {
        let inside = (1..=shape.height).contains(&self.rows) && (1..=shape.width).contains(&self.columns);
        let columns = |split: Split| inside && self.rows.div_ceil(split.rows()) * self.columns <= split.columns();
        let held = match (shape.element, self.family) {
            (Element::F32, family) => family == Family::Portable && self.split == Split::R1N16 && inside && self.rows * self.columns <= 256,
            (_, Family::Portable) => self.split != Split::R1N32 && columns(self.split),
            // The registers of four rows do not live through another part of mid.
            (_, Family::Sm90) => self.split != Split::R2N16 && (self.split != Split::R4N32 || shape.mid <= MID) && columns(self.split),
        };
        let whole = self.layers == 1 || inside && self.cluster.is_multiple_of(self.tiles(shape));
        held && whole && (1..=CLUSTER).contains(&self.cluster) && (1..=LAYERS_PER_LAUNCH).contains(&self.layers)
    }

    /// The same tile in the largest cluster that makes sense, with as many layers a launch as that allows.
    fn grouped(self, shape: &DenseShape, device: &GpuProperties) -> Self {
        let tiles = self.tiles(shape);
        let whole = tiles <= CLUSTER;
        let cluster = match self.family {
            Family::Sm90 if whole => CLUSTER / tiles * tiles,
            Family::Sm90 => CLUSTER,
            Family::Portable if whole && device.compute_capability >= (9, 0) => tiles,
            Family::Portable => 1,
        };
        let layers = if cluster.is_multiple_of(tiles) { LAYERS_PER_LAUNCH } else { 1 };
        Self { cluster, layers, ..self }
    }

    /// The model of the module documentation, for one layer.
    fn cycles(&self, shape: &DenseShape, in_channels: usize, device: &GpuProperties, slices: usize) -> u64 {
        const BLOCK: usize = 2500;
        const LAUNCH: usize = 3500;
        /// Bytes a cycle from L2 for every multiprocessor of the device, and the most that one takes.
        const L2: usize = 27;
        const L2_ONE: usize = 64;
        let (products, barrier, share) = match self.family {
            Family::Portable => (1150, 60, 1),
            Family::Sm90 => (1800, 40, self.cluster),
        };
        let multiprocessors = (device.multiprocessors as usize / self.cluster * self.cluster).max(self.cluster);
        let blocks = self.tiles(shape) * slices.max(1);
        let bytes_per_cycle = (L2 * multiprocessors / blocks.min(multiprocessors)).min(L2_ONE);
        let (passes, parts) = (shape.growth.div_ceil(OUTPUTS), shape.mid.div_ceil(MID));

        let positions = (self.rows + 2).min(shape.height) * (self.columns + 2).min(shape.width);
        let (groups, chunks) = (positions.div_ceil(64), positions.div_ceil(128));
        let from_l2 = (positions * 64 + chunks * 8320 / share) / bytes_per_cycle;
        let step = (groups * 64 * MID * 32 / products).max(from_l2) + chunks * barrier;
        let first = in_channels.div_ceil(32) * step * parts * if parts > 1 { passes } else { 1 };

        let columns = self.rows.div_ceil(self.split.rows()) * self.columns;
        let (unit, fragments) = if self.family == Family::Sm90 { (64, 2048) } else { (16, 512) };
        let units = columns.div_ceil(unit) * OUTPUTS / self.split.outputs();
        let multiplied = units * unit * self.split.rows() * 9 * self.split.outputs() * 16;
        let busy = if self.family == Family::Sm90 { 1 } else { 4usize.div_ceil(units.min(4)) };
        let weights = if self.family == Family::Sm90 { units * self.split.rows() } else { units } * 9 * self.split.outputs() * 32;
        let operands = (units * 3 * (self.split.rows() + 2) * fragments + weights) / 128;
        let step = (multiplied * busy / products).max(operands).max(9216 / share / bytes_per_cycle) + barrier;
        let second = shape.mid.div_ceil(16) * step * passes;

        let waves = blocks.div_ceil(multiprocessors);
        (waves * (first + second + BLOCK) + if self.layers > 1 { 0 } else { LAUNCH }) as u64
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
                        assert!(tile.cluster == 1 || capability.0 >= 9);
                        assert!(tile.family == Family::Portable || capability == (9, 0) && element != Element::F32);
                    }
                }
            }
        }
    }

    /// What an H200 gets for DenseNet-121 at 256 and 32 slices: a block for every slice at the least, and the small maps in one launch.
    #[test]
    fn densenet_121_fills_the_device() {
        let device = device(227, 132, (9, 0));
        for (side, in_channels) in [(64, 144), (32, 304), (16, 624), (8, 752)] {
            let shape = shape(Element::F16, side, side);
            let tile = DenseTile::choose(&shape, in_channels, &device, 32);
            let blocks = tile.tiles(&shape) * 32;
            println!("{side}×{side}: {tile}, {blocks} blocks");
            assert!(blocks >= 32, "{side}: {tile}");
            assert!(side > 16 || tile.layers > 1, "{side}: {tile}");
        }
    }
}
