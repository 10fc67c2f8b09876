//! Percentile intervals by resampling cases with replacement: the same seed gives the same interval on every machine and for any number
//! of threads, since every round has its own stream of random numbers.

use rayon::prelude::*;

/// How intervals are resampled.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap<'a> {
    /// Resamples.
    pub rounds: usize,
    /// Of the random numbers.
    pub seed: u64,
    /// Where the rounds run; on the calling thread without one.
    pub pool: Option<&'a rayon::ThreadPool>,
}

impl Bootstrap<'_> {
    /// The 2.5 and 97.5 percentiles (linear interpolation) of `statistic` over the resamples of `n` cases; it gets the drawn cases, and
    /// memory of its own to work with. Resamples on which it is undefined are left out; none when none is left.
    pub fn interval<S>(
        &self,
        n: usize,
        memory: impl Fn() -> S + Sync + Send,
        statistic: impl Fn(&mut S, Draws) -> Option<f64> + Sync + Send,
    ) -> Option<[f64; 2]> {
        if n == 0 {
            return None;
        }
        let round = |memory: &mut S, round: usize| statistic(memory, Draws::new(self.seed, round as u64, n));
        let mut values: Vec<f64> = match self.pool {
            Some(pool) => pool.install(|| (0..self.rounds).into_par_iter().map_init(&memory, round).flatten_iter().collect()),
            None => {
                let mut memory = memory();
                (0..self.rounds).filter_map(|r| round(&mut memory, r)).collect()
            }
        };
        values.sort_unstable_by(f64::total_cmp);
        (!values.is_empty()).then(|| [quantile(&values, 0.025), quantile(&values, 0.975)])
    }

    /// The interval of a statistic that depends only on how often each case was drawn.
    pub fn interval_of_counts(&self, n: usize, statistic: impl Fn(&[u32]) -> Option<f64> + Sync + Send) -> Option<[f64; 2]> {
        self.interval(
            n,
            || vec![0_u32; n],
            |times, draws| {
                times.fill(0);
                draws.for_each(|case| times[case] += 1);
                statistic(times)
            },
        )
    }

    /// The interval of a statistic of `K` counts, such as a two-by-two table: of a resample only the counts are drawn.
    pub fn interval_of_cells<const K: usize>(
        &self,
        cells: [usize; K],
        statistic: impl Fn([usize; K]) -> Option<f64> + Sync + Send,
    ) -> Option<[f64; 2]> {
        let mut ends = cells;
        (1..K).for_each(|k| ends[k] += ends[k - 1]);
        self.interval(
            cells.iter().sum(),
            || (),
            |(), draws| {
                // Cases at or beyond the end of each cell, without a branch.
                let mut beyond = [0_usize; K];
                draws.for_each(|case| (0..K).for_each(|k| beyond[k] += usize::from(case >= ends[k])));
                let n = ends[K - 1];
                statistic(std::array::from_fn(|k| if k == 0 { n } else { beyond[k - 1] } - beyond[k]))
            },
        )
    }
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// `n` cases drawn from 0..n with replacement: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014), each round from a mixed state of its own.
#[derive(Clone, Debug)]
pub struct Draws {
    state: u64,
    n: usize,
    left: usize,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draws {
    fn new(seed: u64, round: u64, n: usize) -> Self {
        Self { state: mix(mix(seed).wrapping_add(round.wrapping_mul(STEP))), n, left: n }
    }
}

impl Iterator for Draws {
    type Item = usize;

    /// By the high half of a product: the bias of n / 2⁶⁴ is far below what resampling can show.
    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        self.state = self.state.wrapping_add(STEP);
        Some(((u128::from(mix(self.state)) * self.n as u128) >> 64) as usize)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: Bootstrap = Bootstrap { rounds: 4000, seed: 7, pool: None };

    fn fair_coin(bootstrap: &Bootstrap) -> Option<[f64; 2]> {
        bootstrap.interval(400, || (), |(), draws| Some(draws.filter(|i| i % 2 == 1).count() as f64 / 400.0))
    }

    #[test]
    fn the_mean_of_a_fair_coin() {
        let [low, high] = fair_coin(&ROUNDS).unwrap();
        // ± 1.96 · ½ / √400 = ± 0.049.
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
        assert_eq!(fair_coin(&ROUNDS), Some([low, high]));
        // Another seed is another sample: a statistic fine enough shows it.
        let sum = |seed| Bootstrap { seed, ..ROUNDS }.interval(400, || (), |(), draws| Some(draws.map(|i| (i as f64).sqrt()).sum()));
        assert_ne!(sum(7), sum(8));
    }

    #[test]
    fn threads_change_nothing() {
        let alone = fair_coin(&ROUNDS);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(fair_coin(&Bootstrap { pool: Some(&pool), ..ROUNDS }), alone, "{threads} threads");
        }
    }

    #[test]
    fn cells_and_counts_are_the_same_resamples() {
        let cells = [39, 9, 5, 24];
        let of_cells = ROUNDS.interval_of_cells(cells, |[a, b, c, d]| Some((a + 2 * b + 3 * c + 5 * d) as f64));
        let of_counts = ROUNDS.interval_of_counts(77, |times| {
            let weight = |i: usize| {
                if i < 39 {
                    1
                } else if i < 48 {
                    2
                } else if i < 53 {
                    3
                } else {
                    5
                }
            };
            Some((0..77).map(|i| weight(i) * f64::from(times[i]) as usize).sum::<usize>() as f64)
        });
        assert_eq!(of_cells, of_counts);
        assert_eq!(ROUNDS.interval_of_cells([3, 0, 0, 0], |[a, b, c, d]| Some((a + 10 * (b + c + d)) as f64)), Some([3.0, 3.0]));
    }

    /// Of 400 samples of 60 cases, the interval holds the true mean in about 95 %.
    #[test]
    fn covers_the_truth() {
        let truth = 0.3;
        let covered = (0..400_u64)
            .filter(|&sample| {
                let drawn = Draws::new(1000 + sample, 0, 1_000_000).take(60).filter(|&v| (v as f64) < truth * 1e6).count();
                let bootstrap = Bootstrap { rounds: 400, seed: sample, pool: None };
                let ci = bootstrap.interval_of_cells([drawn, 60 - drawn], |[a, _]| Some(a as f64 / 60.0)).unwrap();
                (ci[0]..=ci[1]).contains(&truth)
            })
            .count();
        assert!((360..=396).contains(&covered), "{covered} of 400");
    }

    #[test]
    fn undefined_everywhere_is_no_interval() {
        assert_eq!(ROUNDS.interval(5, || (), |(), _| None), None);
        assert_eq!(ROUNDS.interval(0, || (), |(), _| Some(1.0)), None);
        assert_eq!(Bootstrap { rounds: 0, ..ROUNDS }.interval(5, || (), |(), _| Some(1.0)), None);
    }
}
