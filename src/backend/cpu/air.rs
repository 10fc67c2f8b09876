//! Air: what the network gives on an empty slice, copied to wherever a slice sees nothing else ([`radnet_kernels::cpu::spans`]).
//!
//! Only blocks whose maps one slice fills alone take part: on small maps nearly every pixel sees the head. Of their layers the map between the
//! convolutions is kept too, as far as [`MIDS_BYTES`] reach: the 3×3 reads more of it than differs from the empty slice's.

use super::CpuBackend;
use super::planar::{Memory, Outputs};
use super::program::{Element, Op, Program};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::int8::dense::mid_len;
use radnet_kernels::cpu::spans::{Marked, Span, differing};
use std::sync::OnceLock;

/// A scan of fewer slices would not win back what the empty slice costs; it profits where an earlier scan has paid.
const WORTH_AN_EMPTY_SLICE: usize = 8;

/// A map that more than this part of differs from the empty slice's is computed whole from there on: what the rest would save is less than spans cost.
const WORTH_MARKING: (usize, usize) = (15, 16);

/// Most bytes of the maps between convolutions, first layers first: they gain most.
const MIDS_BYTES: usize = 64 << 20;

/// The empty slice of a backend.
pub(super) struct Air {
    /// x of every channel.
    x: Vec<f32>,
    /// Made when first wanted; none when there was no memory.
    maps: OnceLock<Option<Maps>>,
}

/// What the network gives on it.
struct Maps {
    /// Slabs of the blocks that slices fill alone.
    slabs: Vec<Vec<f32>>,
    /// Maps between the convolutions of the first dense layers, by the index of the stage; empty where there is none.
    mids: Vec<Vec<f32>>,
}

/// Which part of each map differs from the empty slice's, while one slice passes through the network.
pub(super) struct Marks {
    active: bool,
    input: Vec<Span>,
    map: Vec<Span>,
    next: Vec<Span>,
    tiles: Vec<Span>,
    before: Vec<Span>,
}

impl Air {
    pub(super) fn new(x: Vec<f32>) -> Self {
        Self { x, maps: OnceLock::new() }
    }
}

impl Marks {
    /// Room for any map of the program.
    pub(super) fn new(program: &Program) -> Self {
        let rows = program.stages.iter().map(|stage| match &stage.op {
            Op::Stem { shape, .. } => shape.height,
            _ => 0,
        });
        let rows = rows.max().unwrap_or(0);
        let room = || vec![Span::default(); rows];
        Self { active: false, input: room(), map: room(), next: room(), tiles: room(), before: room() }
    }

    /// Looks at a slice that the stem will read.
    pub(super) fn look(&mut self, air: Option<&Air>, input: &[f32]) {
        self.active = air.is_some_and(|air| air.maps.get().is_some_and(Option::is_some));
        if let (true, Some(air)) = (self.active, air) {
            let columns = input.len() / air.x.len() / self.input.len();
            differing(input, &air.x, columns, &mut self.input);
        }
    }

    /// The stem's or a transition's output: which pixels to compute. From a block without an empty slice on, or with next to no air, everything is computed.
    pub(super) fn enter(&mut self, op: &Op, has_empty: bool) -> Option<&[Span]> {
        self.active &= has_empty;
        if !self.active {
            return None;
        }
        match op {
            Op::Stem { shape, integers, .. } => {
                let rows = shape.output().0;
                let map = &mut self.map[..rows];
                if integers.is_empty() {
                    shape.spans(&self.input, map)
                } else {
                    shape.spans_by_pixel(&self.input, map)
                }
                Some(&self.map[..rows])
            }
            Op::Transition { shape, .. } | Op::TransitionCodes { shape, .. } => {
                let rows = shape.height / 2;
                shape.spans(&self.map[..shape.height], &mut self.next[..rows]);
                std::mem::swap(&mut self.map, &mut self.next);
                let marked: usize = self.map[..rows].iter().map(|span| span.len()).sum();
                self.active = marked * WORTH_MARKING.1 <= rows * (shape.width / 2) * WORTH_MARKING.0;
                self.active.then_some(&self.map[..rows])
            }
            _ => None,
        }
    }

    /// What of a dense layer is to be computed, with the empty slice's map between its convolutions.
    pub(super) fn layer<'a, T>(&'a mut self, op: &Op, mid: Option<&'a [T]>) -> Option<Marked<'a, T>> {
        match op {
            Op::Dense { shape, .. } | Op::DenseCodes { shape, .. } if self.active => {
                let tiles = &mut self.tiles[..shape.height.div_ceil(radnet_kernels::cpu::winograd::TILE)];
                let pixels = &mut self.before[..shape.height];
                pixels.copy_from_slice(&self.map[..shape.height]);
                shape.spans(&mut self.map[..shape.height], tiles);
                Some(Marked { tiles, pixels, mid })
            }
            _ => None,
        }
    }
}

impl CpuBackend {
    /// Makes the empty slice's maps where a scan of `slices` is worth it and they are not there yet.
    pub(super) fn prepare_air(&self, slices: usize, memory: &mut Memory<'_>) {
        if let Some(air) = self.air.as_ref().filter(|_| slices >= WORTH_AN_EMPTY_SLICE) {
            air.maps.get_or_init(|| self.empty_maps(air, memory));
        }
    }

    /// Runs an empty slice and keeps every slab before its block is left.
    fn empty_maps(&self, air: &Air, memory: &mut Memory<'_>) -> Option<Maps> {
        memory.marks.active = false;
        let input = self.arena.input();
        let area = self.input.area();
        memory.arena[input].chunks_exact_mut(area).zip(&air.x).for_each(|(plane, x)| plane.fill(*x));
        let (mut slabs, mut mids) = (Vec::new(), Vec::new());
        let mut left = MIDS_BYTES;
        let mut nothing = Outputs { pooled: &mut [], attention: &mut [], segmentation: &mut [] };
        for (index, stage) in self.program.stages[..self.program.single].iter().enumerate() {
            if matches!(stage.op, Op::Transition { .. } | Op::TransitionCodes { .. } | Op::Attention { .. }) {
                let slab = &memory.arena[self.arena.slab(stage.block, 0, 1)];
                let mut kept = room(slab.len())?;
                kept.copy_from_slice(slab);
                slabs.push(kept);
            }
            let mid = match &stage.op {
                Op::Dense { shape, .. } | Op::DenseCodes { shape, .. } => self.empty_mid(index, shape, &mut left, memory),
                _ => None,
            };
            mids.push(mid.unwrap_or_default());
            if !matches!(stage.op, Op::Attention { .. }) {
                self.execute(index, 0, 1, &mut nothing, memory);
            }
        }
        Some(Maps { slabs, mids })
    }

    /// The map between a layer's convolutions on the empty slice, whose slab the arena holds, if the bytes that are `left` are enough.
    fn empty_mid(&self, index: usize, shape: &DenseShape, left: &mut usize, memory: &mut Memory<'_>) -> Option<Vec<f32>> {
        let numbers = shape.height * shape.width * shape.mid;
        let len = match self.program.element {
            Element::F32 => numbers,
            Element::Bf16(_) => numbers.div_ceil(2),
            Element::Codes(level) => mid_len(level, shape).div_ceil(4),
        };
        *left = left.checked_sub(4 * len)?;
        let mut mid = room(len)?;
        self.mid_map(index, shape, &mut mid, memory);
        Some(mid)
    }

    /// The empty slice's slab of a block, where there is one.
    pub(super) fn empty_slab(&self, block: usize) -> Option<&[f32]> {
        let maps = self.air.as_ref()?.maps.get()?.as_ref()?;
        maps.slabs.get(block).map(Vec::as_slice)
    }

    /// The empty slice's map between the convolutions of a stage, where there is one.
    pub(super) fn known_mid(&self, index: usize) -> Option<&[f32]> {
        let maps = self.air.as_ref()?.maps.get()?.as_ref()?;
        maps.mids.get(index).map(Vec::as_slice).filter(|mid| !mid.is_empty())
    }
}

/// Zeros, if there is memory.
fn room(len: usize) -> Option<Vec<f32>> {
    let mut kept = Vec::new();
    kept.try_reserve_exact(len).ok()?;
    kept.resize(len, 0.0);
    Some(kept)
}

/// Copies every pixel outside the spans, one a row, from the empty slice's slab: all channels that its block will ever have. `stride` counts
/// floats, of which a pixel of codes takes a quarter as many.
pub(super) fn fill(slab: &mut [f32], empty: &[f32], stride: usize, spans: &[Span]) {
    let row = slab.len() / spans.len();
    for ((to, from), span) in slab.chunks_exact_mut(row).zip(empty.chunks_exact(row)).zip(spans) {
        let marked = span.columns();
        to[..marked.start * stride].copy_from_slice(&from[..marked.start * stride]);
        to[marked.end * stride..].copy_from_slice(&from[marked.end * stride..]);
    }
}
