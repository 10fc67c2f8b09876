//! Asks the processor for AVX-512 and checks a vector of fused multiply-adds, bit by bit, against `f32::mul_add`.

use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_storeu_ps};
use std::process::ExitCode;

/// Sixteen products and sums at once.
#[target_feature(enable = "avx512f")]
fn fused(a: &[f32; 16], b: &[f32; 16], c: &[f32; 16]) -> [f32; 16] {
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

/// Any 32 bits, as a float of ordinary size in half of the cases (a few binades around one) and anything finite in the others.
fn float(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    let bits = (*state >> 32) as u32;
    if *state & 0x100 != 0 {
        return f32::from_bits(bits & 0x81ff_ffff | 0x3e00_0000);
    }
    let value = f32::from_bits(bits);
    if value.is_finite() { value } else { 0.0 }
}

fn main() -> ExitCode {
    println!(
        "avx512f {} avx512bw {} avx512dq {} avx512vl {} avx512vnni {} avx2 {} fma {}",
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("avx512bw"),
        is_x86_feature_detected!("avx512dq"),
        is_x86_feature_detected!("avx512vl"),
        is_x86_feature_detected!("avx512vnni"),
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("fma")
    );
    if !is_x86_feature_detected!("avx512f") {
        println!("no AVX-512 here");
        return ExitCode::FAILURE;
    }
    let (mut state, mut wrong, mut fnv) = (1, 0, 0xcbf2_9ce4_8422_2325_u64);
    const VECTORS: usize = 20_000;
    for _ in 0..VECTORS {
        let (a, b, c): ([f32; 16], [f32; 16], [f32; 16]) = (
            std::array::from_fn(|_| float(&mut state)),
            std::array::from_fn(|_| float(&mut state)),
            std::array::from_fn(|_| float(&mut state)),
        );
        // SAFETY: avx512f was detected above.
        let got = unsafe { fused(&a, &b, &c) };
        for i in 0..16 {
            let want = a[i].mul_add(b[i], c[i]);
            wrong += usize::from(got[i].to_bits() != want.to_bits());
            fnv = (fnv ^ u64::from(got[i].to_bits())).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("{wrong} of {} fused multiply-adds differ from f32::mul_add; hash {fnv:016x}", 16 * VECTORS);
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
