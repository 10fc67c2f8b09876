//! Asks the processor for AVX-512 and checks vectors of its arithmetic, bit by bit, against plain code: fused multiply-adds, and where the
//! processor has them dot products of bf16 and of 8 bits.

use std::arch::{asm, x86_64::*};
use std::process::ExitCode;

type Floats = [f32; 16];
type Bytes = [u8; 64];

/// Vectors that each instruction is tried on.
const VECTORS: usize = 20_000;

/// Sixteen products and sums at once.
#[target_feature(enable = "avx512f")]
fn fused(a: &Floats, b: &Floats, c: &Floats) -> Floats {
    let mut out = [0.0; 16];
    // SAFETY: each pointer is to sixteen floats, the loads and the store ask for no alignment.
    unsafe {
        _mm512_storeu_ps(
            out.as_mut_ptr(),
            _mm512_fmadd_ps(_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr()), _mm512_loadu_ps(c.as_ptr())),
        )
    };
    out
}

/// `vdpbf16ps`: two products of bf16 for each sum, with the second factor in a register, in memory, and one pair of it in memory for all sums. The memory
/// is at a displacement, which the instruction holds divided by 64 or by 4.
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot_bf16(sums: &Floats, a: &[u32; 16], b: &[u32; 17]) -> [Floats; 3] {
    let mut out = [[0.0; 16]; 3];
    // SAFETY: each load and store is of sixteen numbers of 32 bits or one, at any alignment, and inside its array; pairs of bf16 are any bits.
    unsafe {
        let (sums, factor) = (_mm512_loadu_ps(sums.as_ptr()), _mm512_loadu_si512(a.as_ptr().cast()));
        let [mut register, mut memory, mut pair] = [sums; 3];
        asm!("vdpbf16ps {}, {}, {}", inout(zmm_reg) register, in(zmm_reg) factor, in(zmm_reg) _mm512_loadu_si512(b.as_ptr().cast()),
            options(pure, nomem, nostack));
        let before = b.as_ptr().wrapping_byte_sub(64);
        asm!("vdpbf16ps {}, {}, zmmword ptr [{} + 64]", inout(zmm_reg) memory, in(zmm_reg) factor, in(reg) before,
            options(pure, readonly, nostack));
        asm!("vdpbf16ps {}, {}, dword ptr [{} + 64]{{1to16}}", inout(zmm_reg) pair, in(zmm_reg) factor, in(reg) b,
            options(pure, readonly, nostack));
        [register, memory, pair].iter().zip(&mut out).for_each(|(sums, out)| _mm512_storeu_ps(out.as_mut_ptr(), *sums));
    }
    out
}

/// `vcvtneps2bf16`: floats of a register and of memory at a displacement rounded to bf16.
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded_to_bf16(x: &Floats) -> [[u16; 16]; 2] {
    let mut out = [[0; 16]; 2];
    // SAFETY: as above.
    unsafe {
        let (register, memory): (__m256i, __m256i);
        asm!("vcvtneps2bf16 {:y}, {}", out(zmm_reg) register, in(zmm_reg) _mm512_loadu_ps(x.as_ptr()), options(pure, nomem, nostack));
        let before = x.as_ptr().wrapping_byte_sub(64);
        asm!("vcvtneps2bf16 {:y}, zmmword ptr [{} + 64]", out(zmm_reg) memory, in(reg) before, options(pure, readonly, nostack));
        [register, memory].iter().zip(&mut out).for_each(|(bits, out)| _mm256_storeu_si256(out.as_mut_ptr().cast(), *bits));
    }
    out
}

/// `vpdpbusd`: four products of 8 bits, unsigned by signed, for each sum.
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_bytes(sums: &[i32; 16], a: &Bytes, b: &Bytes) -> [i32; 16] {
    let mut out = [0; 16];
    // SAFETY: each pointer is to 64 bytes, the loads and the store ask for no alignment.
    unsafe {
        let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
        _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_dpbusd_epi32(_mm512_loadu_si512(sums.as_ptr().cast()), a, b))
    };
    out
}

/// `vpdpwssd`: two products of 16 bits for each sum.
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_words(sums: &[i32; 16], a: &Bytes, b: &Bytes) -> [i32; 16] {
    let mut out = [0; 16];
    // SAFETY: as above.
    unsafe {
        let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
        _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_dpwssd_epi32(_mm512_loadu_si512(sums.as_ptr().cast()), a, b))
    };
    out
}

/// A small generator.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0
    }

    /// Any 32 bits.
    fn bits(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// Any 32 bits, as a float of ordinary size in half of the cases (a few binades around one) and anything finite in the others.
    fn float(&mut self) -> f32 {
        let state = self.next();
        let bits = (state >> 32) as u32;
        if state & 0x100 != 0 {
            return f32::from_bits(bits & 0x81ff_ffff | 0x3e00_0000);
        }
        let value = f32::from_bits(bits);
        if value.is_finite() { value } else { 0.0 }
    }

    fn bytes(&mut self) -> Bytes {
        std::array::from_fn(|_| self.bits() as u8)
    }
}

fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// What Intel's manual says `vdpbf16ps` does to one sum: a fused multiply-add with the pair's upper halves, then one with the lower, each
/// rounded to nearest even; subnormals are zeros, going in and coming out.
fn plain_dot_bf16(sum: f32, a: u32, b: u32) -> f32 {
    let halves = |x: u32| [flushed(f32::from_bits(x & 0xffff_0000)), flushed(f32::from_bits(x << 16))];
    let ([a1, a0], [b1, b0]) = (halves(a), halves(b));
    flushed(a0.mul_add(b0, flushed(a1.mul_add(b1, flushed(sum)))))
}

/// What Intel's manual says `vcvtneps2bf16` does: the nearest, ties to even; subnormals become zeros and NaNs quiet.
fn plain_bf16(x: f32) -> u16 {
    let bits = flushed(x).to_bits();
    if x.is_nan() { (bits >> 16) as u16 | 0x40 } else { ((u64::from(bits) + 0x7fff + u64::from(bits >> 16 & 1)) >> 16) as u16 }
}

/// Counts lanes that differ and says so.
fn verdict(name: &str, found: impl Iterator<Item = (u32, u32)>) -> bool {
    let (mut lanes, mut wrong, mut fnv) = (0, 0, 0xcbf2_9ce4_8422_2325_u64);
    for (got, want) in found {
        lanes += 1;
        let nans = f32::from_bits(got).is_nan() && f32::from_bits(want).is_nan() && name.contains("ps");
        if got != want && !nans {
            wrong += 1;
            if wrong <= 5 {
                println!("{name}: {got:08x} instead of {want:08x}");
            }
        }
        fnv = (fnv ^ u64::from(got)).wrapping_mul(0x100_0000_01b3);
    }
    println!("{name}: {wrong} of {lanes} lanes differ from plain code; hash {fnv:016x}");
    wrong == 0
}

fn fused_is_right() -> bool {
    let mut numbers = Numbers(1);
    let lanes = (0..VECTORS).flat_map(|_| {
        let [a, b, c]: [Floats; 3] = std::array::from_fn(|_| std::array::from_fn(|_| numbers.float()));
        // SAFETY: avx512f was detected before.
        let got = unsafe { fused(&a, &b, &c) };
        (0..16).map(move |i| (got[i].to_bits(), a[i].mul_add(b[i], c[i]).to_bits()))
    });
    verdict("vfmadd213ps", lanes)
}

fn bf16_is_right() -> bool {
    let mut numbers = Numbers(2);
    let tried: Vec<_> = (0..VECTORS)
        .map(|_| {
            let sums: Floats = std::array::from_fn(|_| numbers.float());
            let mut pair = || numbers.float().to_bits() & 0xffff_0000 | numbers.float().to_bits() >> 16;
            (sums, std::array::from_fn(|_| pair()), std::array::from_fn(|_| pair()))
        })
        .collect();
    let forms = [("vdpbf16ps of registers", 0, 1), ("vdpbf16ps of memory", 0, 1), ("vdpbf16ps of a pair in memory", 16, 0)];
    let mut right = true;
    for (form, (name, first, step)) in forms.into_iter().enumerate() {
        let lanes = tried.iter().flat_map(|(sums, a, b)| {
            // SAFETY: avx512bf16 was detected before.
            let got = unsafe { dot_bf16(sums, a, b) }[form];
            (0..16).map(move |i| (got[i].to_bits(), plain_dot_bf16(sums[i], a[i], b[first + step * i]).to_bits()))
        });
        right &= verdict(name, lanes);
    }
    for (form, name) in ["vcvtneps2bf16 of registers", "vcvtneps2bf16 of memory"].into_iter().enumerate() {
        let mut numbers = Numbers(4);
        let lanes = (0..VECTORS).flat_map(|_| {
            let x: Floats = std::array::from_fn(|_| f32::from_bits(numbers.bits()));
            // SAFETY: as above.
            let got = unsafe { rounded_to_bf16(&x) }[form];
            (0..16).map(move |i| (got[i].into(), plain_bf16(x[i]).into()))
        });
        right &= verdict(name, lanes);
    }
    right
}

fn integers_are_right() -> bool {
    let mut numbers = Numbers(3);
    let tried: Vec<_> = (0..VECTORS)
        .map(|_| {
            let sums: [i32; 16] = std::array::from_fn(|_| numbers.bits() as i32);
            (sums, numbers.bytes(), numbers.bytes())
        })
        .collect();
    let bytes = tried.iter().flat_map(|(sums, a, b)| {
        // SAFETY: avx512vnni was detected before.
        let got = unsafe { dot_bytes(sums, a, b) };
        (0..16).map(move |i| {
            let dot: i32 = (4 * i..4 * i + 4).map(|n| i32::from(a[n]) * i32::from(b[n] as i8)).sum();
            (got[i] as u32, sums[i].wrapping_add(dot) as u32)
        })
    });
    let words = tried.iter().flat_map(|(sums, a, b)| {
        // SAFETY: avx512vnni was detected before.
        let got = unsafe { dot_words(sums, a, b) };
        let word = |x: &Bytes, n: usize| i32::from(i16::from_le_bytes([x[2 * n], x[2 * n + 1]]));
        (0..16).map(move |i| {
            let dot = (word(a, 2 * i) * word(b, 2 * i)).wrapping_add(word(a, 2 * i + 1) * word(b, 2 * i + 1));
            (got[i] as u32, sums[i].wrapping_add(dot) as u32)
        })
    });
    let right = verdict("vpdpbusd", bytes);
    verdict("vpdpwssd", words) && right
}

fn main() -> ExitCode {
    let features = [
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
    ];
    println!("{}", features.map(|(name, here)| format!("{name} {here}")).join(" "));
    if !is_x86_feature_detected!("avx512f") {
        println!("no AVX-512 here");
        return ExitCode::FAILURE;
    }
    let mut right = fused_is_right();
    if is_x86_feature_detected!("avx512vnni") {
        right &= integers_are_right();
    }
    if is_x86_feature_detected!("avx512bf16") {
        right &= bf16_is_right();
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
