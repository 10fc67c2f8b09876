//! Recorded work, ready to run.

use super::super::gpu::{Graph, Result};
use super::context::Context;
use super::modules::Modules;
use cudarc::driver::sys;
use std::fmt;
use std::sync::Arc;

/// An executable graph, with the kernels that it launches.
pub(super) struct DriverGraph {
    context: Arc<Context>,
    _modules: Arc<Modules>,
    raw: sys::CUgraphExec,
}

// SAFETY: the handle is a name for the driver, valid on every thread. The driver wants calls on one graph to come one after the other; it is
// used by `Stream::replay` of the stream it was recorded on, which is borrowed exclusively, and by `drop`.
unsafe impl Send for DriverGraph {}

impl DriverGraph {
    /// Makes a recording executable and uploads it, so that its first run costs no more than the others. Destroys the recording.
    pub(super) fn new(context: &Arc<Context>, modules: &Arc<Modules>, recorded: sys::CUgraph, stream: sys::CUstream) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle; the recording is complete.
        let made =
            context.call(|| "make recorded work executable".to_owned(), |api| unsafe { (api.graph_instantiate)(&mut raw, recorded, 0) });
        // SAFETY: what was made of the recording does not need it any more.
        context.release(|api| unsafe { (api.graph_destroy)(recorded) });
        made?;
        let graph = Self { context: Arc::clone(context), _modules: Arc::clone(modules), raw };
        // SAFETY: takes no pointers of ours; both handles are alive.
        context.call(|| "upload recorded work".to_owned(), |api| unsafe { (api.graph_upload)(raw, stream) })?;
        Ok(graph)
    }

    pub(super) fn raw(&self) -> sys::CUgraphExec {
        self.raw
    }

    pub(super) fn belongs_to(&self, context: &Arc<Context>) -> bool {
        Arc::ptr_eq(&self.context, context)
    }
}

impl Graph for DriverGraph {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Drop for DriverGraph {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once; a run in flight is finished by the driver first.
        self.context.release(|api| unsafe { (api.graph_exec_destroy)(self.raw) });
    }
}

impl fmt::Debug for DriverGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverGraph").field("context", &self.context).finish_non_exhaustive()
    }
}
