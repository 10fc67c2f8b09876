//! How a host watches long work and stops it.

/// What a host may watch and stop; called from worker threads.
pub trait Observer: Sync {
    /// The headers of `done` of `total` files have been read.
    fn headers_read(&self, done: usize, total: usize) {
        let _ = (done, total);
    }

    /// The pixels of `done` of `total` slices have been decoded.
    fn slices_decoded(&self, done: usize, total: usize) {
        let _ = (done, total);
    }

    /// `done` of `total` slices have been through the 2-D network.
    fn slices_done(&self, done: usize, total: usize) {
        let _ = (done, total);
    }

    /// Whether to stop with `cancelled` at the next slice.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
