//! A stream keeps its work until someone waits for it, so that a host that does not wait sees what it would on a device: nothing yet.

use crate::device::Shared;
use crate::failed;
use crate::operation::{Operation, RecordedLaunch};
use radnet_kernels::cuda::gpu::Result;
use radnet_kernels::cuda::{GpuError, Graph, Launch, Stream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Queued work, and the error that ended a queue.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    operations: Vec<Operation>,
    error: Option<GpuError>,
}

impl Pending {
    /// Does everything queued; after an error nothing runs any more, as in a lost context.
    pub(crate) fn finish(&mut self, shared: &Shared) {
        let operations = std::mem::take(&mut self.operations);
        let mut left = operations.as_slice();
        while let [first, rest @ ..] = left
            && self.error.is_none()
        {
            // SAFETY: whoever queued the two promised that their addresses are valid until the stream is done, and it has not been until now.
            let overlapped = rest.first().and_then(|second| unsafe { Operation::run_overlapped(first, second, shared) });
            left = if overlapped.is_some() { &rest[1..] } else { rest };
            // SAFETY: as above.
            self.error = overlapped.unwrap_or_else(|| unsafe { first.run(shared) }).err();
        }
    }
}

/// A stream of an emulated device.
pub(crate) struct EmulatedStream {
    shared: Arc<Shared>,
    pending: Arc<Mutex<Pending>>,
    recording: Option<Vec<Operation>>,
    marks: u32,
}

/// Recorded work.
#[derive(Debug)]
struct EmulatedGraph {
    operations: Vec<Operation>,
    shared: Arc<Shared>,
}

impl EmulatedStream {
    pub(crate) fn new(shared: Arc<Shared>, pending: Arc<Mutex<Pending>>) -> Self {
        Self { shared, pending, recording: None, marks: 0 }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&mut self, operation: Operation) -> Result<()> {
        if let Some(recording) = &mut self.recording {
            recording.push(operation);
            return Ok(());
        }
        let mut pending = self.pending();
        if let Some(error) = &pending.error {
            return Err(error.clone());
        }
        pending.operations.push(operation);
        Ok(())
    }
}

impl Stream for EmulatedStream {
    unsafe fn launch(&mut self, launch: &Launch<'_>) -> Result<()> {
        let launch = RecordedLaunch::new(&self.shared, launch)?;
        self.queue(Operation::Launch(launch))
    }

    unsafe fn upload(&mut self, to: u64, from: *const u8, bytes: usize) -> Result<()> {
        self.queue(Operation::Upload { to, from: from as u64, bytes })
    }

    unsafe fn download(&mut self, to: *mut u8, from: u64, bytes: usize) -> Result<()> {
        self.queue(Operation::Download { to: to as u64, from, bytes })
    }

    unsafe fn clear(&mut self, to: u64, bytes: usize) -> Result<()> {
        self.queue(Operation::Clear { to, bytes })
    }

    fn synchronize(&mut self) -> Result<()> {
        if self.recording.is_some() {
            return Err(failed("a stream cannot be waited for while it records"));
        }
        let mut pending = self.pending();
        pending.finish(&self.shared);
        pending.error.clone().map_or(Ok(()), Err)
    }

    fn begin_capture(&mut self) -> Result<()> {
        if self.recording.is_some() {
            return Err(failed("the stream records already"));
        }
        self.recording = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Box<dyn Graph>> {
        match self.recording.take() {
            Some(operations) => Ok(Box::new(EmulatedGraph { operations, shared: Arc::clone(&self.shared) })),
            None => Err(failed("the stream does not record")),
        }
    }

    unsafe fn replay(&mut self, graph: &dyn Graph) -> Result<()> {
        let graph = graph.as_any().downcast_ref::<EmulatedGraph>().filter(|graph| Arc::ptr_eq(&graph.shared, &self.shared));
        let graph = graph.ok_or_else(|| failed("the graph was recorded on another device"))?;
        if self.recording.is_some() {
            return Err(failed("a graph cannot be queued while the stream records"));
        }
        graph.operations.iter().try_for_each(|operation| self.queue(operation.clone()))
    }

    fn mark(&mut self) -> Result<u32> {
        self.marks += 1;
        Ok(self.marks - 1)
    }

    fn elapsed_ms(&mut self, from: u32, to: u32) -> Result<Option<f64>> {
        if from.max(to) >= self.marks {
            return Err(failed(format!("there are {} marks, and none numbered {}", self.marks, from.max(to))));
        }
        Ok(None)
    }
}

impl Graph for EmulatedGraph {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
