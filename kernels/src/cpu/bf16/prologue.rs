//! norm1·ReLU as the prologue of a 1×1 convolution over bf16: `y = max(s·x + t, 0)` in float32, rounded, while a block of pixels is packed.

use super::HalfKernel;
use super::lanes::HalfLanes;
use crate::cpu::lanes::F32Lanes;

/// scale and shift of every channel.
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
}

impl Norm {
    /// # Safety
    /// The lanes' channels from `c` on exist.
    #[inline(always)]
    unsafe fn at<F: F32Lanes>(self, c: usize) -> (F, F) {
        // SAFETY: as promised.
        unsafe { (F::load(self.scale.add(c)), F::load(self.shift.add(c))) }
    }
}

/// `dst[r, c] = max(scale[c] · src[r, c] + shift[c], 0)`; channels are a multiple of 16.
#[derive(Clone, Copy)]
pub(crate) struct NormRelu {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) src: *const u16,
    pub(crate) src_stride: usize,
    pub(crate) norm: Norm,
    pub(crate) dst: *mut u16,
    pub(crate) dst_stride: usize,
}

impl HalfKernel for NormRelu {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        let mut row = 0;
        while row < self.rows {
            // SAFETY: the caller's pointers cover `rows` rows of `channels` numbers, a multiple of the lanes.
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
    unsafe fn block<V: HalfLanes, const R: usize>(&self, row: usize) {
        // SAFETY: as in `run`.
        unsafe {
            let (src, dst) = (self.src.add(row * self.src_stride), self.dst.add(row * self.dst_stride));
            for c in (0..self.channels).step_by(V::Floats::LANES) {
                let (s, t) = self.norm.at::<V::Floats>(c);
                for r in 0..R {
                    let y = V::widen(src.add(r * self.src_stride + c)).mul_add(s, t).max(V::Floats::zero());
                    V::narrow(y, dst.add(r * self.dst_stride + c));
                }
            }
        }
    }
}

/// The average pool 2×2/2 of norm·ReLU for a run of output pixels of one row, without the factor 1/4, which the weights carry: summed in
/// float32 and rounded once.
#[derive(Clone, Copy)]
pub(crate) struct NormReluPool {
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// The upper left input pixel of the first output pixel.
    pub(crate) src: *const u16,
    pub(crate) pixel_stride: usize,
    pub(crate) row_stride: usize,
    pub(crate) norm: Norm,
    pub(crate) dst: *mut u16,
    pub(crate) dst_stride: usize,
}

impl HalfKernel for NormReluPool {
    #[inline(always)]
    fn run<V: HalfLanes>(self) {
        for p in 0..self.pixels {
            // SAFETY: the caller's pointers cover 2·pixels input pixels on two rows and `pixels` output pixels.
            unsafe {
                let upper = self.src.add(2 * p * self.pixel_stride);
                let dst = self.dst.add(p * self.dst_stride);
                for c in (0..self.channels).step_by(V::Floats::LANES) {
                    let (s, t) = self.norm.at::<V::Floats>(c);
                    let at = |offset: usize| V::widen(upper.add(offset + c)).mul_add(s, t).max(V::Floats::zero());
                    let pair = |offset: usize| at(offset).add(at(offset + self.pixel_stride));
                    V::narrow(pair(0).add(pair(self.row_stride)), dst.add(c));
                }
            }
        }
    }
}
