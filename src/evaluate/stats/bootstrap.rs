//! Percentile intervals by resampling cases with replacement: the same seed gives the same interval on every machine.

/// The 2.5 and 97.5 percentiles (linear interpolation) of `statistic` over `rounds` resamples of `n` cases; resamples on which the
/// statistic is undefined are left out. None when none is left.
pub fn percentile_interval(n: usize, rounds: usize, seed: u64, mut statistic: impl FnMut(&[usize]) -> Option<f64>) -> Option<[f64; 2]> {
    if n == 0 {
        return None;
    }
    let mut random = SplitMix64(seed);
    let mut sample = vec![0; n];
    let mut values: Vec<f64> = (0..rounds)
        .filter_map(|_| {
            sample.iter_mut().for_each(|i| *i = random.below(n));
            statistic(&sample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| [quantile(&values, 0.025), quantile(&values, 0.975)])
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014): all that resampling needs.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform below `n`, by the high half of a product: the bias of n / 2⁶⁴ is far below what resampling can show.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_fair_coin() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let mean = |s: &[usize]| Some(s.iter().map(|&i| values[i]).sum::<f64>() / s.len() as f64);
        let [low, high] = percentile_interval(400, 4000, 7, mean).unwrap();
        // ± 1.96 · ½ / √400 = ± 0.049.
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
        assert_eq!(percentile_interval(400, 4000, 7, mean), Some([low, high]));
        assert_ne!(percentile_interval(400, 4000, 8, mean), Some([low, high]));
    }

    #[test]
    fn undefined_everywhere_is_no_interval() {
        assert_eq!(percentile_interval(5, 100, 0, |_| None), None);
        assert_eq!(percentile_interval(0, 100, 0, |_| Some(1.0)), None);
    }
}
