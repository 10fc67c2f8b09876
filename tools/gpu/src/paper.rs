//! A GPU on paper: it takes every launch that a device with its properties would take, notes its shape, and computes nothing. What a model's launches need of a device can so be listed on
//! a machine that has none.

use radnet_kernels::cuda::{Gpu, GpuError, GpuErrorKind, GpuProperties, Graph, Launch, Stream};
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
        Ok(Box::new(Note { noted: Arc::clone(&self.noted), properties: self.properties.clone() }))
    }
}

/// Takes down launches.
struct Note {
    noted: Noted,
    properties: GpuProperties,
}

/// Threads that a block, and blocks that a cluster, may have on any device.
const MOST_THREADS: u32 = 1024;
const MOST_BLOCKS_OF_A_CLUSTER: u32 = 8;

/// What a device would refuse, as far as its properties tell.
fn refusal(launch: &Launch<'_>, device: &GpuProperties) -> Option<String> {
    let Launch { kernel, grid, block, cluster, shared_bytes, .. } = launch;
    if *block == 0 || *block > MOST_THREADS || !block.is_multiple_of(32) {
        return Some(format!("{kernel}: a block of {block} threads"));
    }
    if *shared_bytes > device.shared_bytes_per_block {
        return Some(format!("{kernel}: {shared_bytes} bytes of shared memory of {}", device.shared_bytes_per_block));
    }
    if grid.contains(&0) || grid[1].max(grid[2]) > 65_535 {
        return Some(format!("{kernel}: a grid of {grid:?} blocks"));
    }
    let clusters = device.compute_capability >= (9, 0);
    if *cluster == 0 || *cluster > MOST_BLOCKS_OF_A_CLUSTER || (*cluster > 1 && !(clusters && grid[0].is_multiple_of(*cluster))) {
        return Some(format!("{kernel}: clusters of {cluster} of {} blocks on {}", grid[0], device.name));
    }
    None
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
        if let Some(message) = refusal(launch, &self.properties) {
            return Err(GpuError::new(GpuErrorKind::Failed, message));
        }
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
