//! A dense layer, a strip of output rows at a time: its missing mid rows are made in blocks of pixels (prologue into a packed block, then the 1×1), and the
//! 3×3 runs over the strip by Winograd F(4×4) or directly. The mid map between the two convolutions exists only as a ring of rows with a zero border
//! (`strips`), never as a whole. Strips are independent but for two mid rows, which neighbours on other threads compute again.

use super::{Arithmetic, LAYER_BLOCK, block_pixels, floats_of, unaliased};
use crate::cpu::dense::DenseShape;
use crate::cpu::layout::PANEL;
use crate::cpu::part;
use crate::cpu::spans::Marked;
use crate::cpu::strips::{BLOCK_PIXELS, Grid, Strip, Tiles};
use crate::cpu::winograd::{PATCH, POINTS, TILE};
use crate::parallel::{self, Crew, SharedMut};
use std::ops::Range;

/// What a layer multiplies.
pub(crate) trait LayerArithmetic: Arithmetic {
    /// Mid numbers as the empty slice's map holds them.
    type Known: Copy + Sync;
}

/// The steps of a layer over vectors `V`.
///
/// # Safety
/// Of all methods: the worker's lengths were checked against its shape, and what the arguments name lies in its slab and scratch.
pub(crate) trait Steps<V>: LayerArithmetic {
    /// Prologue of `count` of the slab's pixels from `pixel` on, to place `filled` of the block.
    unsafe fn pack(worker: &Worker<'_, Self>, pixel: usize, filled: usize, count: usize);

    /// The 1×1 of a packed block, to `rows` of `mid`, before what lies at `next` is packed.
    unsafe fn pointwise(worker: &Worker<'_, Self>, mid: *mut Self::Number, rows: &[usize], next: &[*const u8]);

    /// The transformed patch of a tile, to its row of the first plane of V.
    unsafe fn patch(worker: &Worker<'_, Self>, rows: [*const Self::Number; PATCH], dst: *mut Self::Number);

    /// M of the first `tiles` tiles of V.
    unsafe fn products(worker: &Worker<'_, Self>, tiles: usize);

    /// The new channels of a tile from its row of the first plane of M, of so many rows and columns.
    unsafe fn output(worker: &Worker<'_, Self>, src: *const f32, dst: *mut Self::Slab, extent: (usize, usize));

    /// The new channels of `pixels` pixels of a row by the nine runs of the ring that the first one sees.
    unsafe fn direct(worker: &Worker<'_, Self>, runs: &[usize; 9], pixels: usize, dst: *mut Self::Slab);
}

/// Where the pieces of a worker's scratch lie, in floats.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    winograd: bool,
    block_pixels: usize,
    /// In numbers.
    pub(crate) packed_stride: usize,
    mid: usize,
    pub(crate) v: usize,
    /// In numbers.
    pub(crate) v_plane: usize,
    pub(crate) m: usize,
    pub(crate) m_plane: usize,
    total: usize,
}

impl Parts {
    fn of<A: Arithmetic>(shape: &DenseShape, winograd: bool, grid: &Grid) -> Self {
        let packed_stride = unaliased::<A>(shape.in_channels);
        let block_pixels = block_pixels(LAYER_BLOCK, packed_stride);
        let floats = floats_of::<A>;
        let mid = floats(block_pixels * packed_stride);
        let v = mid + floats(grid.strip_images * grid.ring * grid.mid_row);
        let (v_plane, m_plane) = match winograd {
            true => (grid.chunk() * shape.mid + A::LINE, grid.chunk() * shape.growth + PANEL),
            false => (0, 0),
        };
        let m = v + floats(POINTS * v_plane);
        Self { winograd, block_pixels, packed_stride, mid, v, v_plane, m, m_plane, total: m + POINTS * m_plane }
    }
}

/// A layer.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a, A> {
    pub(crate) shape: &'a DenseShape,
    pub(crate) arithmetic: A,
    /// Whether the 3×3 goes by Winograd.
    pub(crate) winograd: bool,
}

/// Floats that one worker of `workers` needs.
pub(crate) fn scratch_len<A: Arithmetic>(shape: &DenseShape, winograd: bool, workers: usize) -> usize {
    Parts::of::<A>(shape, winograd, &Grid::new(shape, unaliased::<A>(shape.mid), workers)).total
}

impl<A: LayerArithmetic> Layer<'_, A> {
    /// Shares the strips among the crew; `run` calls [`Worker::run_on`] on the layer's tier.
    ///
    /// # Panics
    /// When the scratch is too short.
    pub(crate) fn run(
        &self,
        marked: Option<Marked<'_, A::Known>>,
        slab: &mut [A::Slab],
        scratch: &mut [f32],
        crew: &Crew<'_>,
        run: impl Fn(Worker<'_, A>) + Sync,
    ) {
        let (Self { shape, arithmetic, .. }, workers) = (*self, crew.workers());
        let grid = Grid::new(shape, unaliased::<A>(shape.mid), workers);
        let tiles = Tiles::new(shape, grid, marked.as_ref());
        let known = marked.and_then(|marked| marked.mid);
        let parts = Parts::of::<A>(shape, self.winograd, &grid);
        assert!(scratch.len() >= parts.total * workers);
        let slab = SharedMut::new(slab);
        parallel::over_chunks(crew, &mut scratch[..parts.total * workers], parts.total, &|worker, scratch| {
            let strips = part(grid.strips(), workers, worker);
            if !strips.is_empty() {
                run(Worker { shape, arithmetic, tiles, known, parts, strips, slab, scratch: scratch.as_mut_ptr() });
            }
        });
    }

    /// Makes the mid map of one image; `run` calls [`WholeMid::run_on`] on the layer's tier.
    ///
    /// # Panics
    /// When the scratch is too short.
    pub(crate) fn mid_map(&self, slab: &mut [A::Slab], mid: *mut A::Number, scratch: &mut [f32], run: impl FnOnce(WholeMid<'_, A>)) {
        let Self { shape, arithmetic, .. } = *self;
        let grid = Grid::new(shape, unaliased::<A>(shape.mid), 1);
        let parts = Parts::of::<A>(shape, self.winograd, &grid);
        assert!(scratch.len() >= parts.total);
        let tiles = Tiles { grid, spans: None, unknown: None };
        let (slab, scratch) = (SharedMut::new(slab), scratch.as_mut_ptr());
        run(WholeMid { worker: Worker { shape, arithmetic, tiles, known: None, parts, strips: 0..0, slab, scratch }, mid });
    }
}

/// The strips of one thread.
pub(crate) struct Worker<'a, A: LayerArithmetic> {
    pub(crate) shape: &'a DenseShape,
    pub(crate) arithmetic: A,
    pub(crate) tiles: Tiles<'a>,
    known: Option<&'a [A::Known]>,
    pub(crate) parts: Parts,
    strips: Range<usize>,
    pub(crate) slab: SharedMut<'a, A::Slab>,
    pub(crate) scratch: *mut f32,
}

/// The first convolution of a whole map.
pub(crate) struct WholeMid<'a, A: LayerArithmetic> {
    worker: Worker<'a, A>,
    mid: *mut A::Number,
}

impl<A: LayerArithmetic> WholeMid<'_, A> {
    /// Inside the shim of a tier, with its vector.
    #[inline(always)]
    pub(crate) fn run_on<V>(self)
    where
        A: Steps<V>,
    {
        let worker = &self.worker;
        let (pixels, block) = (worker.shape.height * worker.shape.width, worker.parts.block_pixels);
        for first in (0..pixels).step_by(block) {
            let mut places = [0; BLOCK_PIXELS];
            let count = block.min(pixels - first);
            places.iter_mut().enumerate().for_each(|(i, place)| *place = (first + i) * worker.shape.mid);
            // SAFETY: whoever made this checked the lengths; a block fits the scratch.
            unsafe {
                A::pack(worker, first, 0, count);
                A::pointwise(worker, self.mid, &places[..count], &[]);
            }
        }
    }
}

impl<A: LayerArithmetic> Worker<'_, A> {
    /// Inside the shim of a tier, with its vector.
    #[inline(always)]
    pub(crate) fn run_on<V>(self)
    where
        A: Steps<V>,
    {
        // SAFETY: `Parts` laid the mid ring out inside the scratch.
        unsafe { self.scratch.add(self.parts.mid).write_bytes(0, self.parts.v - self.parts.mid) };
        let mut fresh = true;
        for index in self.strips.clone() {
            let (strip, begins) = self.tiles.grid.strip(index);
            fresh |= begins;
            if self.tiles.count(strip) == 0 {
                fresh = true;
                continue;
            }
            let following = (index + 1 < self.strips.end).then(|| self.tiles.grid.strip(index + 1));
            // SAFETY: whoever made this checked every length against the shape; strips write rows of their own.
            unsafe {
                self.mid_rows::<V>((strip, fresh), following);
                if self.parts.winograd { self.by_winograd::<V>(strip) } else { self.directly::<V>(strip) }
            }
            fresh = false;
        }
    }

    /// The ring.
    #[inline(always)]
    pub(crate) unsafe fn mid(&self) -> *mut A::Number {
        // SAFETY: inside the scratch.
        unsafe { self.scratch.add(self.parts.mid).cast() }
    }

    /// Makes the mid rows of a strip that the ring does not hold yet.
    #[inline(always)]
    unsafe fn mid_rows<V>(&self, (strip, fresh): (Strip, bool), following: Option<(Strip, bool)>)
    where
        A: Steps<V>,
    {
        // SAFETY: rows inside the ring and pixels inside the slab; no block is larger than the scratch has room for.
        unsafe {
            for row in self.tiles.borders(strip, fresh) {
                self.mid().add(row).write_bytes(0, self.tiles.grid.mid_row);
            }
            if let Some(known) = self.known {
                self.tiles.copy_known(strip, fresh, known, self.shape.mid, self.mid().cast());
            }
            let pack = |pixel, filled, count| A::pack(self, pixel, filled, count);
            let multiply = |places: &[usize], next: &[usize]| {
                let mut starts = [std::ptr::null(); BLOCK_PIXELS];
                starts
                    .iter_mut()
                    .zip(next)
                    .for_each(|(start, pixel)| *start = self.slab.at(pixel * self.shape.slab_stride).cast_const().cast());
                A::pointwise(self, self.mid(), places, &starts[..next.len()]);
            };
            self.tiles.in_blocks((strip, fresh), following, self.parts.block_pixels, pack, multiply);
        }
    }

    /// The 3×3 of a strip by Winograd, a chunk of tiles at a time.
    #[inline(always)]
    unsafe fn by_winograd<V>(&self, strip: Strip)
    where
        A: Steps<V>,
    {
        let tiles = self.tiles.count(strip);
        let chunks = tiles.div_ceil(self.tiles.grid.chunk());
        for c in 0..chunks {
            let chunk = part(tiles, chunks, c);
            // SAFETY: a chunk has at most `grid.chunk()` tiles, for which `Parts` made room.
            unsafe {
                self.patches::<V>(strip, chunk.clone());
                A::products(self, chunk.len());
                self.outputs::<V>(strip, chunk);
            }
        }
    }

    /// V of a chunk of tiles.
    #[inline(always)]
    unsafe fn patches<V>(&self, strip: Strip, chunk: Range<usize>)
    where
        A: Steps<V>,
    {
        let grid = &self.tiles.grid;
        for (t, tile) in chunk.enumerate() {
            let (image, y, x) = self.tiles.at(strip, tile);
            // SAFETY: patches lie inside the ring's rows and borders, and V has room for the chunk.
            unsafe {
                let mut rows = [self.mid().cast_const(); PATCH];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = self.mid().add(grid.mid_at(image, y + i) + x * grid.mid_stride);
                }
                A::patch(self, rows, self.scratch.add(self.parts.v).cast::<A::Number>().add(t * self.shape.mid));
            }
        }
    }

    /// The new channels of a chunk of tiles.
    #[inline(always)]
    unsafe fn outputs<V>(&self, strip: Strip, chunk: Range<usize>)
    where
        A: Steps<V>,
    {
        let shape = self.shape;
        for (t, tile) in chunk.enumerate() {
            let (image, y, x) = self.tiles.at(strip, tile);
            let pixel = ((strip.image + image) * shape.height + y) * shape.width + x;
            // SAFETY: only pixels inside the map are written.
            unsafe {
                let dst = self.slab.at(pixel * shape.slab_stride + shape.in_channels);
                let extent = ((shape.height - y).min(TILE), (shape.width - x).min(TILE));
                A::output(self, self.scratch.add(self.parts.m + t * shape.growth), dst, extent);
            }
        }
    }

    /// The 3×3 of a strip as nine runs over the ring.
    #[inline(always)]
    unsafe fn directly<V>(&self, strip: Strip)
    where
        A: Steps<V>,
    {
        let (shape, grid) = (self.shape, &self.tiles.grid);
        let end = strip.end_row.min(shape.height);
        for image in 0..strip.images {
            for y in strip.first_row..end {
                let tiles = self.tiles.of_row(y / TILE);
                let (first, last) = (tiles.start * TILE, (tiles.end * TILE).min(shape.width));
                if first >= last {
                    continue;
                }
                let mut runs = [0; 9];
                for (i, run) in runs.iter_mut().enumerate() {
                    *run = grid.mid_at(image, y + i / 3) + (first + i % 3) * grid.mid_stride;
                }
                let pixel = ((strip.image + image) * shape.height + y) * shape.width + first;
                // SAFETY: the three mid rows are in the ring with their borders, and the row of outputs lies inside the map.
                unsafe { A::direct(self, &runs, last - first, self.slab.at(pixel * shape.slab_stride + shape.in_channels)) };
            }
        }
    }
}
