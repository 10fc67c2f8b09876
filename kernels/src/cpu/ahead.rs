//! Memory asked for early: while a product computes, cache lines that the step after it reads are on their way.
//!
//! A product keeps the multipliers busy and the memory idle; packing the pixels of the next block is the reverse. Asking changes no result, and an
//! address that nothing lies at is no fault. Lines go to L2, from where the processor's own prefetch of streams takes them.

use std::slice::Iter;

/// Bytes of a cache line; a smaller or larger one costs requests and nothing else.
const LINE: usize = 64;

/// Lines asked for at a time, a part of what a processor has under way.
const AT_ONCE: usize = 4;
/// The fewest steps of a product over vectors of so many lanes between two times, about two hundred cycles, since each interrupts its loop; steps come in
/// these.
const fn fewest(lanes: usize) -> usize {
    256 / lanes
}

/// What to ask for: runs of equal length.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'a> {
    /// The first byte of every run.
    pub(crate) starts: &'a [*const u8],
    /// Bytes of a run.
    pub(crate) bytes: usize,
}

impl Ahead<'_> {
    /// Nothing.
    pub(crate) const NONE: Self = Self { starts: &[], bytes: 0 };

    fn lines(&self) -> usize {
        self.starts.len() * self.bytes.div_ceil(LINE)
    }

    /// To be asked for while a product takes `runs` runs of `steps` steps over vectors of so many lanes.
    #[inline(always)]
    pub(crate) fn over(&self, runs: usize, steps: usize, lanes: usize) -> Asking<'_> {
        let lines = self.lines();
        let between = match (AT_ONCE * runs * steps).checked_div(lines) {
            Some(between) => between.max(fewest(lanes)) / fewest(lanes) * fewest(lanes),
            None => usize::MAX,
        };
        let times = runs * steps.div_ceil(between);
        Asking {
            steps: between,
            pace: lines.div_ceil(times.max(1)),
            starts: self.starts.iter(),
            lines: self.bytes.div_ceil(LINE),
            at: std::ptr::null(),
            left: 0,
        }
    }
}

/// How far the asking has got.
pub(crate) struct Asking<'a> {
    steps: usize,
    pace: usize,
    starts: Iter<'a, *const u8>,
    lines: usize,
    at: *const u8,
    left: usize,
}

impl Asking<'_> {
    /// Steps until it has to ask again, of a run of so many: all where there is nothing to ask for.
    #[inline(always)]
    pub(crate) fn steps(&self, run: usize) -> usize {
        self.steps.min(run).max(1)
    }

    /// Asks for some lines.
    #[inline(always)]
    pub(crate) fn ask(&mut self) {
        for _ in 0..self.pace {
            if self.left == 0 {
                let Some(start) = self.starts.next() else {
                    self.pace = 0;
                    return;
                };
                (self.at, self.left) = (*start, self.lines);
            }
            prefetch(self.at);
            (self.at, self.left) = (self.at.wrapping_add(LINE), self.left - 1);
        }
    }
}

/// Asks for the line of an address, which may be any.
#[inline(always)]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of x86-64 and faults on no address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
