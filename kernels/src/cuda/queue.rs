//! A stream with the memory it works on, safe to use: host memory is only seen while the queue is idle, and what a recording names lives as
//! long as the recording.

use super::gpu::{DeviceMemory, Gpu, GpuError, GpuErrorKind, Graph, Result, Span, Stream};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Work in order on one device.
pub struct Queue {
    stream: Box<dyn Stream>,
    gpu: Arc<dyn Gpu>,
    id: u64,
}

/// Proof that a queue has nothing left to do, for as long as it is held.
pub struct Idle<'q> {
    queue: u64,
    held: std::marker::PhantomData<&'q mut Queue>,
}

/// Pinned host memory of one queue.
pub struct Pinned {
    gpu: Arc<dyn Gpu>,
    address: *mut u8,
    bytes: usize,
    queue: u64,
}

// SAFETY: the memory belongs to this value alone; the device touches it only through its queue, and the host only with that queue's `Idle`.
unsafe impl Send for Pinned {}
// SAFETY: a shared reference gives the bytes away only with `Idle`, and then only for reading.
unsafe impl Sync for Pinned {}

/// Recorded work with everything it names.
pub struct Recorded {
    graph: Box<dyn Graph>,
    queue: u64,
    _memory: Vec<Arc<DeviceMemory>>,
    _pinned: Vec<Arc<Pinned>>,
}

impl Queue {
    /// A queue of its own.
    ///
    /// # Errors
    /// `Failed`.
    pub fn new(gpu: &Arc<dyn Gpu>) -> Result<Self> {
        Ok(Self { stream: gpu.stream()?, gpu: Arc::clone(gpu), id: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    /// Where kernels are launched. What they use must outlive the work: memory is freed only after the device has finished.
    pub fn stream(&mut self) -> &mut dyn Stream {
        &mut *self.stream
    }

    /// Zeroed host memory for this queue's copies.
    ///
    /// # Errors
    /// `OutOfMemory`, `Failed`.
    pub fn pinned(&self, bytes: usize) -> Result<Pinned> {
        let bytes = bytes.max(1);
        let address = self.gpu.allocate_pinned(bytes)?;
        // SAFETY: `allocate_pinned` gave `bytes` bytes, which nothing else knows of yet.
        unsafe { address.write_bytes(0, bytes) };
        Ok(Pinned { gpu: Arc::clone(&self.gpu), address, bytes, queue: self.id })
    }

    /// Queues a copy of as many bytes as `to` has, from byte `at` of `from` on.
    ///
    /// # Errors
    /// `Failed` when `from` is another queue's or too short.
    pub fn upload(&mut self, to: Span<'_>, from: &Pinned, at: usize) -> Result<()> {
        let source = from.range(self.id, at, to.bytes())?;
        // SAFETY: both ranges were checked; the pinned memory is freed only after this queue's device is done with it (`Drop`), and the host
        // writes it only with proof that the queue is idle.
        unsafe { self.stream.upload(to.address(), source, to.bytes()) }
    }

    /// Queues a copy of all of `from` to byte `at` of `to`.
    ///
    /// # Errors
    /// `Failed` when `to` is another queue's or too short.
    pub fn download(&mut self, to: &Pinned, at: usize, from: Span<'_>) -> Result<()> {
        let target = to.range(self.id, at, from.bytes())?;
        // SAFETY: as in `upload`; the host reads the memory only with proof that the queue is idle.
        unsafe { self.stream.download(target, from.address(), from.bytes()) }
    }

    /// Queues zeros over all of `to`.
    ///
    /// # Errors
    /// `Failed`.
    pub fn clear(&mut self, to: Span<'_>) -> Result<()> {
        // SAFETY: the span lies in live device memory, which is freed only after the device is done.
        unsafe { self.stream.clear(to.address(), to.bytes()) }
    }

    /// Records what `work` queues instead of running it. `memory` and `pinned` are everything that the work names.
    ///
    /// # Errors
    /// What `work` returns, and `Failed`.
    pub fn record<E: From<GpuError>>(
        &mut self,
        memory: Vec<Arc<DeviceMemory>>,
        pinned: Vec<Arc<Pinned>>,
        work: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<Recorded, E> {
        self.stream.begin_capture()?;
        let worked = work(self);
        let graph = self.stream.end_capture();
        worked?;
        Ok(Recorded { graph: graph?, queue: self.id, _memory: memory, _pinned: pinned })
    }

    /// Queues a recording of this queue.
    ///
    /// # Errors
    /// `Failed` when the recording is another queue's.
    pub fn replay(&mut self, recorded: &Recorded) -> Result<()> {
        if recorded.queue != self.id {
            return Err(GpuError::new(GpuErrorKind::Failed, "a recording belongs to another queue"));
        }
        // SAFETY: the recording keeps what it names alive, and was made from checked copies and launches on this stream.
        unsafe { self.stream.replay(&*recorded.graph) }
    }

    /// Waits for everything queued.
    ///
    /// # Errors
    /// `Failed`: what a kernel did wrong is often reported here.
    pub fn finish(&mut self) -> Result<Idle<'_>> {
        self.stream.synchronize()?;
        Ok(Idle { queue: self.id, held: std::marker::PhantomData })
    }

    /// Queues a mark of time.
    ///
    /// # Errors
    /// `Failed`.
    pub fn mark(&mut self) -> Result<u32> {
        self.stream.mark()
    }

    /// Milliseconds of device time between two marks of finished work; none where the device has no clock.
    ///
    /// # Errors
    /// `Failed`.
    pub fn elapsed_ms(&mut self, from: u32, to: u32) -> Result<Option<f64>> {
        self.stream.elapsed_ms(from, to)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Memory that the host frees next must not be in use; a device that failed has stopped using it too.
        let _ = self.stream.synchronize();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("id", &self.id).field("gpu", &self.gpu).finish_non_exhaustive()
    }
}

impl Pinned {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none, which never happens.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn range(&self, queue: u64, at: usize, bytes: usize) -> Result<*mut u8> {
        if queue != self.queue || at.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            let message =
                format!("bytes {at} to {} of {} pinned bytes cannot be copied by this queue", at.saturating_add(bytes), self.bytes);
            return Err(GpuError::new(GpuErrorKind::Failed, message));
        }
        // SAFETY: `at` is inside the allocation.
        Ok(unsafe { self.address.add(at) })
    }

    fn owned_by(&self, idle: &Idle<'_>) -> Result<()> {
        match idle.queue == self.queue {
            true => Ok(()),
            false => Err(GpuError::new(GpuErrorKind::Failed, "pinned memory belongs to another queue")),
        }
    }

    /// What the device or the host wrote.
    ///
    /// # Errors
    /// `Failed` with another queue's proof.
    pub fn read<'a>(&'a self, idle: &'a Idle<'_>) -> Result<&'a [u8]> {
        self.owned_by(idle)?;
        // SAFETY: the queue that may write here is idle while the slice lives, and the host writes only with the proof
        // borrowed exclusively.
        Ok(unsafe { std::slice::from_raw_parts(self.address, self.bytes) })
    }

    /// For the host to write.
    ///
    /// # Errors
    /// `Failed` with another queue's proof.
    #[allow(clippy::mut_from_ref, reason = "the proof is borrowed exclusively, so no other slice of this queue's memory lives")]
    pub fn write<'a>(&'a self, idle: &'a mut Idle<'_>) -> Result<&'a mut [u8]> {
        self.owned_by(idle)?;
        // SAFETY: the queue that may read or write here is idle while the slice lives, and the exclusive borrow of its
        // proof excludes other slices of its memory.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.address, self.bytes) })
    }

    /// Floats, as many as fit, for the host to write.
    ///
    /// # Errors
    /// `Failed` with another queue's proof.
    #[allow(clippy::mut_from_ref, reason = "as in `write`")]
    pub fn write_floats<'a>(&'a self, idle: &'a mut Idle<'_>) -> Result<&'a mut [f32]> {
        self.owned_by(idle)?;
        // SAFETY: as in `write`; pinned memory is 64-byte aligned and holds initialised bytes, and every pattern is a float.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.address.cast(), self.bytes / 4) })
    }

    /// Floats, as many as fit.
    ///
    /// # Errors
    /// `Failed` with another queue's proof.
    pub fn read_floats<'a>(&'a self, idle: &'a Idle<'_>) -> Result<&'a [f32]> {
        self.owned_by(idle)?;
        // SAFETY: as in `read`; pinned memory is 64-byte aligned and holds initialised bytes, and every pattern is a float.
        Ok(unsafe { std::slice::from_raw_parts(self.address.cast(), self.bytes / 4) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the address came from this device's `allocate_pinned` and is freed only here. The driver finishes work that uses pinned
        // memory before it frees it.
        unsafe { self.gpu.free_pinned(self.address) }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("bytes", &self.bytes).field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("graph", &self.graph).finish_non_exhaustive()
    }
}
