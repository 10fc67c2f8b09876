//! A GPU on paper: it takes every launch, notes its shape, and computes nothing. What a model's launches need of a device can so be listed on
//! a machine that has none.

use radnet_kernels::cuda::{Gpu, GpuProperties, Graph, Launch, Stream};
use serde::Serialize;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Result<T> = radnet_kernels::cuda::gpu::Result<T>;

/// The largest launches of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Largest {
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Blocks of a cluster.
    pub cluster: u32,
    /// Blocks.
    pub blocks: u64,
}

type Noted = Arc<Mutex<BTreeMap<&'static str, Largest>>>;

/// A device that exists on paper.
#[derive(Debug)]
pub struct Paper {
    properties: GpuProperties,
    next: AtomicU64,
    pinned: Mutex<HashMap<usize, Vec<Line>>>,
    noted: Noted,
}

/// Pinned memory is made of lines, so that it is aligned as the trait says.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "only its address is used")] [u8; 64]);

/// Devices begin allocations at multiples of this.
const ALIGNMENT: u64 = 256;

impl Paper {
    /// A device with these properties.
    pub fn new(properties: GpuProperties) -> Self {
        Self { properties, next: AtomicU64::new(ALIGNMENT), pinned: Mutex::default(), noted: Noted::default() }
    }

    /// The largest launches so far, by kernel.
    pub fn launches(&self) -> BTreeMap<&'static str, Largest> {
        lock(&self.noted).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu for Paper {
    fn properties(&self) -> &GpuProperties {
        &self.properties
    }

    fn label(&self) -> String {
        "paper".to_owned()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        Ok(self.next.fetch_add((bytes as u64).next_multiple_of(ALIGNMENT), Ordering::Relaxed))
    }

    unsafe fn free(&self, _address: u64) {}

    fn allocate_pinned(&self, bytes: usize) -> Result<*mut u8> {
        let mut lines = vec![Line([0; 64]); bytes.div_ceil(64).max(1)];
        let address = lines.as_mut_ptr().cast::<u8>();
        lock(&self.pinned).insert(address as usize, lines);
        Ok(address)
    }

    unsafe fn free_pinned(&self, address: *mut u8) {
        lock(&self.pinned).remove(&(address as usize));
    }

    fn stream(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(Note { noted: Arc::clone(&self.noted) }))
    }
}

/// Takes down launches.
struct Note {
    noted: Noted,
}

#[derive(Debug)]
struct Nothing;

impl Graph for Nothing {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Stream for Note {
    unsafe fn launch(&mut self, launch: &Launch<'_>) -> Result<()> {
        let mut noted = lock(&self.noted);
        let largest = noted.entry(launch.kernel).or_default();
        largest.block = largest.block.max(launch.block);
        largest.shared_bytes = largest.shared_bytes.max(launch.shared_bytes);
        largest.cluster = largest.cluster.max(launch.cluster);
        largest.blocks = largest.blocks.max(launch.grid.iter().map(|&n| u64::from(n)).product());
        Ok(())
    }

    unsafe fn upload(&mut self, _to: u64, _from: *const u8, _bytes: usize) -> Result<()> {
        Ok(())
    }

    unsafe fn download(&mut self, _to: *mut u8, _from: u64, _bytes: usize) -> Result<()> {
        Ok(())
    }

    unsafe fn clear(&mut self, _to: u64, _bytes: usize) -> Result<()> {
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn begin_capture(&mut self) -> Result<()> {
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Box<dyn Graph>> {
        Ok(Box::new(Nothing))
    }

    unsafe fn replay(&mut self, _graph: &dyn Graph) -> Result<()> {
        Ok(())
    }

    fn mark(&mut self) -> Result<u32> {
        Ok(0)
    }

    fn elapsed_ms(&mut self, _from: u32, _to: u32) -> Result<Option<f64>> {
        Ok(None)
    }
}
