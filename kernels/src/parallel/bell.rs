//! Waiting for another thread: a short spin, since most waits within a slice are shorter than a sleep and a wake, then a sleep.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicUsize, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest spin of one wait: about what a wake by the operating system costs.
const SPIN: Duration = Duration::from_micros(50);
/// Looks between two readings of the clock.
const LOOKS: usize = 32;

/// Wakes those who wait; costs a fence when nobody sleeps.
#[derive(Default)]
pub(super) struct Bell {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Returns once `ready`, which depends on atomics that another thread writes before it rings.
    ///
    /// No wake is lost. The sleeper counts itself, fences and looks; who rings has written, fences and reads the count: of two such fences one comes
    /// first, so that the look sees the write or the ring sees the count. In the second case the ring needs the lock, which the sleeper
    /// keeps from its look until it sleeps, so that the notice finds it asleep.
    pub(super) fn wait(&self, ready: impl Fn() -> bool) {
        if spin(&ready) {
            return;
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Relaxed);
        fence(SeqCst);
        while !ready() {
            lock = self.rung.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Relaxed);
    }

    /// Wakes all who sleep, after what they wait for was written.
    pub(super) fn ring(&self) {
        fence(SeqCst);
        if self.sleepers.load(Relaxed) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.rung.notify_all();
        }
    }
}

/// Whether it was ready before the spin was over. It yields between looks, so that a thread that has to run on this very processor does.
fn spin(ready: &impl Fn() -> bool) -> bool {
    let mut started = None;
    loop {
        for _ in 0..LOOKS {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if started.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return false;
        }
        std::thread::yield_now();
    }
}
