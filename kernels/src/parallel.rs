//! Fork-join over the pool that the caller is in, without allocation, and the one shared view that its workers write through.

use std::marker::PhantomData;

/// Calls `work(i, chunk i)` for every chunk of `chunk` items, in parallel on the current rayon pool; one chunk runs right here.
pub(crate) fn over_chunks<T: Send>(items: &mut [T], chunk: usize, work: &(impl Fn(usize, &mut [T]) + Sync)) {
    let count = items.len() / chunk.max(1);
    split(items, chunk, 0, count, work);
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
