//! A crew: threads that stay together through the stages of one slice, so that a stage begins and ends without the pool.
//!
//! One fork brings the helpers, each a loop on a thread of the pool. A stage posts a job of several chunks; every thread claims chunks, the
//! leader too, and the leader goes on when all are done. It waits only for chunks that a running thread has begun: helpers that come late,
//! or never, cost time and cannot stop it, whatever else the pool does.
//!
//! Life of a job. It has up to 64 shares, runs of chunks, of which `unclaimed` holds a bit each.
//! - Post: the leader writes the job and `pending`, then stores the bits (Release). The cell is its own then: it waited until no share
//!   of the job before was pending, and nobody reads the job without having a share.
//! - Claim: a thread clears a bit (Acquire); who found it set has the share, and reads the job only now. Bits are cleared by
//!   read-modify-write alone, so the claim reads from the release sequence of the post and sees its job. A thread that slept between its look
//!   and its claim takes a share of the job that is posted by then or finds the bit cleared: no share can be claimed for a job of another time,
//!   since the one that it belongs to cannot end before the share is done.
//! - Done: the thread counts `pending` down (Release). The leader reads zero (Acquire), hence sees all that was written; from then
//!   on the closure may die.

use super::bell::Bell;
use crate::cpu::part;
use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};

/// Shares of a job at the most, and threads that can be busy with it.
const SHARES: usize = u64::BITS as usize;

/// The threads that kernels share their work among; it stays with the thread that leads.
pub struct Crew<'a> {
    board: Option<&'a Board>,
    workers: usize,
    /// Neither `Send` nor `Sync`: only the leader posts, and no chunk can reach the crew that it is a part of.
    stays: PhantomData<*const ()>,
}

/// Calls `lead` with a crew of `workers`, the leader included; its helpers come from the current rayon pool, when and if they are free.
///
/// `lead` must not wait for the pool (`rayon::join`, another crew): its thread could take up the loop of a helper there, which ends with
/// that helper's crew only. The same is true of chunks.
pub fn with_crew<R: Send>(workers: usize, lead: impl FnOnce(&Crew<'_>) -> R + Send) -> R {
    if workers <= 1 {
        return lead(&Crew::alone());
    }
    let board = Board::default();
    fork(&board, 1..workers.min(SHARES), || {
        let _end = End(&board);
        lead(&Crew { board: Some(&board), workers, stays: PhantomData })
    })
}

fn fork<R: Send>(board: &Board, helpers: Range<usize>, lead: impl FnOnce() -> R + Send) -> R {
    if helpers.is_empty() {
        return lead();
    }
    let half = helpers.start + helpers.len() / 2;
    rayon::join(|| fork(board, helpers.start..half, lead), || call(board, half..helpers.end)).0
}

fn call(board: &Board, helpers: Range<usize>) {
    match helpers.len() {
        0 => {}
        1 => board.help(helpers.start),
        count => {
            let half = helpers.start + count / 2;
            rayon::join(|| call(board, helpers.start..half), || call(board, half..helpers.end));
        }
    }
}

impl Crew<'static> {
    /// One worker: everything runs right here.
    pub const fn alone() -> Self {
        Self { board: None, workers: 1, stays: PhantomData }
    }
}

impl Crew<'_> {
    /// How many parts to cut work into; fewer threads may turn up.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Calls `work` for every chunk of `0..chunks`, each once; helper h begins with chunk h where it can. A panic of a chunk goes on here
    /// after all others have ended.
    pub(crate) fn run<W: Fn(usize) + Sync>(&self, chunks: usize, work: &W) {
        match self.board {
            // SAFETY: a crew never leaves the leader's thread, and `work`, which is `Sync`, cannot hold a reference to it: one job at a time.
            Some(board) if chunks > 1 => unsafe { board.run(chunks, work) },
            _ => (0..chunks).for_each(work),
        }
    }
}

/// A closure whose type and lifetime are erased.
#[derive(Clone, Copy)]
struct Job {
    work: *const (),
    call: unsafe fn(*const (), usize),
    chunks: usize,
}

impl Job {
    fn new<W: Fn(usize) + Sync>(work: &W, chunks: usize) -> Self {
        /// # Safety
        /// `work` points to a `W` that lives.
        unsafe fn call<W: Fn(usize)>(work: *const (), chunk: usize) {
            // SAFETY: as the caller promises; `Job::new` made the pointer from a `&W`.
            unsafe { (*work.cast::<W>())(chunk) }
        }
        Self { work: std::ptr::from_ref(work).cast(), call: call::<W>, chunks }
    }

    fn shares(&self) -> usize {
        self.chunks.min(SHARES)
    }
}

impl Default for Job {
    /// Of no chunk.
    fn default() -> Self {
        Self::new(&|_| {}, 0)
    }
}

/// Cache lines of its own, with the neighbour that prefetchers fetch along.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// What a crew shares.
#[derive(Default)]
struct Board {
    posted: Line<Posted>,
    pending: Line<AtomicUsize>,
    helpers: Line<Bell>,
    leader: Line<Bell>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What helpers look at, and find in one line.
#[derive(Default)]
struct Posted {
    unclaimed: AtomicU64,
    ended: AtomicBool,
    job: UnsafeCell<Job>,
}

// SAFETY: the cell is the only part that is not `Sync` by itself. The leader writes it while no share is pending; others read it while they have a share,
// and what they call is `Sync` and alive until that share is done (see the head of this file for the order of these).
unsafe impl Sync for Posted {}

impl Board {
    /// # Safety
    /// One call at a time.
    unsafe fn run<W: Fn(usize) + Sync>(&self, chunks: usize, work: &W) {
        let (posted, job) = (&self.posted.0, Job::new(work, chunks));
        // SAFETY: the call before waited until nothing was pending, so that nobody has a share or reads the cell.
        unsafe { *posted.job.get() = job };
        self.pending.0.store(job.shares(), Relaxed);
        posted.unclaimed.store(u64::MAX >> (SHARES - job.shares()), Release);
        self.helpers.0.ring();
        self.take_shares(0);
        // Nothing above unwinds, so that `work` outlives every share.
        self.leader.0.wait(|| self.pending.0.load(Acquire) == 0);
        if let Some(payload) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(payload);
        }
    }

    /// Claims and runs shares until none is left, from share `first` on.
    fn take_shares(&self, first: usize) {
        let posted = &self.posted.0;
        loop {
            let unclaimed = posted.unclaimed.load(Relaxed);
            if unclaimed == 0 {
                return;
            }
            let share = (first + unclaimed.rotate_right(first as u32).trailing_zeros() as usize) % SHARES;
            let bit = 1 << share;
            if posted.unclaimed.fetch_and(!bit, Acquire) & bit != 0 {
                // SAFETY: the share is this thread's, and stays pending until `run_share` counts it down.
                unsafe { self.run_share(share) };
            }
        }
    }

    /// # Safety
    /// The caller has claimed the share.
    unsafe fn run_share(&self, share: usize) {
        // SAFETY: written before the bit that was claimed was set, and not again before this share is done.
        let job = unsafe { *self.posted.0.job.get() };
        let done = catch_unwind(AssertUnwindSafe(|| {
            for chunk in part(job.chunks, job.shares(), share) {
                // SAFETY: `run` keeps the closure alive until this share is done.
                unsafe { (job.call)(job.work, chunk) };
            }
        }));
        if let Err(payload) = done {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            match *first {
                None => *first = Some(payload),
                // To drop it could panic again, before the share is counted.
                Some(_) => std::mem::forget(payload),
            }
        }
        if self.pending.0.fetch_sub(1, Release) == 1 {
            self.leader.0.ring();
        }
    }

    /// Helps until the crew's end.
    fn help(&self, first: usize) {
        let posted = &self.posted.0;
        loop {
            self.take_shares(first);
            if posted.ended.load(Relaxed) {
                return;
            }
            self.helpers.0.wait(|| posted.unclaimed.load(Relaxed) != 0 || posted.ended.load(Relaxed));
        }
    }
}

/// Sends the helpers home, also when the leader panics.
struct End<'a>(&'a Board);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.posted.0.ended.store(true, Relaxed);
        self.0.helpers.0.ring();
    }
}

#[cfg(test)]
mod tests;
