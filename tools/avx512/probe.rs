//! Asks the processor for AVX-512 and checks vectors of its arithmetic, bit by bit, against plain code: fused multiply-adds, and where the
//! processor has them dot products of bf16 and of 8 bits.

use std::arch::x86_64::*;
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

/// `vdpbf16ps`: two products of bf16 for each sum.
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot_bf16(sums: &Floats, a: &[u32; 16], b: &[u32; 16]) -> Floats {
    let mut out = [0.0; 16];
    // SAFETY: each pointer is to sixteen numbers of 32 bits, the loads and the store ask for no alignment; pairs of bf16 are any bits.
    unsafe {
        let [a, b]: [__m512bh; 2] = [a, b].map(|x| std::mem::transmute(_mm512_loadu_si512(x.as_ptr().cast())));
        _mm512_storeu_ps(out.as_mut_ptr(), _mm512_dpbf16_ps(_mm512_loadu_ps(sums.as_ptr()), a, b))
    };
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

/// Counts lanes that differ and says so.
fn verdict(name: &str, found: impl Iterator<Item = (u32, u32)>) -> bool {
    let (mut lanes, mut wrong, mut fnv) = (0, 0, 0xcbf2_9ce4_8422_2325_u64);
    for (got, want) in found {
        lanes += 1;
        let nans = f32::from_bits(got).is_nan() && f32::from_bits(want).is_nan() && name.ends_with("ps");
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
    let lanes = (0..VECTORS).flat_map(|_| {
        let sums: Floats = std::array::from_fn(|_| numbers.float());
        let mut pairs =
            || -> [u32; 16] { std::array::from_fn(|_| numbers.float().to_bits() & 0xffff_0000 | numbers.float().to_bits() >> 16) };
        let (a, b) = (pairs(), pairs());
        // SAFETY: avx512bf16 was detected before.
        let got = unsafe { dot_bf16(&sums, &a, &b) };
        (0..16).map(move |i| (got[i].to_bits(), plain_dot_bf16(sums[i], a[i], b[i]).to_bits()))
    });
    verdict("vdpbf16ps", lanes)
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
