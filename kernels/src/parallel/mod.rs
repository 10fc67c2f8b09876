//! How one piece of work is shared among threads: a crew that stays together for a slice, without allocation, and the one shared view that
//! its workers write through.

mod bell;
mod crew;

pub use crew::{Crew, with_crew};

use std::marker::PhantomData;

/// Calls `work(i, chunk i)` for every chunk of `chunk` items, shared among the crew.
pub(crate) fn over_chunks<T: Send>(crew: &Crew<'_>, items: &mut [T], chunk: usize, work: &(impl Fn(usize, &mut [T]) + Sync)) {
    let count = items.len() / chunk.max(1);
    let items = SharedMut::new(items);
    crew.run(count, &|i| {
        // SAFETY: chunk `i` lies inside the slice, and the crew calls for each once.
        work(i, unsafe { std::slice::from_raw_parts_mut(items.at(i * chunk), chunk) });
    });
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
    /// `offset` lies inside the slice or at its end.
    #[inline(always)]
    pub(crate) unsafe fn at(self, offset: usize) -> *mut T {
        // SAFETY: inside the slice or at its end, by the caller's promise.
        unsafe { self.start.add(offset) }
    }
}
