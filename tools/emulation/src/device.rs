//! The device: its properties, its memory, and the queues of its streams.

use crate::foreign::{Memory, Space};
use crate::stream::{EmulatedStream, Pending};
use crate::{Options, failed};
use radnet_kernels::cuda::gpu::Result;
use radnet_kernels::cuda::{Gpu, GpuError, GpuErrorKind, GpuProperties, Stream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// An emulated device.
#[derive(Debug)]
pub struct Emulation {
    shared: Arc<Shared>,
}

/// What a device and its streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) properties: GpuProperties,
    pub(crate) memory: Memory,
    pub(crate) threads: u32,
    seeds: AtomicU64,
    allocated: Mutex<HashMap<u64, usize>>,
    streams: Mutex<Vec<Weak<Mutex<Pending>>>>,
}

impl Emulation {
    /// A device.
    ///
    /// # Errors
    /// `Unavailable` when there was no C++ compiler at build time, or for a compute capability that is not emulated; `OutOfMemory`.
    pub fn new(options: Options) -> Result<Arc<Self>> {
        let (major, minor) = options.compute_capability;
        if !matches!((major, minor), (8, 0) | (9, 0)) {
            let message = format!("compute capability {major}.{minor} is not emulated, only 8.0 and 9.0");
            return Err(GpuError::new(GpuErrorKind::Unavailable, message));
        }
        let properties = GpuProperties {
            name: format!("emulated sm_{major}{minor}"),
            compute_capability: options.compute_capability,
            multiprocessors: 4,
            shared_bytes_per_block: options.shared_bytes_per_block,
            shared_bytes_per_multiprocessor: options.shared_bytes_per_block + 1024,
            memory_bytes: options.memory_bytes,
        };
        let shared = Shared {
            properties,
            memory: Memory::new()?,
            threads: options.threads.max(1),
            seeds: AtomicU64::new(options.seed.wrapping_mul(0x2545_f491_4f6c_dd1d)),
            allocated: Mutex::default(),
            streams: Mutex::default(),
        };
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    fn take(&self, bytes: usize, space: Space) -> Result<*mut u8> {
        let mut allocated = self.shared.allocated.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use: u64 = allocated.values().map(|&bytes| bytes as u64).sum();
        let fits = in_use.checked_add(bytes as u64).is_some_and(|sum| sum <= self.shared.properties.memory_bytes);
        let address = if fits { self.shared.memory.allocate(bytes, space) } else { std::ptr::null_mut() };
        if address.is_null() {
            let message = format!("{bytes} bytes do not fit beside the {in_use} of {} in use", self.shared.properties.memory_bytes);
            return Err(GpuError::new(GpuErrorKind::OutOfMemory, message));
        }
        allocated.insert(address as u64, bytes);
        Ok(address)
    }

    /// As the driver does, waits for everything queued, since it may use the memory.
    fn give_back(&self, address: u64, space: Space) {
        self.shared.finish_all();
        self.shared.allocated.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        let freed = self.shared.memory.free(address, space);
        // A host that frees the wrong memory, and a kernel that wrote past it: nothing that a test may go on after.
        if let Err(message) = freed
            && !std::thread::panicking()
        {
            panic!("{message}");
        }
    }
}

impl Shared {
    /// A seed for the next launch.
    pub(crate) fn next_seed(&self) -> u64 {
        self.seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// Refuses a range that does not lie in one live allocation.
    pub(crate) fn check(&self, what: &str, address: u64, bytes: usize, space: Space) -> Result<()> {
        if bytes == 0 || self.memory.holds(address, bytes, space) {
            return Ok(());
        }
        let memory = if space == Space::Pinned { "pinned" } else { "device" };
        Err(failed(format!("{what} {bytes} bytes at {address:#x}, which is not within an allocation of {memory} memory")))
    }

    fn finish_all(&self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.strong_count() > 0);
        let live: Vec<_> = streams.iter().filter_map(Weak::upgrade).collect();
        drop(streams);
        for stream in live {
            stream.lock().unwrap_or_else(PoisonError::into_inner).finish(self);
        }
    }
}

impl Gpu for Emulation {
    fn properties(&self) -> &GpuProperties {
        &self.shared.properties
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.take(bytes, Space::Global).map(|address| address as u64)
    }

    unsafe fn free(&self, address: u64) {
        self.give_back(address, Space::Global);
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<*mut u8> {
        self.take(bytes, Space::Pinned)
    }

    unsafe fn free_pinned(&self, address: *mut u8) {
        self.give_back(address as u64, Space::Pinned);
    }

    fn stream(&self) -> Result<Box<dyn Stream>> {
        let pending = Arc::new(Mutex::new(Pending::default()));
        self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&pending));
        Ok(Box::new(EmulatedStream::new(Arc::clone(&self.shared), pending)))
    }
}
