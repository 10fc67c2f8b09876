//! A buffer of floats that starts on a cache line, is zero at first, and says when memory is refused.
//!
//! On Linux it is an anonymous mapping, in huge pages where that is allowed and the system grants them: slabs and weights are walked in strides of about a
//! kilobyte, which otherwise costs a page-table walk every few pixels, and pages that a small scan never touches are never made.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

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
    /// `len` zeros, or `None` when the system refuses.
    pub fn zeroed(len: usize) -> Option<Self> {
        let buffer = Self::in_small_pages(len)?;
        buffer.allow_huge_pages();
        Some(buffer)
    }

    /// As [`Self::zeroed`], in pages of the system's usual size until [`Self::allow_huge_pages`]: for what is filled once, whole, while
    /// somebody waits. A virtual machine that gives free memory back to its host gives it back in huge pages, and waits for each of them.
    pub fn in_small_pages(len: usize) -> Option<Self> {
        let start = match len {
            0 => NonNull::dangling(),
            _ => memory::zeroed(len.checked_mul(4).filter(|bytes| *bytes < isize::MAX as usize)?)?.cast(),
        };
        Some(Self { start, len })
    }

    /// Lets the system put huge pages under the buffer, now where it is untouched, later and in the background elsewhere.
    pub fn allow_huge_pages(&self) {
        if self.len > 0 {
            memory::allow_huge_pages(self.start.cast(), self.len * 4);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `zeroed` took these bytes, and nobody can use them any more.
            unsafe { memory::release(self.start.cast(), self.len * 4) }
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

#[cfg(target_os = "linux")]
mod memory {
    use std::ptr::{NonNull, null_mut};

    /// Bytes of a huge page.
    const HUGE: usize = 2 << 20;

    /// Smaller buffers would waste most of a huge page.
    fn is_large(bytes: usize) -> bool {
        bytes >= 2 * HUGE
    }

    /// Zeroed bytes on a page boundary; large ones start on a huge page.
    pub(super) fn zeroed(bytes: usize) -> Option<NonNull<u8>> {
        let slack = if is_large(bytes) { HUGE } else { 0 };
        let whole = bytes.checked_add(slack)?;
        // SAFETY: a new private mapping without a file; the kernel chooses the address.
        let start =
            unsafe { libc::mmap(null_mut(), whole, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = start.cast::<u8>();
        if slack == 0 {
            return NonNull::new(start);
        }
        let skip = start.align_offset(HUGE);
        // SAFETY: `skip` is less than HUGE, so head and tail lie inside the mapping, on page boundaries, and are given back; the rest stays.
        unsafe {
            let kept = page_end(bytes);
            if skip > 0 {
                libc::munmap(start.cast(), skip);
            }
            if skip + kept < page_end(whole) {
                libc::munmap(start.add(skip + kept).cast(), page_end(whole) - skip - kept);
            }
            NonNull::new(start.add(skip))
        }
    }

    /// For what came from `zeroed(bytes)` and is large.
    pub(super) fn allow_huge_pages(start: NonNull<u8>, bytes: usize) {
        if is_large(bytes) {
            // SAFETY: the pages that `zeroed` kept. The advice may be declined, which changes nothing but the speed.
            unsafe { libc::madvise(start.as_ptr().cast(), page_end(bytes), libc::MADV_HUGEPAGE) };
        }
    }

    /// Gives back what [`zeroed`] took.
    ///
    /// # Safety
    /// `start` came from `zeroed(bytes)` and is not used again.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: exactly the pages that `zeroed` kept.
        unsafe { libc::munmap(start.as_ptr().cast(), page_end(bytes)) };
    }

    /// `bytes` rounded up to whole pages of 4, 16 or 64 KiB, whichever the system has.
    fn page_end(bytes: usize) -> usize {
        // SAFETY: asks for a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        bytes.next_multiple_of(page)
    }
}

#[cfg(not(target_os = "linux"))]
mod memory {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, 64).ok()
    }

    /// Zeroed bytes on a cache line.
    pub(super) fn zeroed(bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: `Buffer` never asks for nothing.
        NonNull::new(unsafe { alloc_zeroed(layout(bytes)?) })
    }

    /// Pages are the allocator's business here.
    pub(super) fn allow_huge_pages(_: NonNull<u8>, _: usize) {}

    /// Gives back what [`zeroed`] took.
    ///
    /// # Safety
    /// `start` came from `zeroed(bytes)` and is not used again.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        if let Some(layout) = layout(bytes) {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(start.as_ptr(), layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    /// Zero, aligned, writable to the last float, empty allowed, absurd refused; small, page-sized and huge-page-sized.
    #[test]
    fn buffers_are_zero_and_aligned() {
        for len in [0, 1, 17, 1024, 100_000, (1 << 20) - 1, 1 << 20, 1_500_001, 3 << 20] {
            for mut b in [Buffer::zeroed(len).unwrap(), Buffer::in_small_pages(len).unwrap()] {
                assert!(b.len() == len && b.iter().all(|x| *x == 0.0));
                assert!(len == 0 || (b.as_ptr() as usize).is_multiple_of(64));
                b.fill(1.0);
                b.allow_huge_pages();
                assert!(b.iter().all(|x| *x == 1.0));
            }
        }
        assert!(Buffer::zeroed(usize::MAX / 2).is_none());
        assert!(Buffer::zeroed(1 << 60).is_none());
    }
}
