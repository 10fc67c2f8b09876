//! Eight sums as an array, for machines without a level of their own and as the plain reading of what the others do.

use super::{IntLanes, Words};
use crate::cpu::int8::IntKernel;
use crate::cpu::lanes::portable::PortableLanes;

/// Eight sums.
#[derive(Clone, Copy)]
pub(crate) struct PortableInts([i32; 8]);

/// Sixteen numbers of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct PortableWords([i16; 16]);

/// Two numbers of 16 bits as they lie in memory.
#[inline(always)]
fn halves(pair: i32) -> [i32; 2] {
    let bytes = pair.to_ne_bytes();
    [i16::from_ne_bytes([bytes[0], bytes[1]]), i16::from_ne_bytes([bytes[2], bytes[3]])].map(i32::from)
}

impl IntLanes for PortableInts {
    const LANES: usize = 8;
    const QUADS: bool = true;
    type Floats = PortableLanes;
    type Words = PortableWords;

    #[inline(never)]
    unsafe fn call<K: IntKernel>(kernel: K) {
        kernel.run::<Self>();
    }

    #[inline(always)]
    unsafe fn load<T>(src: *const T) -> Self {
        // SAFETY: the caller promises eight times four readable bytes.
        Self(unsafe { src.cast::<[i32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn splat<T>(src: *const T) -> Self {
        // SAFETY: the caller promises four readable bytes.
        Self([unsafe { src.cast::<i32>().read_unaligned() }; 8])
    }

    #[inline(always)]
    unsafe fn code_floats(src: *const u8) -> PortableLanes {
        // SAFETY: the caller promises eight readable codes.
        let codes = unsafe { src.cast::<[u8; 8]>().read_unaligned() };
        PortableLanes(codes.map(f32::from))
    }

    #[inline(always)]
    unsafe fn store_codes(y: PortableLanes, dst: *mut u8) {
        // SAFETY: the caller promises eight writable codes.
        unsafe { dst.cast::<[u8; 8]>().write_unaligned(y.0.map(|y| y.round_ties_even() as u8)) }
    }

    #[inline(always)]
    unsafe fn store_wide_codes(y: PortableLanes, dst: *mut i16) {
        // SAFETY: the caller promises eight writable numbers.
        unsafe { dst.cast::<[i16; 8]>().write_unaligned(y.0.map(|y| y.round_ties_even() as i16)) }
    }

    #[inline(always)]
    fn zero() -> Self {
        Self([0; 8])
    }

    #[inline(always)]
    fn madd(self, a: Self, w: Self) -> Self {
        let mut out = [0; 8];
        for i in 0..8 {
            let (a, w) = (halves(a.0[i]), halves(w.0[i]));
            out[i] = self.0[i].wrapping_add((a[0] * w[0]).wrapping_add(a[1] * w[1]));
        }
        Self(out)
    }

    #[inline(always)]
    fn madd_quads(self, codes: Self, w: Self) -> Self {
        let mut out = self.0;
        for i in 0..8 {
            let (codes, w) = (codes.0[i].to_ne_bytes(), w.0[i].to_ne_bytes());
            for j in 0..4 {
                out[i] = out[i].wrapping_add(i32::from(codes[j]) * i32::from(w[j] as i8));
            }
        }
        Self(out)
    }

    #[inline(always)]
    fn to_floats(self) -> PortableLanes {
        PortableLanes(self.0.map(|n| n as f32))
    }
}

#[inline(always)]
fn each(f: impl Fn(usize) -> i16) -> PortableWords {
    let mut out = [0; 16];
    for i in 0..16 {
        out[i] = f(i);
    }
    PortableWords(out)
}

impl Words for PortableWords {
    type Codes = [u8; 16];

    #[inline(always)]
    unsafe fn load(src: *const i16) -> Self {
        // SAFETY: the caller promises sixteen readable numbers.
        Self(unsafe { src.cast::<[i16; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut i16) {
        // SAFETY: the caller promises sixteen writable numbers.
        unsafe { dst.cast::<[i16; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_codes(src: *const u8) -> [u8; 16] {
        // SAFETY: the caller promises sixteen readable codes.
        unsafe { src.cast::<[u8; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_codes(codes: [u8; 16], dst: *mut u8) {
        // SAFETY: the caller promises sixteen writable codes.
        unsafe { dst.cast::<[u8; 16]>().write_unaligned(codes) }
    }

    #[inline(always)]
    fn clamp(mut codes: [u8; 16], low: [u8; 16], high: [u8; 16]) -> [u8; 16] {
        for i in 0..16 {
            codes[i] = codes[i].max(low[i]).min(high[i]);
        }
        codes
    }

    #[inline(always)]
    fn widen(codes: [u8; 16]) -> Self {
        each(|i| codes[i].into())
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        each(|i| self.0[i].wrapping_add(b.0[i]))
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        each(|i| self.0[i].wrapping_sub(b.0[i]))
    }

    #[inline(always)]
    fn times4(self) -> Self {
        each(|i| self.0[i] << 2)
    }
}
