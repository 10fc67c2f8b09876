//! A session: one queue with its memory, the graphs that were recorded on it, and the way of a scan through them.
//!
//! The kernels of a scan are recorded once for each bucket of slices and replayed afterwards; the real number of slices travels as data. A
//! scan of at most one group runs as one graph from pixels to logits; a longer one group by group, and then through the recurrence.

use super::CudaBackend;
use super::enqueue::{Context, Group};
use super::feed::{Feed, InputKind, Run, ScannedMemory, upload_windows};
use super::memory::{GroupMemory, SequenceMemory, map_bytes};
use super::stages::Marks;
use crate::backend::{BackendSession, ScanMaps};
use crate::observer::Observer;
use crate::tensor::{ChannelWindow, SliceSource};
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::{DeviceMemory, Queue, Recorded, Slices, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// What a graph holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// The 2-D network, and then recurrence and classifier.
    Whole,
    /// The 2-D network of one group.
    Planar,
    /// Recurrence and classifier.
    Sequence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    part: Part,
    /// Slices of the launches.
    slices: usize,
    input: InputKind,
    maps: bool,
}

/// The memory, the queue and the graphs of one caller.
pub(super) struct CudaSession<'a> {
    backend: &'a CudaBackend,
    graphs: HashMap<Key, Recorded>,
    group: Option<GroupMemory>,
    sequence: Option<SequenceMemory>,
    windows: Option<(Vec<ChannelWindow>, Arc<DeviceMemory>)>,
    scanned: Option<ScannedMemory>,
    queue: Queue,
    device_ms: Option<f64>,
}

impl Drop for CudaSession<'_> {
    fn drop(&mut self) {
        // After an error work may still be queued on the memory that is about to be freed; the outcome no longer matters.
        let _ = self.queue.finish();
    }
}

/// The number of slices that launches for `slices` are made for: a power of two or three halves of one, so that few graphs serve all scans.
fn bucket(slices: usize, most: usize) -> usize {
    let power = slices.next_power_of_two();
    let below = power / 4 * 3;
    (if below >= slices { below } else { power }).min(most).max(slices)
}

impl<'a> CudaSession<'a> {
    pub(super) fn new(backend: &'a CudaBackend) -> Result<Self> {
        let queue = Queue::new(&backend.gpu).map_err(|e| super::error(e, "a stream"))?;
        Ok(Self { backend, graphs: HashMap::new(), group: None, sequence: None, windows: None, scanned: None, queue, device_ms: None })
    }

    fn check(&self, scan: &dyn SliceSource, pooled: usize) -> Result<()> {
        let network = &self.backend.network;
        let (slices, extent) = (scan.slices(), scan.extent());
        if slices > 0 && scan.channels() == network.channels && extent == network.input && pooled == slices * network.slice_vector {
            return Ok(());
        }
        let shape = [slices, scan.channels(), extent.height, extent.width];
        Err(Error::new(ErrorKind::Device, format!("a scan of shape {shape:?} and room for {pooled} numbers do not fit this network")))
    }

    /// Memory for groups of `slices`; graphs of smaller memory are forgotten with it.
    fn prepare_group(&mut self, slices: usize, maps: bool) -> Result<()> {
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

    fn prepare_sequence(&mut self, slices: usize) -> Result<()> {
        let backend = self.backend;
        if self.sequence.as_ref().is_none_or(|s| s.slices < slices) {
            self.graphs.clear();
            self.sequence = None;
            self.sequence = Some(SequenceMemory::new(&backend.gpu, &self.queue, (&backend.program, &backend.network), slices)?);
        }
        Ok(())
    }

    /// What the form of the input needs on the device besides the input.
    fn prepare_feed(&mut self, feed: Feed<'_>, slices: usize) -> Result<()> {
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
        self.finish(&marks, count)
    }

    /// Waits for a run and takes its times.
    fn finish(&mut self, marks: &Marks, count: usize) -> Result<()> {
        self.queue.finish().map_err(|e| super::error(e, "a scan on the device"))?;
        let spent = marks.total_ms(&mut self.queue)?;
        self.device_ms = match (self.device_ms, spent) {
            (Some(before), Some(now)) => Some(before + now),
            (None, now) => now,
            (before, None) => before,
        };
        match &self.backend.clocks {
            Some(clocks) => clocks.add(marks, &mut self.queue, count),
            None => Ok(()),
        }
    }

    /// Copies device memory to the host's and shows it.
    fn fetch_maps(&mut self, run: Run, maps: &mut ScanMaps) -> Result<()> {
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
    fn fetch(&mut self, pooled: Option<&mut [f32]>, logits: Option<&mut [f32]>) -> Result<()> {
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

    /// Groups of slices through the 2-D network; `whole` goes on to the logits.
    fn run(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        mut logits: Option<&mut [f32]>,
        mut maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        let backend = self.backend;
        let (slices, vector) = (scan.slices(), backend.network.slice_vector);
        let most = backend.most_slices;
        let feed = Feed::of(scan, backend.network.channels);
        self.device_ms = None;
        let group = bucket(slices.min(most), most);
        self.prepare_group(group, maps.is_some())?;
        self.prepare_feed(feed, group)?;
        self.prepare_sequence(group)?;
        if let Some(maps) = maps.as_deref_mut() {
            backend.prepare_maps(slices, maps)?;
        }
        for first in (0..slices).step_by(most) {
            if observer.cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the host asked to stop"));
            }
            let count = most.min(slices - first);
            let part = if logits.is_some() { Part::Whole } else { Part::Planar };
            let key = Key { part, slices: bucket(count, most), input: feed.kind(), maps: maps.is_some() };
            let run = Run { first, count, total: slices };
            let memory = (self.group.as_ref().ok_or_else(unprepared)?, self.scanned.as_ref());
            feed.upload(backend, &mut self.queue, memory, run, observer)?;
            self.execute(key, count)?;
            self.fetch(Some(&mut pooled[first * vector..][..count * vector]), logits.as_deref_mut())?;
            if let Some(maps) = maps.as_deref_mut() {
                self.fetch_maps(run, maps)?;
            }
            observer.slices_done(first + count, slices);
        }
        Ok(())
    }
}

impl BackendSession for CudaSession<'_> {
    fn pool_slices(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        self.check(scan, pooled.len())?;
        self.run(scan, observer, pooled, None, maps)
    }

    fn classify(&mut self, pooled: &[f32], logits: &mut [f32]) -> Result<()> {
        let network = &self.backend.network;
        let slices = pooled.len() / network.slice_vector;
        if slices == 0 || pooled.len() != slices * network.slice_vector || logits.len() != slices * network.classes {
            let message = format!("{} pooled numbers and {} logits do not fit this network", pooled.len(), logits.len());
            return Err(Error::new(ErrorKind::Device, message));
        }
        let capacity = bucket(slices, usize::MAX);
        self.prepare_sequence(capacity)?;
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
        self.execute(Key { part: Part::Sequence, slices: capacity, input: InputKind::Windowed, maps: false }, slices)?;
        self.fetch(None, Some(logits))
    }

    fn judge(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        logits: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        self.check(scan, pooled.len())?;
        if scan.slices() <= self.backend.most_slices && logits.len() == scan.slices() * self.backend.network.classes {
            return self.run(scan, observer, pooled, Some(logits), maps);
        }
        self.run(scan, observer, pooled, None, maps)?;
        self.classify(pooled, logits)
    }

    fn device_ms(&self) -> Option<f64> {
        self.device_ms
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
fn finite(pooled: &[f32], vector: usize, element: radnet_kernels::cuda::Element) -> Result<()> {
    let Some(i) = pooled.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let (slice, feature, precision) = (i / vector, i % vector, super::precision(element));
    let message =
        format!("activations leave the range of {precision}: feature {feature} of slice {slice} is {}; use --precision fp32", pooled[i]);
    Err(Error::new(ErrorKind::Device, message))
}

pub(super) fn unprepared() -> Error {
    Error::new(ErrorKind::Device, "the memory of a session is not what its scan needs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_are_for() {
        for most in [1, 5, 64, usize::MAX] {
            for slices in 1..=most.min(300) {
                let bucket = bucket(slices, most);
                assert!(bucket >= slices && bucket <= most && (bucket <= slices * 3 / 2 + 1), "{slices} of {most}: {bucket}");
            }
        }
        assert_eq!([1, 2, 3, 5, 24, 25, 33].map(|n| bucket(n, 64)), [1, 2, 3, 6, 24, 32, 48]);
    }
}
