//! A session: the memory of one scan at a time, and how a scan is shared among threads.

use super::CpuBackend;
use super::air::Marks;
use super::arena::scratch_len;
use super::planar::{Memory, Outputs, Queue, Scan};
use super::sequence::Sequence;
use crate::backend::{BackendSession, ScanMaps};
use crate::observer::Observer;
use crate::tensor::SliceSource;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::Buffer;
use radnet_kernels::parallel::Crew;
use std::sync::atomic::AtomicUsize;

/// Arenas for every thread, shared scratch for slices that several threads work on, and the buffers of the recurrence.
pub(super) struct CpuSession<'a> {
    backend: &'a CpuBackend,
    arenas: Vec<(Buffer, Marks)>,
    shared: Buffer,
    sequence: Sequence,
}

impl<'a> CpuSession<'a> {
    pub(super) fn new(backend: &'a CpuBackend) -> Result<Self> {
        let threads = backend.threads;
        let shared = match threads {
            1 => 0,
            _ => backend.program.stages.iter().map(|s| scratch_len(&s.op, backend.program.element, threads) * threads).max().unwrap_or(0),
        };
        let arena = |_| Ok((zeroed(backend.arena.plan.len())?, Marks::new(&backend.program)));
        let arenas = (0..threads).map(arena).collect::<Result<_>>()?;
        Ok(Self { backend, arenas, shared: zeroed(shared)?, sequence: Sequence::default() })
    }

    /// Whole rounds of slices are taken from a queue by every thread, so that a slower one takes fewer; what is left over (all of a scan shorter than
    /// the threads) is shared slice by slice, each by a crew.
    fn run(&mut self, scan: &Scan<'_>, mut out: Outputs<'_>) -> Result<()> {
        let backend = self.backend;
        let (slices, threads) = (scan.source.slices(), backend.threads);
        let alone = slices / threads * threads;
        {
            let (arena, marks) = &mut self.arenas[0];
            backend.prepare_air(slices, &mut Memory { arena, marks, shared: None, crew: &Crew::alone() });
        }
        let queue = Queue::new(0..alone, out.take(alone, backend.slice_vector));
        spread(backend, scan, &queue, &mut self.arenas)?;
        let (arena, marks) = &mut self.arenas[0];
        let shared = (threads > 1).then_some(&mut self.shared[..]);
        backend.run_slices(scan, &Queue::new(alone..slices, out), 1, (&mut arena[..], marks), shared)
    }
}

/// Lets every arena's thread take slices from the queue.
fn spread(backend: &CpuBackend, scan: &Scan<'_>, queue: &Queue<'_>, arenas: &mut [(Buffer, Marks)]) -> Result<()> {
    if let [(arena, marks)] = arenas {
        return backend.run_slices(scan, queue, backend.threads, (&mut arena[..], marks), None);
    }
    let (a0, a1) = arenas.split_at_mut(arenas.len() / 2);
    let (left, right) = rayon::join(|| spread(backend, scan, queue, a0), || spread(backend, scan, queue, a1));
    left.and(right)
}

impl BackendSession for CpuSession<'_> {
    fn pool_slices(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        let backend = self.backend;
        let (slices, extent) = (scan.slices(), scan.extent());
        if slices == 0 || scan.channels() != backend.channels || extent != backend.input || pooled.len() != slices * backend.slice_vector {
            let message = format!(
                "a scan of {slices} slices [{}, {}, {}] and room for {} numbers do not fit this network",
                scan.channels(),
                extent.height,
                extent.width,
                pooled.len()
            );
            return Err(Error::new(ErrorKind::Device, message));
        }
        let (mut attention, mut segmentation): (&mut [Vec<f32>], &mut [Vec<f32>]) = (&mut [], &mut []);
        if let Some(maps) = maps {
            backend.prepare_maps(slices, maps)?;
            (attention, segmentation) = (&mut maps.attention, &mut maps.segmentation);
        }
        let out = Outputs { pooled, attention, segmentation };
        let scan = Scan { source: scan, observer, done: AtomicUsize::new(0) };
        backend.install(|| self.run(&scan, out))
    }

    fn classify(&mut self, pooled: &[f32], logits: &mut [f32]) -> Result<()> {
        let backend = self.backend;
        let slices = pooled.len() / backend.slice_vector;
        if slices == 0 || pooled.len() != slices * backend.slice_vector || logits.len() != slices * backend.classes {
            let message = format!("{} pooled numbers and {} logits do not fit this network", pooled.len(), logits.len());
            return Err(Error::new(ErrorKind::Device, message));
        }
        let sequence = &mut self.sequence;
        backend.install(|| backend.run_sequence(pooled, logits, sequence));
        Ok(())
    }
}

fn zeroed(len: usize) -> Result<Buffer> {
    Buffer::zeroed(len).ok_or_else(|| Error::new(ErrorKind::OutOfMemory, format!("no memory for a buffer of {len} floats")))
}
