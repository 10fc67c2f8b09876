//! Work in order: launches with clusters and overlap, copies, recording, marks of time.

use super::super::gpu::{GpuError, GpuErrorKind, Graph, Launch, Result, Stream};
use super::context::Context;
use super::device::{unavailable, version_text};
use super::graph::DriverGraph;
use super::marks::Marks;
use super::modules::{Function, Modules};
use cudarc::driver::sys;
use std::sync::Arc;
use sys::CUlaunchAttributeID_enum as AttributeId;

/// A stream of the driver that does not wait for the host's default stream.
pub(super) struct DriverStream {
    context: Arc<Context>,
    modules: Arc<Modules>,
    raw: sys::CUstream,
    marks: Marks,
    capturing: bool,
}

// SAFETY: a stream handle is a name for the driver, valid on every thread; `&mut self` keeps its use to one thread at a time. Recording is
// begun in the relaxed mode, which may end on another thread.
unsafe impl Send for DriverStream {}

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;
/// Drivers below this (CUDA 12.3) cannot record launches that overlap.
const RECORDS_OVERLAP: u32 = 12_030;
/// What code must be for, for clusters and overlapping launches.
const HOPPER: (u32, u32) = (9, 0);

impl DriverStream {
    pub(super) fn new(context: &Arc<Context>, modules: &Arc<Modules>) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle.
        context.call(|| "make a stream".to_owned(), |api| unsafe { (api.stream_create)(&mut raw, NON_BLOCKING) })?;
        let marks = Marks::new(Arc::clone(context));
        Ok(Self { context: Arc::clone(context), modules: Arc::clone(modules), raw, marks, capturing: false })
    }

    /// Why a launch cannot be, before the driver would say it in fewer words.
    fn check(&self, launch: &Launch<'_>, function: &Function) -> Result<()> {
        let refused = |why: String| Err(GpuError::new(GpuErrorKind::Failed, format!("{}: {}: {why}", self.context.label, launch.kernel)));
        if launch.grid.contains(&0) || launch.block == 0 || launch.cluster == 0 {
            return refused(format!("a launch of {:?} blocks of {} threads in clusters of {}", launch.grid, launch.block, launch.cluster));
        }
        if !launch.grid[0].is_multiple_of(launch.cluster) {
            return refused(format!("{} blocks are not whole clusters of {}", launch.grid[0], launch.cluster));
        }
        if launch.shared_bytes > function.shared_limit {
            return refused(format!("{} bytes of shared memory, and a block has {}", launch.shared_bytes, function.shared_limit));
        }
        match function.argument_bytes {
            Some(bytes) if bytes != launch.arguments.len() => refused(format!(
                "{} bytes of arguments, and the kernel in the image for {} takes {bytes}",
                launch.arguments.len(),
                function.target
            )),
            _ => Ok(()),
        }
    }

    /// Clusters and overlap, as the driver takes them.
    fn attributes(&self, launch: &Launch<'_>, function: &Function) -> Result<Vec<sys::CUlaunchAttribute>> {
        let mut attributes = Vec::new();
        // Not the device: code for older ones neither joins its cluster nor waits for the launch before it.
        let hopper = function.capability >= HOPPER;
        if launch.cluster > 1 {
            if !hopper {
                let (label, kernel, target) = (&self.context.label, launch.kernel, function.target);
                let message =
                    format!("{label}: {kernel} needs clusters, which begin with compute capability 9.0, and its code is for {target}");
                return Err(unavailable(message));
            }
            let size = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: launch.cluster, y: 1, z: 1 };
            let value = sys::CUlaunchAttributeValue { clusterDim: size };
            attributes.push(attribute(AttributeId::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value));
        }
        // An overlap is leave, not a demand: without it, launches wait for each other.
        if launch.overlaps && hopper && (!self.capturing || self.context.driver >= RECORDS_OVERLAP) {
            let value = sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 };
            attributes.push(attribute(AttributeId::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, value));
        }
        Ok(attributes)
    }

    fn not_while_recording(&self, what: &str) -> Result<()> {
        let refused = || GpuError::new(GpuErrorKind::Failed, format!("{}: could not {what} while work is recorded", self.context.label));
        if self.capturing { Err(refused()) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<sys::CUgraph> {
        self.capturing = false;
        let mut graph = std::ptr::null_mut();
        // SAFETY: writes one handle; the stream is this one's own.
        self.context.call(|| "record work".to_owned(), |api| unsafe { (api.capture_end)(self.raw, &mut graph) })?;
        if graph.is_null() {
            return Err(GpuError::new(GpuErrorKind::Failed, format!("{}: nothing was recorded", self.context.label)));
        }
        Ok(graph)
    }
}

fn attribute(id: AttributeId, value: sys::CUlaunchAttributeValue) -> sys::CUlaunchAttribute {
    sys::CUlaunchAttribute { id, pad: [0; 4], value }
}

impl Stream for DriverStream {
    unsafe fn launch(&mut self, launch: &Launch<'_>) -> Result<()> {
        let function = self.modules.function(launch.kernel)?;
        self.check(launch, &function)?;
        let mut attributes = self.attributes(launch, &function)?;
        let config = sys::CUlaunchConfig {
            gridDimX: launch.grid[0],
            gridDimY: launch.grid[1],
            gridDimZ: launch.grid[2],
            blockDimX: launch.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: launch.shared_bytes,
            hStream: self.raw,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let mut parameters = [launch.arguments.as_ptr().cast_mut().cast()];
        let what = || {
            format!("launch {} ({:?} blocks of {} threads, {} bytes shared)", launch.kernel, launch.grid, launch.block, launch.shared_bytes)
        };
        // SAFETY: the driver reads the attributes and the one parameter, which is the kernel's own struct as the caller promises, before it
        // returns; the caller answers for the addresses in it.
        self.context.call(what, |api| unsafe { (api.launch)(&config, function.raw, parameters.as_mut_ptr(), std::ptr::null_mut()) })
    }

    unsafe fn upload(&mut self, to: u64, from: *const u8, bytes: usize) -> Result<()> {
        // SAFETY: the caller answers for both ranges until the stream is done.
        self.context.call(|| format!("upload {bytes} bytes"), |api| unsafe { (api.copy_to_device)(to, from.cast(), bytes, self.raw) })
    }

    unsafe fn download(&mut self, to: *mut u8, from: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller answers for both ranges until the stream is done.
        self.context.call(|| format!("download {bytes} bytes"), |api| unsafe { (api.copy_to_host)(to.cast(), from, bytes, self.raw) })
    }

    unsafe fn clear(&mut self, to: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller answers for the range until the stream is done.
        self.context.call(|| format!("clear {bytes} bytes"), |api| unsafe { (api.fill)(to, 0, bytes, self.raw) })
    }

    fn synchronize(&mut self) -> Result<()> {
        self.not_while_recording("wait")?;
        // SAFETY: takes no pointers; the stream is this one's own.
        self.context.call(|| "wait for its work".to_owned(), |api| unsafe { (api.stream_synchronize)(self.raw) })
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.not_while_recording("record")?;
        // Relaxed: other threads go on allocating and loading meanwhile, and the recording may end on another thread than this.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: takes no pointers; the stream is this one's own.
        self.context.call(|| "begin to record".to_owned(), |api| unsafe { (api.capture_begin)(self.raw, mode) })?;
        self.capturing = true;
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Box<dyn Graph>> {
        if !self.capturing {
            return Err(GpuError::new(GpuErrorKind::Failed, format!("{}: no recording was begun", self.context.label)));
        }
        let recorded = self.end()?;
        Ok(Box::new(DriverGraph::new(&self.context, &self.modules, recorded, self.raw)?))
    }

    unsafe fn replay(&mut self, graph: &dyn Graph) -> Result<()> {
        let graph = graph.as_any().downcast_ref::<DriverGraph>().filter(|graph| graph.belongs_to(&self.context));
        let Some(graph) = graph else {
            return Err(GpuError::new(GpuErrorKind::Failed, format!("{}: the recording is another device's", self.context.label)));
        };
        // SAFETY: the graph lives as long as this call, and work in flight keeps what it needs of it; the caller answers for the addresses.
        self.context.call(|| "run recorded work".to_owned(), |api| unsafe { (api.graph_launch)(graph.raw(), self.raw) })
    }

    fn mark(&mut self) -> Result<u32> {
        self.not_while_recording("mark time")?;
        self.marks.record(self.raw)
    }

    fn elapsed_ms(&mut self, from: u32, to: u32) -> Result<Option<f64>> {
        self.marks.elapsed_ms(from, to).map(Some)
    }
}

impl Drop for DriverStream {
    fn drop(&mut self) {
        if self.capturing
            && let Ok(graph) = self.end()
        {
            // SAFETY: the recording was ended just now and nothing was made of it.
            self.context.release(|api| unsafe { (api.graph_destroy)(graph) });
        }
        // SAFETY: made once, destroyed once; the driver finishes what is queued by itself.
        self.context.release(|api| unsafe { (api.stream_destroy)(self.raw) });
    }
}

impl std::fmt::Debug for DriverStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let driver = version_text(self.context.driver);
        f.debug_struct("DriverStream").field("context", &self.context).field("driver", &driver).finish_non_exhaustive()
    }
}
