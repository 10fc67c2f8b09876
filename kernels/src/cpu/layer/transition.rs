//! A transition: pooled pixels are packed in blocks, each of which goes through the 1×1 while what the next one reads is on its way.

use super::{Arithmetic, TRANSITION_BLOCK, block_pixels, floats_of, unaliased};
use crate::cpu::ahead::Ahead;
use crate::cpu::part;
use crate::cpu::spans::Span;
use crate::cpu::strips::BLOCK_PIXELS;
use crate::cpu::transition::TransitionShape;
use crate::parallel::{self, Crew, SharedMut};
use std::ops::Range;

/// The steps of a transition over vectors `V`.
///
/// # Safety
/// Of both methods: the worker's lengths were checked against its shape, and what the arguments name lies in its slabs and scratch.
pub(crate) trait Steps<V>: Arithmetic {
    /// Norm, ReLU and pool of `pixels` pooled pixels of a row, of which the first one reads `src` first; they go to places `stride` apart.
    unsafe fn pool(worker: &Worker<'_, Self>, pixels: usize, src: *const Self::Slab, dst: *mut Self::Number, stride: usize);

    /// The 1×1 of a block of pixels that are `stride` apart.
    unsafe fn product(worker: &Worker<'_, Self>, pixels: usize, stride: usize, dst: *mut Self::Slab, ahead: Ahead<'_>);
}

/// Floats that one worker needs.
pub(crate) fn scratch_len<A: Arithmetic>(shape: &TransitionShape) -> usize {
    let stride = unaliased::<A>(shape.in_channels);
    floats_of::<A>(block_pixels(TRANSITION_BLOCK, stride) * stride)
}

/// Shares the output pixels, of `spans` alone where there are such, among the crew; `run` calls [`Worker::run_on`] on the tier.
///
/// # Panics
/// When the scratch is too short.
pub(crate) fn run<A: Arithmetic>(
    (shape, arithmetic): (&TransitionShape, A),
    (src, spans): (&[A::Slab], Option<&[Span]>),
    dst: &mut [A::Slab],
    scratch: &mut [f32],
    crew: &Crew<'_>,
    run: impl Fn(Worker<'_, A>) + Sync,
) {
    let (rows, columns) = (shape.height / 2, shape.width / 2);
    let (len, workers) = (scratch_len::<A>(shape), crew.workers());
    assert!(scratch.len() >= len * workers);
    let dst = SharedMut::new(dst);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let scratch = scratch.as_mut_ptr().cast();
        let run = |pixels| run(Worker { shape, arithmetic, src, pixels, dst, scratch });
        match spans {
            None => run(part(rows * columns, workers, worker)),
            Some(spans) => {
                part(rows, workers, worker).for_each(|row| run(row * columns + spans[row].start..row * columns + spans[row].end));
            }
        }
    });
}

/// The output pixels of one thread.
pub(crate) struct Worker<'a, A: Arithmetic> {
    pub(crate) shape: &'a TransitionShape,
    pub(crate) arithmetic: A,
    src: &'a [A::Slab],
    pixels: Range<usize>,
    dst: SharedMut<'a, A::Slab>,
    pub(crate) scratch: *mut A::Number,
}

impl<A: Arithmetic> Worker<'_, A> {
    /// Inside the shim of a tier, with its vector.
    #[inline(always)]
    pub(crate) fn run_on<V>(self)
    where
        A: Steps<V>,
    {
        let shape = self.shape;
        let stride = unaliased::<A>(shape.in_channels);
        let blocks = self.pixels.len().div_ceil(block_pixels(TRANSITION_BLOCK, stride));
        for b in 0..blocks {
            let block = part(self.pixels.len(), blocks, b);
            let first = self.pixels.start + block.start;
            let next = if b + 1 < blocks { part(self.pixels.len(), blocks, b + 1) } else { 0..0 };
            let mut starts = [std::ptr::null(); 4 * BLOCK_PIXELS];
            let ahead = self.reads(self.pixels.start + next.start, next.len(), &mut starts);
            // SAFETY: the pixels lie inside both maps, whose lengths were checked, and a block inside the scratch.
            unsafe {
                self.pack::<V>(first, block.len(), stride);
                A::product(&self, block.len(), stride, self.dst.at(first * shape.dst_stride), ahead);
            }
        }
    }

    /// What packing `count` pooled pixels from `first` on reads, four runs a pixel.
    #[inline(always)]
    fn reads<'b>(&self, first: usize, count: usize, starts: &'b mut [*const u8; 4 * BLOCK_PIXELS]) -> Ahead<'b> {
        let shape = self.shape;
        let columns = shape.width / 2;
        for (i, start) in starts[..4 * count].iter_mut().enumerate() {
            let (y, x) = ((first + i / 4) / columns, (first + i / 4) % columns);
            let pixel = (2 * y + i % 4 / 2) * shape.width + 2 * x + i % 2;
            *start = self.src.as_ptr().wrapping_add(pixel * shape.src_stride).cast();
        }
        Ahead { starts: &starts[..4 * count], bytes: size_of::<A::Slab>() * shape.in_channels }
    }

    /// Packs `count` pooled pixels from `first` on, a run within one output row at a time.
    #[inline(always)]
    unsafe fn pack<V>(&self, first: usize, count: usize, stride: usize)
    where
        A: Steps<V>,
    {
        let shape = self.shape;
        let columns = shape.width / 2;
        let mut done = 0;
        while done < count {
            let (y, x) = ((first + done) / columns, (first + done) % columns);
            let pixels = (columns - x).min(count - done);
            // SAFETY: output pixel (y, x) reads input pixels (2y, 2x) to (2y + 1, 2x + 1), which exist.
            unsafe {
                let src = self.src.as_ptr().add((2 * y * shape.width + 2 * x) * shape.src_stride);
                A::pool(self, pixels, src, self.scratch.add(done * stride), stride);
            }
            done += pixels;
        }
    }
}
