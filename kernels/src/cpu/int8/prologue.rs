//! norm1·ReLU of codes: a clamp, while a block of pixels is packed for the product, widened to 16 bits where that takes pairs.
//!
//! relu(scale·x + shift) with x = low + step·q is scale·step·(a − t) with t the code of the norm's zero and a = max(q, t), or min(q, t) where
//! the scale is negative. The factor is part of the product's weights, and −t of its offset.

use super::IntKernel;
use super::lanes::{IntLanes, Words};
use super::layout::Group;

/// The bounds of every channel.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) low: *const u8,
    pub(crate) high: *const u8,
}

/// `dst[r, c] = min(max(src[r, c], low[c]), high[c])`; channels are a multiple of 16.
#[derive(Clone, Copy)]
pub(crate) struct Clamp<G: Group> {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) src: *const u8,
    pub(crate) src_stride: usize,
    pub(crate) bounds: Bounds,
    pub(crate) dst: *mut G::Activation,
    pub(crate) dst_stride: usize,
}

impl<G: Group> IntKernel for Clamp<G> {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        if G::LEN == 4 {
            // SAFETY: as below.
            return unsafe { self.bytes::<V>() };
        }
        let mut row = 0;
        while row < self.rows {
            // SAFETY: the caller's pointers cover `rows` rows of `channels` numbers, a multiple of 16.
            unsafe {
                match self.rows - row {
                    4.. => self.block::<V, 4>(row),
                    _ => self.block::<V, 1>(row),
                }
            }
            row += if self.rows - row >= 4 { 4 } else { 1 };
        }
    }
}

impl<G: Group> Clamp<G> {
    /// Codes that stay bytes, a register of them at a time.
    #[inline(always)]
    unsafe fn bytes<V: IntLanes>(&self) {
        let whole = self.channels - self.channels % (4 * V::LANES);
        for row in 0..self.rows {
            // SAFETY: as in `run`.
            unsafe {
                let (src, dst) = (self.src.add(row * self.src_stride), self.dst.add(row * self.dst_stride));
                for c in (0..whole).step_by(4 * V::LANES) {
                    V::clamp_codes(src.add(c), [self.bounds.low.add(c), self.bounds.high.add(c)], dst.add(c).cast());
                }
                for c in (whole..self.channels).step_by(16) {
                    let (low, high) = load::<V>(self.bounds, c);
                    G::store::<V>(V::Words::clamp(V::Words::load_codes(src.add(c)), low, high), dst.add(c));
                }
            }
        }
    }

    /// `R` rows at once, so that bounds are loaded once for all of them.
    #[inline(always)]
    unsafe fn block<V: IntLanes, const R: usize>(&self, row: usize) {
        // SAFETY: as in `run`.
        unsafe {
            let (src, dst) = (self.src.add(row * self.src_stride), self.dst.add(row * self.dst_stride));
            for c in (0..self.channels).step_by(16) {
                let (low, high) = load::<V>(self.bounds, c);
                for r in 0..R {
                    let codes = V::Words::load_codes(src.add(r * self.src_stride + c));
                    G::store::<V>(V::Words::clamp(codes, low, high), dst.add(r * self.dst_stride + c));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<V: IntLanes>(t: Bounds, c: usize) -> (<V::Words as Words>::Codes, <V::Words as Words>::Codes) {
    // SAFETY: sixteen channels from `c` on exist, by the caller's promise.
    unsafe { (V::Words::load_codes(t.low.add(c)), V::Words::load_codes(t.high.add(c))) }
}

/// The sum over 2×2 pixels of what [`Clamp`] gives, for a run of output pixels of one row: the average pool, whose factor 1/4 the weights
/// carry. At most 1020.
#[derive(Clone, Copy)]
pub(crate) struct ClampPool {
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// The upper left input pixel of the first output pixel.
    pub(crate) src: *const u8,
    pub(crate) pixel_stride: usize,
    pub(crate) row_stride: usize,
    pub(crate) bounds: Bounds,
    pub(crate) dst: *mut i16,
    pub(crate) dst_stride: usize,
}

impl IntKernel for ClampPool {
    #[inline(always)]
    fn run<V: IntLanes>(self) {
        for p in 0..self.pixels {
            // SAFETY: the caller's pointers cover 2·pixels input pixels on two rows and `pixels` output pixels.
            unsafe {
                let src = self.src.add(2 * p * self.pixel_stride);
                let dst = self.dst.add(p * self.dst_stride);
                for c in (0..self.channels).step_by(16) {
                    let (low, high) = load::<V>(self.bounds, c);
                    let at = |offset: usize| V::Words::widen(V::Words::clamp(V::Words::load_codes(src.add(offset + c)), low, high));
                    let upper = at(0).add(at(self.pixel_stride));
                    let lower = at(self.row_stride).add(at(self.row_stride + self.pixel_stride));
                    upper.add(lower).store(dst.add(c));
                }
            }
        }
    }
}
