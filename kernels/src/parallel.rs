//! Fork-join over the pool that the caller is in, without allocation, and the one shared view that its workers write through.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Calls `work(i, chunk i)` for every chunk of `chunk` items, in parallel: by the [`team`] that this thread leads, else on the current rayon pool; one
/// chunk at the least runs right here.
pub(crate) fn over_chunks<T: Send>(items: &mut [T], chunk: usize, work: &(impl Fn(usize, &mut [T]) + Sync)) {
    let count = items.len() / chunk.max(1);
    match LED.get() {
        Some(team) if count > 1 => {
            let items = SharedMut::new(items);
            let part = |i: usize| {
                // SAFETY: chunk i lies inside the items, and no two parts have one chunk.
                work(i, unsafe { std::slice::from_raw_parts_mut(items.at(i * chunk), chunk) });
            };
            // SAFETY: the leader of a team holds it until it leads no more.
            unsafe { team.as_ref() }.run(count, &part);
        }
        _ => split(items, chunk, 0, count, work),
    }
}

fn split<T: Send>(items: &mut [T], chunk: usize, first: usize, count: usize, work: &(impl Fn(usize, &mut [T]) + Sync)) {
    match count {
        0 => {}
        1 => work(first, &mut items[..chunk]),
        _ => {
            let half = count / 2;
            let (left, right) = items.split_at_mut(half * chunk);
            rayon::join(|| split(left, chunk, first, half, work), || split(right, chunk, first + half, count - half, work));
        }
    }
}

/// A slice that several workers read and write at once; each promises not to touch what another writes.
pub(crate) struct SharedMut<'a, T = f32> {
    start: *mut T,
    slice: PhantomData<&'a mut [T]>,
}

impl<T> Clone for SharedMut<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedMut<'_, T> {}

// SAFETY: it is only a pointer; every use is an unsafe block whose argument says why workers do not meet.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Borrows the slice until the last copy is gone.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), slice: PhantomData }
    }

    /// Pointer to item `offset`.
    ///
    /// # Safety
    /// `offset` lies inside the slice.
    #[inline(always)]
    pub(crate) unsafe fn at(self, offset: usize) -> *mut T {
        // SAFETY: inside the slice, by the caller's promise.
        unsafe { self.start.add(offset) }
    }
}

thread_local! {
    /// The team whose leader this thread is.
    static LED: Cell<Option<NonNull<Team>>> = const { Cell::new(None) };
}

/// Runs `lead` with `threads - 1` assistants from the current rayon pool, as far as it has threads to spare: what `lead` gives to
/// `over_chunks` they take parts of at once, without being woken for it. Between parts they look for the next one, which is why this is for work whose
/// pieces follow each other within microseconds; they end with `lead`. A part that no assistant takes the leader computes itself.
///
/// # Panics
/// When `lead` or a part does.
pub fn team<R: Send>(threads: usize, lead: impl FnOnce() -> R + Send) -> R {
    if threads <= 1 {
        return lead();
    }
    let team = Team::default();
    let shared = &team;
    let lead = move || {
        let _led = Led::new(shared);
        lead()
    };
    rayon::join(lead, || assist(shared, threads - 1)).0
}

/// `count` assistants.
fn assist(team: &Team, count: usize) {
    match count {
        1 => team.assist(),
        _ => {
            rayon::join(|| assist(team, count / 2), || assist(team, count - count / 2));
        }
    }
}

/// Marks the thread as a team's leader, and sends the assistants home in the end, whatever that is.
struct Led<'a>(&'a Team, Option<NonNull<Team>>);

impl<'a> Led<'a> {
    fn new(team: &'a Team) -> Self {
        team.leader.store(this_thread(), Ordering::Relaxed);
        Self(team, LED.replace(Some(NonNull::from(team))))
    }
}

impl Drop for Led<'_> {
    fn drop(&mut self) {
        LED.set(self.1);
        self.0.ended.store(true, Ordering::Release);
    }
}

/// A job's parts: its address and what calls it.
#[derive(Clone, Copy)]
struct Job {
    work: *const (),
    call: unsafe fn(*const (), usize),
}

/// A leader's current job and its assistants.
///
/// A ticket holds the number of the job, the parts that nobody has taken yet and how many there are. Whoever takes a part exchanges the whole ticket, so that
/// it belongs to the job that was read, and the leader writes the next job only when no part of this one is left.
#[derive(Default)]
struct Team {
    job: UnsafeCell<Option<Job>>,
    ticket: AtomicU64,
    unfinished: AtomicUsize,
    panicked: AtomicBool,
    ended: AtomicBool,
    leader: AtomicUsize,
}

// SAFETY: the one cell is written by the leader alone, while nobody holds a part and before a ticket is published, and read by holders of a part.
unsafe impl Sync for Team {}

impl Team {
    /// Runs `work(0..count)` on whoever is there. Leader only.
    fn run<W: Fn(usize) + Sync>(&self, count: usize, work: &W) {
        /// # Safety
        /// `work` is the address of a `W` that outlives the call.
        unsafe fn call<W: Fn(usize)>(work: *const (), part: usize) {
            // SAFETY: by the caller's promise.
            unsafe { (*work.cast::<W>())(part) }
        }
        // SAFETY: no part is unfinished, so nobody reads the cell.
        unsafe { *self.job.get() = Some(Job { work: std::ptr::from_ref(work).cast(), call: call::<W> }) };
        self.unfinished.store(count, Ordering::Relaxed);
        let number = (self.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.ticket.store(number << 32 | count as u64, Ordering::Release);
        {
            let _until_all_have_ended = Running(self);
            while self.take_part() {}
        }
        assert!(!self.panicked.load(Ordering::Relaxed), "a part of a kernel panicked on another thread");
    }

    /// Computes a part, if there is one.
    fn take_part(&self) -> bool {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        loop {
            let left = ticket & u64::from(u32::MAX);
            if left == 0 {
                return false;
            }
            match self.ticket.compare_exchange_weak(ticket, ticket - 1, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    let part = Part(self);
                    // SAFETY: this part is unfinished, so the job is the ticket's and its work is alive.
                    if let Some(Job { work, call }) = unsafe { *self.job.get() } {
                        // SAFETY: as above.
                        unsafe { call(work, left as usize - 1) };
                    }
                    drop(part);
                    return true;
                }
                Err(now) => ticket = now,
            }
        }
    }

    fn assist(&self) {
        // A leader that waits for other work of its pool may come upon its own assistant, which would wait for it.
        if self.leader.load(Ordering::Relaxed) == this_thread() {
            return;
        }
        let mut waited = 0;
        while !self.ended.load(Ordering::Acquire) {
            match self.take_part() {
                true => waited = 0,
                false => pause(&mut waited),
            }
        }
    }
}

/// A job that is being computed: it takes back the parts that nobody has begun, of which there are some only where one panicked, and waits for the others.
struct Running<'a>(&'a Team);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let left = self.0.ticket.fetch_and(!u64::from(u32::MAX), Ordering::AcqRel) & u64::from(u32::MAX);
        self.0.unfinished.fetch_sub(left as usize, Ordering::Relaxed);
        let mut waited = 0;
        while self.0.unfinished.load(Ordering::Acquire) > 0 {
            pause(&mut waited);
        }
    }
}

/// A part that is being computed; counted when it ends, even by a panic.
struct Part<'a>(&'a Team);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
        }
        self.0.unfinished.fetch_sub(1, Ordering::Release);
    }
}

/// A number that no other thread has while this one lives.
fn this_thread() -> usize {
    LED.with(|led| std::ptr::from_ref(led).addr())
}

/// Waits a moment: at first without giving the processor away, later with.
fn pause(waited: &mut u32) {
    *waited += 1;
    if *waited < 4096 { std::hint::spin_loop() } else { std::thread::yield_now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part of every job is done once, by pools smaller and larger than the team, and by the leader alone where the pool has nobody to spare.
    #[test]
    fn every_part_is_done_once() {
        for (pool, threads) in [(1, 1), (1, 4), (2, 2), (3, 2), (4, 4), (2, 7)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(pool).build().expect("threads can be had");
            let mut items = vec![0u32; 63];
            pool.install(|| {
                team(threads, || {
                    for round in 0..500 {
                        over_chunks(&mut items, 1 + round % 9, &|i, chunk| chunk.iter_mut().for_each(|x| *x += 1 + i as u32 % 2));
                    }
                });
            });
            let mut expected = vec![0u32; 63];
            for round in 0..500 {
                for (i, chunk) in expected.chunks_exact_mut(1 + round % 9).enumerate() {
                    chunk.iter_mut().for_each(|x| *x += 1 + i as u32 % 2);
                }
            }
            assert_eq!(items, expected);
        }
    }

    /// A leader may use its pool for other things, and lead a team within a team.
    #[test]
    fn leaders_use_their_pool() {
        for threads in 1..=4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be had");
            let mut items = [0u32; 12];
            pool.install(|| {
                team(3, || {
                    for _ in 0..300 {
                        let wait = || std::thread::sleep(std::time::Duration::from_micros(20));
                        rayon::join(wait, || rayon::join(wait, wait));
                        over_chunks(&mut items, 2, &|_, chunk| chunk.iter_mut().for_each(|x| *x += 1));
                        team(2, || over_chunks(&mut items, 3, &|_, chunk| chunk.iter_mut().for_each(|x| *x += 1)));
                    }
                });
            });
            assert_eq!(items, [600; 12]);
        }
    }

    /// A panic in a part, on whatever thread, reaches the caller, and the pool lives on.
    #[test]
    fn panics_reach_the_caller() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads can be had");
        for bad in 0..4 {
            let run = || {
                team(2, || {
                    let mut items = [0; 4];
                    over_chunks(&mut items, 1, &|i, _| assert!(i != bad, "meant to happen"));
                });
            };
            let caught = pool.install(|| std::panic::catch_unwind(run));
            assert!(caught.is_err());
        }
        assert_eq!(pool.install(|| team(2, || 7)), 7);
    }
}
