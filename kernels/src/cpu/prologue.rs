//! norm1·ReLU as the prologue of a 1×1 convolution: `y = max(s·x + t, 0)` while a block of pixels is copied next to itself.
//!
//! The sum form is used and not `s·(clamp(x, lo, hi) − c)` with c = −t/s. Once pixels are packed both take two operations a vector, but the
//! clamp's weight sum starts at −Σ w·s·c and has to cancel it, and s = 0, tiny s and overflowing c each need a rule of their own. Packing
//! reads a block once and serves all panels of outputs, 8 or more times as much work.

use super::Kernel;
use super::lanes::F32Lanes;

/// `dst[r, c] = max(scale[c] · src[r, c] + shift[c], 0)`; channels are a multiple of 16.
#[derive(Clone, Copy)]
pub(crate) struct NormRelu {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) src: *const f32,
    pub(crate) src_stride: usize,
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) dst: *mut f32,
    pub(crate) dst_stride: usize,
}

impl Kernel for NormRelu {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        let mut row = 0;
        while row < self.rows {
            // SAFETY: the caller's pointers cover `rows` rows of `channels` floats, a multiple of the lanes.
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

impl NormRelu {
    /// `R` rows at once, so that scale and shift are loaded once for all of them.
    #[inline(always)]
    unsafe fn block<V: F32Lanes, const R: usize>(&self, row: usize) {
        // SAFETY: as in `run`.
        unsafe {
            let (src, dst) = (self.src.add(row * self.src_stride), self.dst.add(row * self.dst_stride));
            for c in (0..self.channels).step_by(V::LANES) {
                let (s, t) = (V::load(self.scale.add(c)), V::load(self.shift.add(c)));
                for r in 0..R {
                    let y = V::load(src.add(r * self.src_stride + c)).mul_add(s, t).max(V::zero());
                    y.store(dst.add(r * self.dst_stride + c));
                }
            }
        }
    }
}

/// The average pool 2×2/2 of norm·ReLU for a run of output pixels of one row, without the factor 1/4, which the weights carry.
#[derive(Clone, Copy)]
pub(crate) struct NormReluPool {
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// The upper left input pixel of the first output pixel.
    pub(crate) src: *const f32,
    pub(crate) pixel_stride: usize,
    pub(crate) row_stride: usize,
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) dst: *mut f32,
    pub(crate) dst_stride: usize,
}

impl Kernel for NormReluPool {
    type Output = ();

    #[inline(always)]
    fn run<V: F32Lanes>(self) {
        for p in 0..self.pixels {
            // SAFETY: the caller's pointers cover 2·pixels input pixels on two rows and `pixels` output pixels.
            unsafe {
                let upper = self.src.add(2 * p * self.pixel_stride);
                let lower = upper.add(self.row_stride);
                let dst = self.dst.add(p * self.dst_stride);
                for c in (0..self.channels).step_by(V::LANES) {
                    let (s, t) = (V::load(self.scale.add(c)), V::load(self.shift.add(c)));
                    let mut pairs = [V::zero(); 2];
                    for (pair, row) in pairs.iter_mut().zip([upper, lower]) {
                        let left = V::load(row.add(c)).mul_add(s, t).max(V::zero());
                        let right = V::load(row.add(self.pixel_stride + c)).mul_add(s, t).max(V::zero());
                        *pair = left.add(right);
                    }
                    pairs[0].add(pairs[1]).store(dst.add(c));
                }
            }
        }
    }
}
