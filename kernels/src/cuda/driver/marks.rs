//! Marks of time in a stream: events of the driver, used again in turn.

use super::super::gpu::{GpuError, GpuErrorKind, Result};
use super::context::Context;
use cudarc::driver::sys;
use std::sync::Arc;

/// The newest marks of one stream; older ones are forgotten.
pub(super) struct Marks {
    context: Arc<Context>,
    events: Vec<sys::CUevent>,
    /// The number of the next mark.
    next: u32,
}

/// How many marks can be read: those of a long scan with two around every kernel.
pub(super) const KEPT: usize = 8192;

impl Marks {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, events: Vec::new(), next: 0 }
    }

    /// Queues the next mark on `stream`, which belongs to the same context.
    pub(super) fn record(&mut self, stream: sys::CUstream) -> Result<u32> {
        let what = || "mark time".to_owned();
        let slot = self.next as usize % KEPT;
        if slot == self.events.len() {
            let mut event = std::ptr::null_mut();
            // SAFETY: writes one handle; without flags the event takes the time.
            self.context.call(what, |api| unsafe { (api.event_create)(&mut event, 0) })?;
            self.events.push(event);
        }
        let event = self.events[slot];
        // SAFETY: both handles are alive.
        self.context.call(what, |api| unsafe { (api.event_record)(event, stream) })?;
        let mark = self.next;
        self.next = self.next.wrapping_add(1);
        Ok(mark)
    }

    /// Milliseconds between two marks that the device has passed.
    pub(super) fn elapsed_ms(&self, from: u32, to: u32) -> Result<f64> {
        let (first, last) = (self.event(from)?, self.event(to)?);
        let mut milliseconds = 0.0;
        // SAFETY: writes one float; both events were recorded.
        let status = |api: &super::api::Api| unsafe { (api.event_elapsed)(&mut milliseconds, first, last) };
        self.context.call(|| format!("read the time between marks {from} and {to}"), status)?;
        Ok(f64::from(milliseconds))
    }

    fn event(&self, mark: u32) -> Result<sys::CUevent> {
        let age = self.next.wrapping_sub(mark) as usize;
        if age == 0 || age > self.events.len() {
            let message = format!("{}: mark {mark} is not among the newest {KEPT} of its stream", self.context.label);
            return Err(GpuError::new(GpuErrorKind::Failed, message));
        }
        Ok(self.events[mark as usize % KEPT])
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        for event in &self.events {
            // SAFETY: made once, destroyed once; the driver lets go of it when the device has passed it.
            self.context.release(|api| unsafe { (api.event_destroy)(*event) });
        }
    }
}
