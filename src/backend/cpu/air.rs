//! Air: what the network gives on an empty slice, copied to wherever a slice sees nothing else ([`radnet_kernels::cpu::spans`]).
//!
//! Only blocks whose maps one slice fills alone take part: on small maps nearly every pixel sees the head.

use super::CpuBackend;
use super::planar::{Memory, Outputs};
use super::program::{Op, Program};
use radnet_kernels::cpu::spans::{Span, differing};
use std::sync::OnceLock;

/// A scan of fewer slices would not win back what the empty slice costs; it profits where an earlier scan has paid.
const WORTH_AN_EMPTY_SLICE: usize = 8;

/// The empty slice of a backend.
pub(super) struct Air {
    /// x of every channel.
    x: Vec<f32>,
    /// Slabs of the blocks that slices fill alone, made when first wanted; none when there was no memory.
    slabs: OnceLock<Option<Vec<Vec<f32>>>>,
}

/// Which part of each map differs from the empty slice's, while one slice passes through the network.
pub(super) struct Marks {
    active: bool,
    input: Vec<Span>,
    map: Vec<Span>,
    next: Vec<Span>,
    tiles: Vec<Span>,
}

impl Air {
    pub(super) fn new(x: Vec<f32>) -> Self {
        Self { x, slabs: OnceLock::new() }
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
        Self { active: false, input: room(), map: room(), next: room(), tiles: room() }
    }

    /// Looks at a slice that the stem will read.
    pub(super) fn look(&mut self, air: Option<&Air>, input: &[f32]) {
        self.active = air.is_some_and(|air| air.slabs.get().is_some_and(Option::is_some));
        if let (true, Some(air)) = (self.active, air) {
            let columns = input.len() / air.x.len() / self.input.len();
            differing(input, &air.x, columns, &mut self.input);
        }
    }

    /// The stem's or a transition's output: which pixels to compute. From a block without an empty slice on everything is computed.
    pub(super) fn enter(&mut self, op: &Op, has_empty: bool) -> Option<&[Span]> {
        self.active &= has_empty;
        if !self.active {
            return None;
        }
        match op {
            Op::Stem { shape, .. } => {
                let rows = shape.output().0;
                shape.spans(&self.input, &mut self.map[..rows]);
                Some(&self.map[..rows])
            }
            Op::Transition { shape, .. } | Op::TransitionCodes { shape, .. } => {
                let rows = shape.height / 2;
                shape.spans(&self.map[..shape.height], &mut self.next[..rows]);
                std::mem::swap(&mut self.map, &mut self.next);
                Some(&self.map[..rows])
            }
            _ => None,
        }
    }

    /// A dense layer's tiles.
    pub(super) fn layer(&mut self, op: &Op) -> Option<&[Span]> {
        match op {
            Op::Dense { shape, .. } | Op::DenseCodes { shape, .. } if self.active => {
                let tiles = &mut self.tiles[..shape.height.div_ceil(radnet_kernels::cpu::winograd::TILE)];
                shape.spans(&mut self.map[..shape.height], tiles);
                Some(tiles)
            }
            _ => None,
        }
    }
}

impl CpuBackend {
    /// Makes the empty slice's slabs where a scan of `slices` is worth it and they are not there yet.
    pub(super) fn prepare_air(&self, slices: usize, memory: &mut Memory<'_>) {
        if let Some(air) = self.air.as_ref().filter(|_| slices >= WORTH_AN_EMPTY_SLICE) {
            air.slabs.get_or_init(|| self.empty_slabs(air, memory));
        }
    }

    /// Runs an empty slice and keeps every slab before its block is left.
    fn empty_slabs(&self, air: &Air, memory: &mut Memory<'_>) -> Option<Vec<Vec<f32>>> {
        memory.marks.active = false;
        let input = self.arena.input();
        let area = self.input.area();
        memory.arena[input].chunks_exact_mut(area).zip(&air.x).for_each(|(plane, x)| plane.fill(*x));
        let mut slabs: Vec<Vec<f32>> = Vec::new();
        let mut nothing = Outputs { pooled: &mut [], attention: &mut [], segmentation: &mut [] };
        for (index, stage) in self.program.stages[..self.program.single].iter().enumerate() {
            if matches!(stage.op, Op::Transition { .. } | Op::TransitionCodes { .. } | Op::Attention { .. }) {
                let slab = &memory.arena[self.arena.slab(stage.block, 0, 1)];
                let mut kept = Vec::new();
                kept.try_reserve_exact(slab.len()).ok()?;
                kept.extend_from_slice(slab);
                slabs.push(kept);
            }
            if !matches!(stage.op, Op::Attention { .. }) {
                self.execute(index, 0, 1, &mut nothing, memory);
            }
        }
        Some(slabs)
    }

    /// The empty slice's slab of a block, where there is one.
    pub(super) fn empty_slab(&self, block: usize) -> Option<&[f32]> {
        let slabs = self.air.as_ref()?.slabs.get()?.as_ref()?;
        slabs.get(block).map(Vec::as_slice)
    }
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
