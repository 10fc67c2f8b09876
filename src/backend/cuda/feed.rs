//! How slices reach the device: windowed by the host, as HU planes, or as they were stored.

use super::memory::{GroupMemory, MOST_SPAN, POSITION};
use super::{CudaBackend, error, upload};
use crate::observer::Observer;
use crate::tensor::{AxisTaps, ChannelWindow, Extent, HuPlanes, ScannedSlices, SliceSource};
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::resample::{ResampleBuffers, ResampleShape, ResampleTables, resample};
use radnet_kernels::cuda::stem::{HuWindow, pack_windows};
use radnet_kernels::cuda::{DeviceMemory, Pinned, Queue, Span};
use rayon::prelude::*;
use std::sync::Arc;

/// What is copied to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum InputKind {
    /// float32 channels.
    Windowed,
    /// float32 HU planes of the network's size; the stem cuts the channels.
    Hu,
    /// int16 HU slices of the scan's size; resampled first.
    Scanned,
}

/// A scan's slices in the form that the device takes.
#[derive(Clone, Copy)]
pub(super) enum Feed<'s> {
    Windowed(&'s dyn SliceSource),
    Hu(HuPlanes<'s>),
    Scanned(&'s ScannedSlices<'s>),
}

/// Consecutive slices of a scan that run together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: usize,
    pub(super) count: usize,
    /// Slices of the scan.
    pub(super) total: usize,
}

impl<'s> Feed<'s> {
    /// The form depends on the scan's source and the model alone, never on how the scan is grouped: windows of host and device differ in the
    /// last bit.
    pub(super) fn of(scan: &'s dyn SliceSource, channels: usize) -> Self {
        let fits = |windows: &[ChannelWindow]| windows.len() == channels && span(windows) <= MOST_SPAN;
        match (scan.scanned(), scan.hu()) {
            (Some(scanned), _) if fits(&scanned.windows) => Self::Scanned(scanned),
            (_, Some(hu)) if fits(hu.windows) => Self::Hu(hu),
            _ => Self::Windowed(scan),
        }
    }

    pub(super) fn kind(self) -> InputKind {
        match self {
            Self::Windowed(_) => InputKind::Windowed,
            Self::Hu(_) => InputKind::Hu,
            Self::Scanned(_) => InputKind::Scanned,
        }
    }

    pub(super) fn windows(self) -> Option<&'s [ChannelWindow]> {
        match self {
            Self::Windowed(_) => None,
            Self::Hu(hu) => Some(hu.windows),
            Self::Scanned(scanned) => Some(&scanned.windows),
        }
    }

    /// First and last (exclusive) slice of the scan that a run's channels read.
    fn planes(self, run: Run) -> (usize, usize) {
        self.windows().map_or((run.first, run.first + run.count), |windows| around(run, windows))
    }

    /// Writes the slices of a run into pinned memory and queues their way to the device.
    pub(super) fn upload(
        self,
        backend: &CudaBackend,
        queue: &mut Queue,
        (group, scanned): (&GroupMemory, Option<&ScannedMemory>),
        run: Run,
        observer: &dyn Observer,
    ) -> Result<()> {
        let failed = |e| error(e, "the slices' way to the device");
        let (first, last) = self.planes(run);
        let mut idle = queue.finish().map_err(failed)?;
        let control = group.staging.write(&mut idle).map_err(failed)?;
        for (at, word) in [(0, run.count), (POSITION, run.first - first), (POSITION + 4, last - first)] {
            control[at..at + 4].copy_from_slice(&(word as u32).to_le_bytes());
        }
        let area = backend.network.input.area();
        let plane = if matches!(self, Self::Windowed(_)) { backend.network.channels * area } else { area };
        let bytes = match (self, scanned) {
            (Self::Scanned(source), Some(memory)) => {
                let bytes = memory.staging.write(&mut idle).map_err(failed)?;
                let pixels = source.source.area();
                let slices = &source.slices[first..last];
                let copy =
                    |(to, from): (&mut [u8], &&[i16])| to.as_chunks_mut().0.iter_mut().zip(*from).for_each(|(t, v)| *t = v.to_le_bytes());
                backend.install(|| bytes.par_chunks_exact_mut(2 * pixels.max(1)).zip(slices).for_each(copy));
                2 * pixels * slices.len()
            }
            (feed, _) => {
                let floats = group.staging.write_floats(&mut idle).map_err(failed)?;
                let floats = &mut floats[GroupMemory::PLANES / 4..][..(last - first) * plane];
                let write = |(i, to): (usize, &mut [f32])| {
                    if observer.cancelled() {
                        return Err(Error::new(ErrorKind::Cancelled, "the host asked to stop"));
                    }
                    match feed {
                        Feed::Hu(hu) => to.copy_from_slice(&hu.planes[(first + i) * area..][..area]),
                        Feed::Windowed(scan) => scan.write_slice(first + i, to),
                        Feed::Scanned(_) => return Err(super::session::unprepared()),
                    }
                    Ok(())
                };
                backend.install(|| floats.par_chunks_exact_mut(plane).enumerate().try_for_each(write))?;
                4 * floats.len()
            }
        };
        queue.upload(group.control.all(), &group.staging, 0).map_err(failed)?;
        let (to, from, at) = match (self, scanned) {
            (Self::Scanned(_), Some(memory)) => (memory.source.all(), &memory.staging, 0),
            _ => (group.input()?, &group.staging, GroupMemory::PLANES),
        };
        let to = to.part(0, bytes).ok_or_else(super::session::unprepared)?;
        queue.upload(to, from, at).map_err(failed)
    }
}

/// Slices that the channels of one lie apart, at most.
fn span(windows: &[ChannelWindow]) -> usize {
    let offsets = windows.iter().map(|w| w.slice_offset).chain([0]);
    let (least, most) = offsets.fold((0i64, 0i64), |(least, most), o| (least.min(o), most.max(o)));
    usize::try_from(most.saturating_sub(least)).unwrap_or(usize::MAX)
}

/// First and last (exclusive) slice that the channels of a run read.
fn around(run: Run, windows: &[ChannelWindow]) -> (usize, usize) {
    let plane = |slice: usize, offset: i64| (slice as i64).saturating_add(offset).clamp(0, run.total as i64 - 1) as usize;
    let end = run.first + run.count - 1;
    let offsets = || windows.iter().map(|w| w.slice_offset).chain([0]);
    let first = offsets().map(|o| plane(run.first, o)).min().unwrap_or(run.first);
    (first, offsets().map(|o| plane(end, o)).max().unwrap_or(end) + 1)
}

/// Channel windows on the device.
pub(super) fn upload_windows(backend: &CudaBackend, queue: &mut Queue, windows: &[ChannelWindow]) -> Result<DeviceMemory> {
    let table = windows.iter().map(|w| HuWindow { slice_offset: w.slice_offset, low: w.low, width: w.width, mean: w.mean, std: w.std });
    upload(&backend.gpu, queue, &pack_windows(&table.collect::<Vec<_>>()), "channel windows")
}

/// Slices as they were stored, and the tables that resample them, on the device.
#[derive(Debug)]
pub(super) struct ScannedMemory {
    source_extent: Extent,
    taps: [AxisTaps; 2],
    outside_hu: f32,
    shape: ResampleShape,
    tables: ResampleTables,
    pub(super) table: Arc<DeviceMemory>,
    pub(super) source: Arc<DeviceMemory>,
    staging: Pinned,
    /// Slices that there is room for.
    capacity: usize,
}

impl ScannedMemory {
    pub(super) fn new(backend: &CudaBackend, queue: &mut Queue, scanned: &ScannedSlices<'_>, slices: usize) -> Result<Self> {
        let Extent { height, width } = scanned.source;
        let (rows, columns) = (scanned.row_taps.len(), scanned.column_taps.len());
        let shape = ResampleShape { source_rows: height, source_columns: width, rows, columns };
        let tables = shape.pack(|y| scanned.row_taps.at(y), |x| scanned.column_taps.at(x)).map_err(|e| error(e, "resampling"))?;
        let capacity = slices + MOST_SPAN;
        let bytes = 2 * capacity * scanned.source.area();
        let source = DeviceMemory::new(&backend.gpu, bytes).map_err(|e| error(e, &format!("{bytes} bytes of HU slices")))?;
        Ok(Self {
            source_extent: scanned.source,
            taps: [scanned.row_taps.clone(), scanned.column_taps.clone()],
            outside_hu: scanned.outside_hu,
            shape,
            table: Arc::new(upload(&backend.gpu, queue, &tables.bytes, "resampling tables")?),
            tables,
            source: Arc::new(source),
            staging: queue.pinned(bytes).map_err(|e| error(e, "pinned memory for HU slices"))?,
            capacity,
        })
    }

    /// Whether it serves groups of `slices` of this scan.
    pub(super) fn serves(&self, scanned: &ScannedSlices<'_>, slices: usize) -> bool {
        self.capacity >= slices + MOST_SPAN
            && self.source_extent == scanned.source
            && self.outside_hu.to_bits() == scanned.outside_hu.to_bits()
            && self.taps[0] == scanned.row_taps
            && self.taps[1] == scanned.column_taps
    }

    /// Queues the way from slices to HU planes, for up to `slices` slices and those around them.
    pub(super) fn enqueue(&self, queue: &mut Queue, planes: Span<'_>, position: Span<'_>, slices: usize) -> Result<()> {
        let capacity = (slices + MOST_SPAN).min(self.capacity);
        let buffers = ResampleBuffers { source: self.source.all(), planes, tables: self.table.all(), position, capacity };
        resample(queue.stream(), &self.shape, self.outside_hu, &self.tables, &buffers).map_err(|e| error(e, "resampling"))
    }
}
