//! The product kernel on every tier: against f64 within γ, with the same bits everywhere, and without touching what it does not own.

mod support;

use radnet_kernels::Isa;
use radnet_kernels::cpu::gemm::{Matmul, matmul};
use radnet_kernels::cpu::layout::{matrix_len, pack_matrix, pad};
use support::{Random, assert_within, gamma, on_every_tier};

/// Row counts around the tile heights 6 and 12 and outputs around panels of 16 and groups of 4 panels; K of 1, odd, and past the stride rule.
#[test]
fn product_is_within_gamma_and_bit_equal() {
    for rows in [1, 2, 5, 6, 7, 11, 12, 13, 25] {
        for n in [1, 16, 17, 33, 64, 80, 128] {
            for (k, relu) in [(1, false), (7, true), (64, false), (131, true)] {
                check(rows, n, k, relu);
            }
        }
    }
    check(3, 20, 1500, false);
}

fn check(rows: usize, n: usize, k: usize, relu: bool) {
    let mut random = Random::new((rows * 1000 + n * 10 + k) as u64);
    let stride = k + 3;
    let (a, w, b) = (random.floats(rows * stride), random.floats(n * k), random.padded(n, pad(n)));
    let mut weights = vec![0.0; matrix_len(k, n)];
    pack_matrix(&mut weights, k, n, |o, i| w[o * k + i]);
    let dst_stride = pad(n) + 16;
    let what = format!("{rows}x{n}x{k}");
    let dst = on_every_tier(&what, |isa: Isa| {
        let mut dst = vec![7.5; rows * dst_stride];
        matmul(isa, &Matmul { rows, k, n, a: &a, a_stride: stride, weights: &weights, bias: &b, relu }, &mut dst, dst_stride);
        dst
    });
    for r in 0..rows {
        let row = &dst[r * dst_stride..][..dst_stride];
        assert!(row[pad(n)..].iter().all(|x| *x == 7.5), "{what}: wrote past its outputs");
        assert!(row[n..pad(n)].iter().all(|x| *x == 0.0), "{what}: padded outputs must be zero");
        let (mut exact, mut bound) = (vec![0.0; n], vec![0.0; n]);
        for o in 0..n {
            let products = (0..k).map(|i| f64::from(a[r * stride + i]) * f64::from(w[o * k + i]));
            let sum = f64::from(b[o]) + products.clone().sum::<f64>();
            exact[o] = if relu { sum.max(0.0) } else { sum };
            bound[o] = gamma(k + 1) * (f64::from(b[o]).abs() + products.map(f64::abs).sum::<f64>());
        }
        assert_within(&what, &row[..n], &exact, &bound);
    }
}
