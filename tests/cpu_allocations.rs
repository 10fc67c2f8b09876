//! After the first scan a session allocates nothing: counted by an allocator of its own, so the only test of its binary.

use radnet::Config;
use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::backend::{Backend, Unobserved};
use radnet::preprocess::ScanTensor;
use radnet::weights::synthetic;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Ten more scans of whole and shared slices. One thread: no allocation at all. Several: rayon's injection queue takes a block of memory
/// for every 63 entries from outside the pool, two of which a scan makes; nothing else.
#[test]
fn steady_state_allocates_nothing() {
    let mut config = Config::densenet(&[2, 2]);
    config.input.size = [64, 48];
    let model = synthetic(&config, 1).unwrap();
    let network = &model.network;
    let slices = 5;
    let data = vec![0.25; slices * network.channels * network.input.area()];
    let scan = ScanTensor::new(data, slices, network.channels, network.input).unwrap();
    let mut pooled = vec![0.0; slices * network.slice_vector];
    let mut logits = vec![0.0; slices * network.classes];
    for (threads, allowed) in [(1, 0), (2, 1)] {
        let backend = CpuBackend::new(network, &model.weights, CpuOptions { threads, ..CpuOptions::default() }).unwrap();
        let mut session = backend.session().unwrap();
        let mut once = || {
            session.pool_slices(&scan, &Unobserved, &mut pooled, None).unwrap();
            session.classify(&pooled, &mut logits).unwrap();
        };
        once();
        let before = COUNT.load(Ordering::Relaxed);
        (0..10).for_each(|_| once());
        let allocations = COUNT.load(Ordering::Relaxed) - before;
        assert!(allocations <= allowed, "{threads} threads: {allocations} allocations in ten scans");
    }
}
