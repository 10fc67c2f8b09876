//! LSTM and GRU over the slices of a scan, both directions at once.
//!
//! LSTM (gates i, f, g, o): c = σ(f)·c + σ(i)·tanh(g), h = σ(o)·tanh(c). GRU (r, z, n): n = tanh(xₙ + σ(r)·hₙ), h = (1 − σ(z))·n + σ(z)·h.
//! The input projections with their biases come from [`super::linear`]; W_hh·h is added here, step by step, and state and sums are float32.

use super::Element;
use super::arguments::{Geometry, Slices, address, arguments, floats, launch, narrow};
use super::gpu::{GpuProperties, Result, Span, Stream};
use std::fmt;

/// Which cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gates i, f, g, o.
    Lstm,
    /// Gates r, z, n.
    Gru,
}

impl Cell {
    /// Gates of a unit.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// Shapes of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentShape {
    /// Which cell.
    pub cell: Cell,
    /// Hidden units of a direction, any number.
    pub hidden: usize,
    /// 1 or 2.
    pub directions: usize,
}

/// What a layer reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentBuffers<'a> {
    /// From [`RecurrentPlan::pack`].
    pub weights: Span<'a>,
    /// From [`RecurrentShape::pack_bias`]; not touched for LSTM.
    pub bias: Span<'a>,
    /// W_ih·x + b, f32 \[slices, directions, gates, hidden\]: b is b_ih + b_hh, but b_ih alone for GRU's n.
    pub projections: Span<'a>,
    /// f32 \[slices, directions, hidden\].
    pub outputs: Span<'a>,
}

impl RecurrentShape {
    /// Outputs of the input projection: directions · gates · hidden.
    pub fn projected(&self) -> usize {
        self.directions * self.cell.gates() * self.hidden
    }

    /// Packs b_hh of GRU's n, `bias(direction, unit)`; LSTM needs none.
    pub fn pack_bias(&self, bias: impl Fn(usize, usize) -> f64) -> Vec<u8> {
        floats((0..self.directions).flat_map(|d| (0..self.hidden).map(move |u| (d, u))).map(|(d, u)| bias(d, u)))
    }
}

/// Threads of the portable kernel, at most.
const PORTABLE_THREADS: usize = 1024;
/// Places for the gates of a unit.
const GATE_SLOTS: usize = 4;
/// Elements of W_hh that a thread of the portable kernel loads at a time.
const PORTABLE_RUN: usize = 8;
/// Blocks of a cluster, at most: what every device with clusters grants.
const MOST_BLOCKS: usize = 8;
/// Warps of a cluster's block, and tiles of a warp, at most.
const MOST_WARPS: usize = 8;
const WARP_TILES: usize = 2;
/// Units of a tile of the tensor cores: four rows for each.
const TILE_UNITS: usize = 4;
/// Inputs of a fragment, and its bytes.
const FRAGMENT_INPUTS: usize = 16;
const FRAGMENT_BYTES: usize = 512;
/// Fragments of its first tile that a warp keeps in registers.
const RESIDENT: usize = 16;

/// How a layer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrentKernel {
    /// One block a direction, which streams W_hh from the L2 cache at every step.
    Portable,
    /// A cluster of blocks a direction, which hold W_hh between them for the whole scan.
    Cluster {
        /// Blocks of a cluster.
        blocks: usize,
        /// Tiles of four units a block.
        tiles: usize,
    },
}

/// The chosen kernel of a layer, which decides how its weights are packed. Displayed, it says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecurrentPlan {
    /// The layer.
    pub shape: RecurrentShape,
    /// The type of W_hh.
    pub element: Element,
    /// The kernel.
    pub kernel: RecurrentKernel,
    /// What spoke against a cluster.
    refusal: Option<String>,
}

impl fmt::Display for RecurrentPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kernel, &self.refusal) {
            (RecurrentKernel::Cluster { blocks, tiles }, _) => {
                let shared = cluster_shared(self.element, &self.shape, tiles) / 1024;
                write!(f, "a cluster of {blocks} blocks a direction, {} units and {shared} KiB a block", tiles * TILE_UNITS)
            }
            (RecurrentKernel::Portable, Some(refusal)) => write!(f, "one block a direction: {refusal}"),
            (RecurrentKernel::Portable, None) => write!(f, "one block a direction"),
        }
    }
}

impl RecurrentPlan {
    /// The fast kernel where the device and the shape allow it.
    pub fn new(shape: RecurrentShape, element: Element, device: &GpuProperties) -> Self {
        let portable = |refusal: String| Self { shape, element, kernel: RecurrentKernel::Portable, refusal: Some(refusal) };
        if element == Element::F32 {
            return portable("float32 does not run on tensor cores".to_owned());
        }
        if device.compute_capability < (9, 0) {
            let (major, minor) = device.compute_capability;
            return portable(format!("compute capability {major}.{minor} has no clusters"));
        }
        let units = shape.hidden.div_ceil(TILE_UNITS);
        let blocks = units.div_ceil(MOST_WARPS).next_power_of_two().min(MOST_BLOCKS);
        let tiles = units.div_ceil(blocks);
        if tiles > WARP_TILES * MOST_WARPS {
            return portable(format!("{} units do not fit into {blocks} blocks", shape.hidden));
        }
        let shared = cluster_shared(element, &shape, tiles);
        if shared > device.shared_bytes_per_block as usize {
            let limit = device.shared_bytes_per_block / 1024;
            return portable(format!("{} KiB of weights a block do not fit in {limit} KiB of shared memory", shared / 1024));
        }
        Self { shape, element, kernel: RecurrentKernel::Cluster { blocks, tiles }, refusal: None }
    }

    /// The kernel that runs everywhere.
    pub fn portable(shape: RecurrentShape, element: Element) -> Self {
        Self { shape, element, kernel: RecurrentKernel::Portable, refusal: None }
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> usize {
        let RecurrentShape { hidden, directions, .. } = self.shape;
        match self.kernel {
            RecurrentKernel::Portable => directions * hidden.next_multiple_of(PORTABLE_RUN) * GATE_SLOTS * hidden * self.element.bytes(),
            RecurrentKernel::Cluster { blocks, tiles } => directions * blocks * tiles * fragments(&self.shape) * FRAGMENT_BYTES,
        }
    }

    /// Packs W_hh, `weight(direction, gate · hidden + unit, input)`.
    pub fn pack(&self, weight: impl Fn(usize, usize, usize) -> f64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.weight_bytes());
        for direction in 0..self.shape.directions {
            match self.kernel {
                RecurrentKernel::Portable => self.pack_portable(|row, k| weight(direction, row, k), &mut bytes),
                RecurrentKernel::Cluster { blocks, tiles } => {
                    for tile in 0..blocks * tiles {
                        self.pack_tile(tile, |row, k| weight(direction, row, k), &mut bytes);
                    }
                }
            }
        }
        bytes
    }

    /// Runs of eight inputs, each for the four gates of every unit; GRU leaves the fourth empty.
    fn pack_portable(&self, weight: impl Fn(usize, usize) -> f64, bytes: &mut Vec<u8>) {
        let RecurrentShape { cell, hidden, .. } = self.shape;
        for run in 0..hidden.div_ceil(PORTABLE_RUN) {
            for (unit, gate) in (0..GATE_SLOTS * hidden).map(|slot| (slot / GATE_SLOTS, slot % GATE_SLOTS)) {
                let inputs = (0..PORTABLE_RUN).map(|i| run * PORTABLE_RUN + i);
                let value = |k: usize| if gate < cell.gates() && k < hidden { weight(gate * hidden + unit, k) } else { 0.0 };
                self.element.encode(inputs.map(value), bytes);
            }
        }
    }

    /// The fragments of a tile of 16 rows as the lanes of a warp hold them: rows g and g + 8 of lane 4·g + t are gates 2·(g mod 2) and
    /// 2·(g mod 2) + 1 of the tile's unit ⌊g / 2⌋, and its eight inputs of two fragments are contiguous in h.
    fn pack_tile(&self, tile: usize, weight: impl Fn(usize, usize) -> f64, bytes: &mut Vec<u8>) {
        let RecurrentShape { cell, hidden, .. } = self.shape;
        for fragment in 0..fragments(&self.shape) {
            for lane in 0..32 {
                let (g, t) = (lane / 4, lane % 4);
                let unit = tile * TILE_UNITS + g / 2;
                let first = fragment / 2 * 2 * FRAGMENT_INPUTS + t * 8 + fragment % 2 * 4;
                // Registers 0 and 1: rows g and g + 8 at inputs 0 and 1; registers 2 and 3: the same rows at inputs 2 and 3.
                let values = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)].map(|(below, input)| {
                    let (gate, k) = (2 * (g % 2) + below, first + input);
                    let real = gate < cell.gates() && unit < hidden && k < hidden;
                    if real { weight(gate * hidden + unit, k) } else { 0.0 }
                });
                self.element.encode(values, bytes);
            }
        }
    }
}

/// Fragments of a tile: inputs padded to 32.
fn fragments(shape: &RecurrentShape) -> usize {
    shape.hidden.next_multiple_of(2 * FRAGMENT_INPUTS) / FRAGMENT_INPUTS
}

/// Shared memory of a cluster's block: the fragments that are not in registers, and h twice in as many parts as keep float32's digits.
fn cluster_shared(element: Element, shape: &RecurrentShape, tiles: usize) -> usize {
    let (fragments, warps) = (fragments(shape), tiles.min(MOST_WARPS));
    let parts = if element == Element::Bf16 { 3 } else { 2 };
    let inputs = fragments.max(RESIDENT) * FRAGMENT_INPUTS;
    (tiles * fragments - warps * fragments.min(RESIDENT)) * FRAGMENT_BYTES + 2 * parts * inputs * 2
}

arguments! {
    /// The twin of `RecurrentArguments` in `common/recurrent.cuh`.
    struct RecurrentArguments {
        weights: u64,
        bias: u64,
        projections: u64,
        outputs: u64,
        count: u64,
        hidden: u32,
        gates: u32,
        directions: u32,
        capacity: u32,
        tiles: u32,
        fragments: u32,
    }
}

/// Queues a layer. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or the launch fails.
pub fn recurrent(stream: &mut dyn Stream, plan: &RecurrentPlan, buffers: &RecurrentBuffers<'_>, slices: Slices<'_>) -> Result<()> {
    let RecurrentShape { cell, hidden, directions } = plan.shape;
    let separate = if cell == Cell::Gru { 4 * directions * hidden } else { 0 };
    let tiles = match plan.kernel {
        RecurrentKernel::Portable => 0,
        RecurrentKernel::Cluster { tiles, .. } => tiles,
    };
    let arguments = RecurrentArguments {
        weights: address(buffers.weights, plan.weight_bytes(), "recurrent weights")?,
        bias: address(buffers.bias, separate, "recurrent bias")?,
        projections: address(buffers.projections, 4 * plan.shape.projected() * slices.capacity, "recurrent projections")?,
        outputs: address(buffers.outputs, 4 * directions * hidden * slices.capacity, "recurrent outputs")?,
        count: slices.count()?,
        hidden: narrow(hidden, "hidden units")?,
        gates: cell.gates() as u32,
        directions: narrow(directions, "directions")?,
        capacity: narrow(slices.capacity, "slices")?,
        tiles: narrow(tiles, "tiles")?,
        fragments: narrow(fragments(&plan.shape), "fragments")?,
    };
    let (name, geometry) = match plan.kernel {
        RecurrentKernel::Portable => {
            let block = (GATE_SLOTS * hidden).next_multiple_of(32).min(PORTABLE_THREADS) as u32;
            let floats = 2 * hidden.next_multiple_of(PORTABLE_RUN) + hidden;
            let shared_bytes = narrow(4 * floats, "recurrent state")?;
            let grid = [directions as u32, 1, 1];
            let names = ["recurrent_f16", "recurrent_bf16", "recurrent_f32"];
            (plan.element.pick(names), Geometry { grid, block, cluster: 1, shared_bytes })
        }
        RecurrentKernel::Cluster { blocks, tiles } => {
            let shared_bytes = narrow(cluster_shared(plan.element, &plan.shape, tiles), "recurrent weights")?;
            let (block, cluster) = (32 * tiles.min(MOST_WARPS) as u32, blocks as u32);
            let names = ["recurrent_cluster_f16", "recurrent_cluster_bf16", "recurrent_f32"];
            (plan.element.pick(names), Geometry { grid: [cluster * directions as u32, 1, 1], block, cluster, shared_bytes })
        }
    };
    // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
    unsafe { launch(stream, name, geometry, &arguments) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(compute_capability: (u32, u32), shared_bytes_per_block: u32) -> GpuProperties {
        GpuProperties {
            name: "a GPU".to_owned(),
            compute_capability,
            multiprocessors: 132,
            shared_bytes_per_block,
            shared_bytes_per_multiprocessor: shared_bytes_per_block + 1024,
            memory_bytes: 1 << 30,
        }
    }

    fn lstm(hidden: usize) -> RecurrentShape {
        RecurrentShape { cell: Cell::Lstm, hidden, directions: 2 }
    }

    /// The standard layer runs in eight blocks with all of its weights in registers; what does not fit, or cannot, says why not.
    #[test]
    fn the_choice_names_its_reason() {
        let hopper = device((9, 0), 227 * 1024);
        let plan = RecurrentPlan::new(lstm(256), Element::F16, &hopper);
        assert_eq!(plan.kernel, RecurrentKernel::Cluster { blocks: 8, tiles: 8 });
        assert_eq!(plan.to_string(), "a cluster of 8 blocks a direction, 32 units and 2 KiB a block");
        let refused = |shape, element, device: &GpuProperties| RecurrentPlan::new(shape, element, device).to_string();
        assert!(refused(lstm(256), Element::F16, &device((8, 0), 163 * 1024)).ends_with("compute capability 8.0 has no clusters"));
        assert!(refused(lstm(256), Element::F32, &hopper).ends_with("float32 does not run on tensor cores"));
        assert!(refused(lstm(4096), Element::F16, &hopper).ends_with("4096 units do not fit into 8 blocks"));
        assert!(refused(lstm(512), Element::F16, &device((12, 0), 99 * 1024)).ends_with("do not fit in 99 KiB of shared memory"));
    }

    /// Packed weights are as long as is said, and every weight is in them exactly once.
    #[test]
    fn packing_keeps_every_weight_once() {
        for cell in [Cell::Lstm, Cell::Gru] {
            for hidden in [1, 5, 40, 132] {
                let shape = RecurrentShape { cell, hidden, directions: 2 };
                let each = cell.gates() * hidden * hidden;
                for plan in
                    [RecurrentPlan::portable(shape, Element::F16), RecurrentPlan::new(shape, Element::F16, &device((9, 0), 227 * 1024))]
                {
                    // f16 holds whole numbers to 2048: each weight's count in three numbers would be too long, so its place modulo a prime.
                    let value = |d: usize, row: usize, k: usize| ((d * each + row * hidden + k) % 2039 + 1) as f64;
                    let packed = plan.pack(value);
                    assert_eq!(packed.len(), plan.weight_bytes(), "{plan}");
                    let mut counts = vec![0usize; 2040];
                    Element::F16.decode(&packed).into_iter().for_each(|w| counts[w as usize] += 1);
                    let wanted = |v: usize| (0..2 * each).filter(|at| at % 2039 + 1 == v).count();
                    for v in (1..2040).step_by(97) {
                        assert_eq!(counts[v], wanted(v), "weight {v} of {plan}");
                    }
                }
            }
        }
    }
}
