//! One queue with its memory and the graphs that were recorded on it: what a group of slices, or a recurrence, goes through.
//!
//! The kernels of a group are recorded once for each bucket of slices and replayed afterwards; the real number of slices travels as data.

use super::CudaBackend;
use super::enqueue::{Context, Group};
use super::feed::{Feed, InputKind, Run, ScannedMemory, upload_windows};
use super::memory::{GroupMemory, SequenceMemory, map_bytes};
use super::session::unprepared;
use super::stages::Marks;
use crate::backend::ScanMaps;
use crate::observer::Observer;
use crate::tensor::ChannelWindow;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::{DeviceMemory, Element, Queue, Recorded, Slices, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// What a graph holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The 2-D network, and then recurrence and classifier.
    Whole,
    /// The 2-D network of one group.
    Planar,
    /// Recurrence and classifier.
    Sequence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) part: Part,
    /// Slices of the launches.
    pub(super) slices: usize,
    pub(super) input: InputKind,
    pub(super) maps: bool,
}

/// A queue, its memory and its graphs. Two lanes work side by side: while one computes, the next group travels to the other.
pub(super) struct Lane<'a> {
    backend: &'a CudaBackend,
    graphs: HashMap<Key, Recorded>,
    group: Option<GroupMemory>,
    sequence: Option<SequenceMemory>,
    windows: Option<(Vec<ChannelWindow>, Arc<DeviceMemory>)>,
    scanned: Option<ScannedMemory>,
    /// The marks of what runs, and its slices.
    running: Option<(Marks, usize)>,
    queue: Queue,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // After an error work may still be queued on the memory that is about to be freed; the outcome no longer matters.
        let _ = self.queue.finish();
    }
}

impl<'a> Lane<'a> {
    pub(super) fn new(backend: &'a CudaBackend) -> Result<Self> {
        let queue = Queue::new(&backend.gpu).map_err(|e| super::error(e, "a stream"))?;
        let (graphs, running) = (HashMap::new(), None);
        Ok(Self { backend, graphs, group: None, sequence: None, windows: None, scanned: None, running, queue })
    }

    /// Forgets what a scan that failed or was cancelled has left running.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.running = None;
        self.queue.finish().map_err(|e| super::error(e, "an earlier scan on the device"))?;
        Ok(())
    }

    /// Memory for groups of `slices`; graphs of smaller memory are forgotten with it.
    pub(super) fn prepare_group(&mut self, slices: usize, maps: bool) -> Result<()> {
        let backend = self.backend;
        let parts = (&backend.program, &backend.network);
        if self.group.as_ref().is_none_or(|g| g.slices < slices) {
            self.graphs.clear();
            self.group = None;
            self.group = Some(GroupMemory::new(&backend.gpu, &self.queue, parts, backend.element, slices)?);
        }
        match &mut self.group {
            Some(group) if maps => group.with_maps(&backend.gpu, &self.queue, parts),
            _ => Ok(()),
        }
    }

    pub(super) fn prepare_sequence(&mut self, slices: usize) -> Result<()> {
        let backend = self.backend;
        if self.sequence.as_ref().is_none_or(|s| s.slices < slices) {
            self.graphs.clear();
            self.sequence = None;
            self.sequence = Some(SequenceMemory::new(&backend.gpu, &self.queue, (&backend.program, &backend.network), slices)?);
        }
        Ok(())
    }

    /// What the form of the input needs on the device besides the input.
    pub(super) fn prepare_feed(&mut self, feed: Feed<'_>, slices: usize) -> Result<()> {
        let Some(windows) = feed.windows() else { return Ok(()) };
        if self.windows.as_ref().is_none_or(|(known, _)| known != windows) {
            self.graphs.retain(|key, _| key.input == InputKind::Windowed);
            let memory = upload_windows(self.backend, &mut self.queue, windows)?;
            self.windows = Some((windows.to_vec(), Arc::new(memory)));
        }
        if let Feed::Scanned(scanned) = feed
            && self.scanned.as_ref().is_none_or(|memory| !memory.serves(scanned, slices))
        {
            self.graphs.retain(|key, _| key.input != InputKind::Scanned);
            self.scanned = None;
            self.scanned = Some(ScannedMemory::new(self.backend, &mut self.queue, scanned, slices)?);
        }
        Ok(())
    }

    /// Queues a run's way to the device and its kernels.
    pub(super) fn start(&mut self, feed: Feed<'_>, key: Key, run: Run, observer: &dyn Observer) -> Result<()> {
        let memory = (self.group.as_ref().ok_or_else(unprepared)?, self.scanned.as_ref());
        feed.upload(self.backend, &mut self.queue, memory, run, observer)?;
        self.execute(key, run.count)
    }

    /// Queues the recurrence and the classifier over slice vectors from the host.
    pub(super) fn start_sequence(&mut self, pooled: &[f32], slices: usize, capacity: usize) -> Result<()> {
        let failed = |e| super::error(e, "the slice vectors' way to the device");
        let sequence = self.sequence.as_ref().ok_or_else(unprepared)?;
        let mut idle = self.queue.finish().map_err(failed)?;
        let host = sequence.host.write(&mut idle).map_err(failed)?;
        host[..4].copy_from_slice(&(slices as u32).to_le_bytes());
        let floats = sequence.host.write_floats(&mut idle).map_err(failed)?;
        floats[SequenceMemory::POOLED / 4..][..pooled.len()].copy_from_slice(pooled);
        let span = sequence.pooled.span(0, 4 * pooled.len()).ok_or_else(unprepared)?;
        self.queue.upload(sequence.control.all(), &sequence.host, 0).map_err(failed)?;
        self.queue.upload(span, &sequence.host, SequenceMemory::POOLED).map_err(failed)?;
        self.execute(Key { part: Part::Sequence, slices: capacity, input: InputKind::Windowed, maps: false }, slices)
    }

    /// Queues the kernels of a run: a graph, or one by one when steps are measured.
    fn execute(&mut self, key: Key, count: usize) -> Result<()> {
        let backend = self.backend;
        let from = self.queue.mark().map_err(|e| super::error(e, "a mark"))?;
        let mut marks = Marks::new(from);
        let context = Context {
            program: &backend.program,
            element: backend.element,
            device: backend.gpu.properties(),
            weights: &backend.weights,
            windows: self.windows.as_ref().filter(|_| key.input != InputKind::Windowed).map(|(_, memory)| &**memory),
            scanned: self.scanned.as_ref().filter(|_| key.input == InputKind::Scanned),
        };
        let memory = (self.group.as_ref(), self.sequence.as_ref());
        if backend.clocks.is_some() {
            enqueue(&context, &mut self.queue, memory, key, &mut |queue, step| marks.step(queue, step))?;
        } else {
            if !self.graphs.contains_key(&key) {
                let mut held = self.group.as_ref().map_or_else(Vec::new, GroupMemory::holds);
                held.extend(self.sequence.as_ref().map_or_else(Vec::new, SequenceMemory::holds));
                held.extend(self.windows.iter().map(|(_, memory)| Arc::clone(memory)));
                held.extend(self.scanned.iter().flat_map(|memory| [Arc::clone(&memory.table), Arc::clone(&memory.source)]));
                held.push(Arc::clone(&backend.weights));
                let recorded = self.queue.record(held, Vec::new(), |queue| enqueue(&context, queue, memory, key, &mut |_, _| Ok(())))?;
                self.graphs.insert(key, recorded);
            }
            if let Some(graph) = self.graphs.get(&key) {
                self.queue.replay(graph).map_err(|e| super::error(e, "a recorded graph"))?;
            }
        }
        let to = self.queue.mark().map_err(|e| super::error(e, "a mark"))?;
        marks.end(to);
        self.running = Some((marks, count));
        Ok(())
    }

    /// Waits for what runs; its milliseconds on the device.
    pub(super) fn wait(&mut self) -> Result<Option<f64>> {
        self.queue.finish().map_err(|e| super::error(e, "a scan on the device"))?;
        let Some((marks, count)) = self.running.take() else { return Ok(None) };
        if let Some(clocks) = &self.backend.clocks {
            clocks.add(&marks, &mut self.queue, count)?;
        }
        marks.total_ms(&mut self.queue)
    }

    /// Copies device memory to the host's and shows it.
    pub(super) fn fetch_maps(&mut self, run: Run, maps: &mut ScanMaps) -> Result<()> {
        let backend = self.backend;
        let group = self.group.as_ref().ok_or_else(unprepared)?;
        let (Some(pinned), Some(memory)) = (&group.maps, &group.segmentation) else { return Err(unprepared()) };
        let (attention, segmentation) = map_bytes(&backend.program, &backend.network);
        let start = group.slices * attention;
        let part = |memory: Span<'_>, bytes: usize| memory.part(0, run.count * bytes).map(|s| s.bytes()).unwrap_or(0);
        let wanted =
            [(group.attention.all(), 0, part(group.attention.all(), attention)), (memory.all(), start, part(memory.all(), segmentation))];
        for (from, at, bytes) in wanted {
            if let Some(from) = from.part(0, bytes).filter(|s| s.bytes() > 0) {
                self.queue.download(pinned, at, from).map_err(|e| super::error(e, "the maps' way back"))?;
            }
        }
        let idle = self.queue.finish().map_err(|e| super::error(e, "the maps' way back"))?;
        let floats = pinned.read_floats(&idle).map_err(|e| super::error(e, "the maps' way back"))?;
        for i in 0..run.count {
            if let Some(map) = maps.attention.get_mut(run.first + i) {
                map.copy_from_slice(&floats[i * attention / 4..][..attention / 4]);
            }
            if let Some(map) = maps.segmentation.get_mut(run.first + i) {
                map.copy_from_slice(&floats[(start + i * segmentation) / 4..][..segmentation / 4]);
            }
        }
        Ok(())
    }

    /// Copies `bytes` of slice vectors, and the logits after them when there is room for some, back to the host.
    pub(super) fn fetch(&mut self, pooled: Option<&mut [f32]>, logits: Option<&mut [f32]>) -> Result<()> {
        let vector = self.backend.network.slice_vector;
        let sequence = self.sequence.as_ref().ok_or_else(unprepared)?;
        let failed = |e| super::error(e, "the results' way back");
        if let Some(pooled) = &pooled {
            let span = sequence.pooled.span(0, 4 * pooled.len()).ok_or_else(unprepared)?;
            self.queue.download(&sequence.host, SequenceMemory::POOLED, span).map_err(failed)?;
        }
        if let Some(logits) = &logits {
            let span = sequence.logits.span(0, 4 * logits.len()).ok_or_else(unprepared)?;
            self.queue.download(&sequence.host, sequence.logits_at(vector), span).map_err(failed)?;
        }
        let idle = self.queue.finish().map_err(failed)?;
        let floats = sequence.host.read_floats(&idle).map_err(failed)?;
        if let Some(pooled) = pooled {
            pooled.copy_from_slice(&floats[SequenceMemory::POOLED / 4..][..pooled.len()]);
            finite(pooled, vector, self.backend.element)?;
        }
        if let Some(logits) = logits {
            logits.copy_from_slice(&floats[sequence.logits_at(vector) / 4..][..logits.len()]);
        }
        Ok(())
    }
}

/// Queues everything of a graph.
fn enqueue(
    context: &Context<'_>,
    queue: &mut Queue,
    (group, sequence): (Option<&GroupMemory>, Option<&SequenceMemory>),
    key: Key,
    after: &mut dyn FnMut(&mut Queue, usize) -> Result<()>,
) -> Result<()> {
    let sequence = sequence.ok_or_else(unprepared)?;
    if key.part == Part::Sequence {
        let slices = Slices { count: sequence.control.all(), capacity: key.slices };
        return context.sequence(queue, sequence, slices, after);
    }
    let memory = group.ok_or_else(unprepared)?;
    let group = Group { memory, slices: key.slices, pooled: sequence.pooled.all(), maps: key.maps };
    context.planar(queue, &group, after)?;
    match key.part {
        Part::Whole => context.sequence(queue, sequence, Slices { count: memory.control.all(), capacity: key.slices }, after),
        _ => Ok(()),
    }
}

/// Infinite or undefined slice vectors must not reach the recurrence, whose σ and tanh would hide them.
fn finite(pooled: &[f32], vector: usize, element: Element) -> Result<()> {
    let Some(i) = pooled.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let (slice, feature, precision) = (i / vector, i % vector, super::precision(element));
    let message =
        format!("activations leave the range of {precision}: feature {feature} of slice {slice} is {}; use --precision fp32", pooled[i]);
    Err(Error::new(ErrorKind::Device, message))
}
