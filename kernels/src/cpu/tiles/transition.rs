//! A transition in tiles: norm·ReLU, average pool 2×2/2, 1×1, from one block's slab to the first channels of the next. The pool goes first where its sums
//! are numbers of the precision (bf16); codes are multiplied pixel by pixel instead, four products that are added up. The weights carry the factor 1/4,
//! and an odd last row or column is dropped.

use super::product::{PAIRS, Pointwise, Rows, SUMS, Weights};
use super::{BLOCK, Precision, TileKernel};
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Span;
use crate::cpu::transition::TransitionShape;
use crate::isa::Amx;
use crate::parallel::{self, Crew, SharedMut};

/// A transition's weights as tiles take them.
#[derive(Clone, Copy)]
pub(crate) struct Transition<'a, P: Precision> {
    pub(crate) shape: &'a TransitionShape,
    pub(crate) norm: P::Norm,
    /// \[out_channels, in_channels padded to steps\], packed.
    pub(crate) conv: *const u8,
    pub(crate) new: P::New,
}

// SAFETY: pointers to weights that are only read and that outlive the run.
unsafe impl<P: Precision> Sync for Transition<'_, P> {}

/// Bytes of a block of packed pixels.
fn block_bytes<P: Precision>(shape: &TransitionShape) -> usize {
    BLOCK * P::bytes(P::packed_stride(shape.in_channels))
}

/// Floats that one worker needs.
pub(crate) fn scratch_len<P: Precision>(shape: &TransitionShape) -> usize {
    (PAIRS * SUMS + P::CORNERS * block_bytes::<P>(shape)) / 4
}

/// Runs a transition whose lengths were checked on one image; `scratch` holds [`scratch_len`] floats for each worker.
///
/// # Safety
/// The pointers cover what the shape says.
pub(crate) unsafe fn transition<P: Precision>(
    token: Amx,
    transition: &Transition<'_, P>,
    (src, spans): (&[P::Number], Option<&[Span]>),
    dst: &mut [P::Number],
    scratch: &mut [f32],
    crew: &Crew<'_>,
) {
    let (rows, len) = (transition.shape.height / 2, scratch_len::<P>(transition.shape));
    let workers = crew.workers();
    assert!(scratch.len() >= len * workers);
    let dst = SharedMut::new(dst);
    parallel::over_chunks(crew, &mut scratch[..len * workers], len, &|worker, scratch| {
        let rows = part(rows, workers, worker);
        super::run(token, Worker { transition, src, spans, rows, dst, scratch: scratch.as_mut_ptr().cast() });
    });
}

/// The output rows of one thread.
struct Worker<'a, P: Precision> {
    transition: &'a Transition<'a, P>,
    src: &'a [P::Number],
    spans: Option<&'a [Span]>,
    rows: std::ops::Range<usize>,
    dst: SharedMut<'a, P::Number>,
    scratch: *mut u8,
}

impl<P: Precision> TileKernel for Worker<'_, P> {
    #[inline(always)]
    fn run(self) {
        let shape = self.transition.shape;
        let columns = shape.width / 2;
        let (mut places, mut filled) = ([0; BLOCK], 0);
        for y in self.rows.clone() {
            for x in self.spans.map_or(0..columns, |spans| spans[y].columns()) {
                // SAFETY: output pixel (y, x) reads input pixels (2y, 2x) to (2y + 1, 2x + 1), which exist; the block has room.
                unsafe { self.pack((y, x), filled) };
                places[filled] = (y * columns + x) * shape.dst_stride;
                filled += 1;
                if filled == BLOCK {
                    // SAFETY: pixels of the map that no other thread writes.
                    unsafe { self.multiply(&places) };
                    filled = 0;
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.multiply(&places[..filled]) };
    }
}

impl<P: Precision> Worker<'_, P> {
    #[inline(always)]
    unsafe fn pack(&self, (y, x): (usize, usize), place: usize) {
        let shape = self.transition.shape;
        let stride = P::packed_stride(shape.in_channels);
        // SAFETY: as the caller says.
        unsafe {
            let (upper, below) = (self.src.as_ptr().add((2 * y * shape.width + 2 * x) * shape.src_stride), shape.width * shape.src_stride);
            let src = [upper, upper.add(shape.src_stride), upper.add(below), upper.add(below + shape.src_stride)];
            let dst = self.scratch.add(PAIRS * SUMS).cast::<P::Number>().add(place * stride);
            P::pool(self.transition.norm, shape.in_channels, src, dst, BLOCK * stride);
        }
    }

    #[inline(always)]
    unsafe fn multiply(&self, places: &[usize]) {
        let shape = self.transition.shape;
        let k = P::padded(shape.in_channels);
        // SAFETY: the block is packed, and the places name pixels of the map.
        unsafe {
            super::call(Pointwise::<P, _> {
                pixels: self.scratch.add(PAIRS * SUMS),
                rows: Rows { stride: P::bytes(P::packed_stride(shape.in_channels)), steps: k / P::STEP },
                blocks: &[0, 1, 2, 3].map(|corner| corner * block_bytes::<P>(shape))[..P::CORNERS],
                weights: Weights { data: self.transition.conv, panel_bytes: P::panel_bytes(k), panels: shape.out_channels / PANEL },
                finish: self.transition.new,
                dst: self.dst.at(0),
                places,
                sums: self.scratch,
            });
        }
    }
}
