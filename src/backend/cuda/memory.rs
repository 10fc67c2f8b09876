//! Device and pinned memory of a session: sized for a group of slices, made when the first scan needs it, made anew when a larger one comes.

use super::program::{Op, Program};
use crate::model::Network;
use crate::plan::{Plan, Request};
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::{DeviceMemory, Element, Gpu, Pinned, Queue, Span};
use std::sync::Arc;

/// Most slices that go through the 2-D network together.
const MOST_SLICES: usize = 64;
/// Share of a device's memory that a lane's slabs may take; a session has one or two.
const SHARE: u64 = 4;
/// Bytes of the control words: the slice count; the first plane and the number of planes.
const CONTROL_BYTES: usize = 32;
/// Most planes that the channels of a slice may lie apart for the device to cut them from HU planes itself.
pub(super) const MOST_SPAN: usize = 8;
/// Offset of the second control word group.
pub(super) const POSITION: usize = 16;

/// Buffers of the 2-D network for one group size: offsets into one arena.
#[derive(Clone, Debug)]
pub(super) struct ArenaPlan {
    plan: Plan,
    slabs: usize,
}

impl ArenaPlan {
    /// For `slices` slices. Floats are the plan's unit.
    pub(super) fn new(program: &Program, network: &Network, element: Element, slices: usize) -> Self {
        let input = planes(network, slices) * network.input.area();
        let mut requests = vec![Request { name: "input".to_owned(), len: input, first: 0, last: 0 }];
        for (block, slab) in program.slabs.iter().enumerate() {
            let uses = |stage: &&super::program::Stage| match &stage.op {
                Op::Transition { .. } => stage.block == block || stage.block + 1 == block,
                Op::Recurrent { .. } | Op::Classifier { .. } => false,
                _ => stage.block == block,
            };
            let steps: Vec<usize> = (0..program.planar).filter(|&i| uses(&&program.stages[i])).collect();
            let (first, last) = (steps.first().copied().unwrap_or(0), steps.last().copied().unwrap_or(0));
            let len = (slices * slab.bytes(element)).div_ceil(4);
            requests.push(Request { name: format!("slab {}", block + 1), len, first, last });
        }
        for (step, stage) in program.stages[..program.planar].iter().enumerate() {
            let len = match &stage.op {
                Op::Segmentation { shape, .. } => slices * shape.height * shape.width,
                Op::Attention { shape, .. } => slices * shape.heads * shape.area,
                _ => continue,
            };
            requests.push(Request { name: format!("{} scores", stage.name), len, first: step, last: step });
        }
        Self { plan: Plan::new(requests), slabs: program.slabs.len() }
    }

    fn bytes(&self) -> usize {
        self.plan.len() * 4
    }

    /// Most slices of a group on a device with `memory_bytes`, and at least one.
    pub(super) fn most_slices(program: &Program, network: &Network, element: Element, memory_bytes: u64) -> usize {
        let one = Self::new(program, network, element, 1).bytes().max(1) as u64;
        usize::try_from(memory_bytes / SHARE / one).unwrap_or(MOST_SLICES).clamp(1, MOST_SLICES)
    }
}

/// Planes of a group's input: the channels of its slices, or its HU planes with those around them.
fn planes(network: &Network, slices: usize) -> usize {
    (network.channels.max(1) * slices).max(slices + MOST_SPAN)
}

/// The memory of a group.
#[derive(Debug)]
pub(super) struct GroupMemory {
    pub(super) slices: usize,
    plan: ArenaPlan,
    arena: Arc<DeviceMemory>,
    pub(super) control: Arc<DeviceMemory>,
    /// Attention weights, f32 [slices, heads, area].
    pub(super) attention: Arc<DeviceMemory>,
    /// Segmentation probabilities, f32 [slices, heads, height, width]; only once maps were asked for.
    pub(super) segmentation: Option<Arc<DeviceMemory>>,
    /// The input planes, and before them the control words.
    pub(super) staging: Pinned,
    /// Attention weights, then segmentation probabilities.
    pub(super) maps: Option<Pinned>,
}

/// Bytes of one slice's maps: attention, segmentation.
pub(super) fn map_bytes(program: &Program, network: &Network) -> (usize, usize) {
    let attention = program.stages.iter().find_map(|s| match &s.op {
        Op::Attention { shape, .. } => Some(4 * shape.heads * shape.area),
        _ => None,
    });
    (attention.unwrap_or(0), 4 * program.segmentation.len() * network.input.area())
}

impl GroupMemory {
    pub(super) fn new(
        gpu: &Arc<dyn Gpu>,
        queue: &Queue,
        (program, network): (&Program, &Network),
        element: Element,
        slices: usize,
    ) -> Result<Self> {
        let plan = ArenaPlan::new(program, network, element, slices);
        let allocate = |what: &str, bytes: usize| {
            DeviceMemory::new(gpu, bytes)
                .map(Arc::new)
                .map_err(|e| super::error(e, &format!("{bytes} bytes of {what} for {slices} slices")))
        };
        let input = 4 * planes(network, slices) * network.input.area();
        Ok(Self {
            slices,
            arena: allocate("slabs", plan.bytes())?,
            control: allocate("control words", CONTROL_BYTES)?,
            attention: allocate("attention maps", slices * map_bytes(program, network).0)?,
            segmentation: None,
            staging: queue.pinned(CONTROL_BYTES + input).map_err(|e| super::error(e, "pinned memory for the slices"))?,
            maps: None,
            plan,
        })
    }

    /// Makes room for maps, unless there is.
    pub(super) fn with_maps(&mut self, gpu: &Arc<dyn Gpu>, queue: &Queue, (program, network): (&Program, &Network)) -> Result<()> {
        let (attention, segmentation) = map_bytes(program, network);
        if self.segmentation.is_none() {
            let memory = DeviceMemory::new(gpu, self.slices * segmentation);
            self.segmentation = Some(Arc::new(memory.map_err(|e| super::error(e, "segmentation maps"))?));
        }
        if self.maps.is_none() {
            let pinned = queue.pinned(self.slices * (attention + segmentation));
            self.maps = Some(pinned.map_err(|e| super::error(e, "pinned memory for maps"))?);
        }
        Ok(())
    }

    /// Offset of the planes in the staging memory.
    pub(super) const PLANES: usize = CONTROL_BYTES;

    pub(super) fn input(&self) -> Result<Span<'_>> {
        self.buffer(0)
    }

    /// First plane and number of planes, as the kernels read them.
    pub(super) fn position(&self) -> Result<Span<'_>> {
        self.control.span(POSITION, 8).ok_or_else(super::session::unprepared)
    }

    pub(super) fn slab(&self, block: usize) -> Result<Span<'_>> {
        self.buffer(1 + block)
    }

    /// Scratch of the `index`-th step that has some.
    pub(super) fn scores(&self, index: usize) -> Result<Span<'_>> {
        self.buffer(1 + self.plan.slabs + index)
    }

    fn buffer(&self, index: usize) -> Result<Span<'_>> {
        let range = self.plan.plan.range(index);
        self.arena.span(4 * range.start, 4 * range.len()).ok_or_else(|| Error::new(ErrorKind::Device, "a buffer lies outside its arena"))
    }

    pub(super) fn holds(&self) -> Vec<Arc<DeviceMemory>> {
        let mut all = vec![Arc::clone(&self.arena), Arc::clone(&self.control), Arc::clone(&self.attention)];
        all.extend(self.segmentation.clone());
        all
    }
}

/// The memory of recurrence and classifier for scans of up to `slices` slices.
#[derive(Debug)]
pub(super) struct SequenceMemory {
    pub(super) slices: usize,
    /// f32 [slices, slice_vector].
    pub(super) pooled: Arc<DeviceMemory>,
    pub(super) projections: Arc<DeviceMemory>,
    /// Outputs of recurrent layers, in turn.
    pub(super) outputs: [Arc<DeviceMemory>; 2],
    pub(super) logits: Arc<DeviceMemory>,
    pub(super) control: Arc<DeviceMemory>,
    /// The slice count, then slice vectors, then logits.
    pub(super) host: Pinned,
}

impl SequenceMemory {
    pub(super) fn new(gpu: &Arc<dyn Gpu>, queue: &Queue, (program, network): (&Program, &Network), slices: usize) -> Result<Self> {
        let allocate = |floats: usize| {
            let memory = DeviceMemory::new(gpu, 4 * slices * floats).map(Arc::new);
            memory.map_err(|e| super::error(e, &format!("memory for the recurrence over {slices} slices")))
        };
        let (outputs, projections) = program.widest;
        let host = queue.pinned(CONTROL_BYTES + 4 * slices * (network.slice_vector + network.classes));
        Ok(Self {
            slices,
            pooled: allocate(network.slice_vector)?,
            projections: allocate(projections)?,
            outputs: [allocate(outputs)?, allocate(outputs)?],
            logits: allocate(network.classes)?,
            control: DeviceMemory::new(gpu, CONTROL_BYTES).map(Arc::new).map_err(|e| super::error(e, "control words"))?,
            host: host.map_err(|e| super::error(e, "pinned memory for the recurrence"))?,
        })
    }

    /// Offset of the slice vectors in the host's memory.
    pub(super) const POOLED: usize = CONTROL_BYTES;

    /// Offset of the logits in the host's memory.
    pub(super) fn logits_at(&self, vector: usize) -> usize {
        CONTROL_BYTES + 4 * self.slices * vector
    }

    pub(super) fn holds(&self) -> Vec<Arc<DeviceMemory>> {
        let [a, b] = &self.outputs;
        [&self.pooled, &self.projections, a, b, &self.logits, &self.control].into_iter().map(Arc::clone).collect()
    }
}
