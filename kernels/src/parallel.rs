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
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a> {
    start: *mut f32,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is only a pointer; every use is an unsafe block whose argument says why workers do not meet.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    /// Borrows the slice until the last copy is gone.
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), slice: PhantomData }
    }

    /// Pointer to item `offset`.
    ///
    /// # Safety
    /// `offset` lies inside the slice.
    #[inline(always)]
    pub(crate) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: inside the slice, by the caller's promise.
        unsafe { self.start.add(offset) }
    }
}
