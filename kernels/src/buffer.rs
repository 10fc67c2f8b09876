//! A buffer of floats that starts on a cache line, is zero at first, and says when memory is refused.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a cache line, and of a zmm register.
const ALIGN: usize = 64;

/// Zeroed floats at a multiple of 64 bytes.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: it owns its memory as a Vec does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros, or `None` when the allocator refuses.
    pub fn zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self { start: NonNull::dangling(), len });
        }
        let layout = Self::layout(len)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?.cast();
        Some(Self { start, len })
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_mul(4)?, ALIGN).ok()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len).filter(|_| self.len > 0) {
            // SAFETY: allocated by `zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialised floats, or a dangling pointer and no length.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    /// Zero, aligned, empty allowed, absurd refused.
    #[test]
    fn buffers_are_zero_and_aligned() {
        for len in [0, 1, 17, 100_000] {
            let b = Buffer::zeroed(len).unwrap();
            assert!(b.len() == len && b.iter().all(|x| *x == 0.0));
            assert!(len == 0 || (b.as_ptr() as usize).is_multiple_of(64));
        }
        assert!(Buffer::zeroed(usize::MAX / 2).is_none());
    }
}
