//! Linear scales, their ticks, and curves thinned to what a drawing can show.

/// A linear scale; values outside are drawn at its ends, and what is no number at its low end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From 0 to 1.
    pub(in crate::report) const UNIT: Self = Self { low: 0.0, high: 1.0 };

    /// From `low` to `high`, which is put above `low` where it is not.
    pub(in crate::report) fn new(low: f64, high: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 } }
    }

    /// Position in [0, 1].
    pub(super) fn share(self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten from 0 to at least `high`: about `wanted` of them, never more than twice as many.
pub(in crate::report) fn nice_ticks(high: f64, wanted: usize) -> Vec<f64> {
    let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
    let raw = high / wanted.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw * (1.0 - 1e-9)).unwrap_or(10.0 * power);
    let count = (high / step * (1.0 - 1e-9)).ceil() as usize;
    (0..=count.max(1)).map(|i| i as f64 * step).collect()
}

/// A curve of any length, x from 0 to 1 and never falling, as at most `limit` points: of those in one thin upright strip the first, the
/// lowest, the highest and the last, in their order.
pub(in crate::report) fn thin(curve: impl Iterator<Item = (f64, f64)>, limit: usize) -> Vec<(f64, f64)> {
    let strips = (limit / 4).max(1);
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut current: Option<Strip> = None;
    for (position, point) in curve.enumerate() {
        let number = ((point.0.clamp(0.0, 1.0) * strips as f64) as usize).min(strips - 1);
        match &mut current {
            Some(strip) if strip.number == number => strip.extend(position, point),
            _ => {
                current.take().into_iter().for_each(|strip| strip.put(&mut kept));
                current = Some(Strip { number, points: [(position, point); 4] });
            }
        }
    }
    current.into_iter().for_each(|strip| strip.put(&mut kept));
    kept
}

/// First, lowest, highest and last point of a strip, each with its position in the curve.
struct Strip {
    number: usize,
    points: [(usize, (f64, f64)); 4],
}

impl Strip {
    fn extend(&mut self, position: usize, point: (f64, f64)) {
        let [_, lowest, highest, last] = &mut self.points;
        if point.1 < lowest.1.1 {
            *lowest = (position, point);
        }
        if point.1 >= highest.1.1 {
            *highest = (position, point);
        }
        *last = (position, point);
    }

    fn put(mut self, kept: &mut Vec<(f64, f64)>) {
        self.points.sort_by_key(|(position, _)| *position);
        let mut before = None;
        for (position, point) in self.points {
            if before.replace(position) != Some(position) {
                kept.push(point);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(nice_ticks(1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(nice_ticks(7.0, 4), [0.0, 2.0, 4.0, 6.0, 8.0]);
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(nice_ticks(odd, 2), [0.0, 0.5, 1.0], "{odd}");
        }
        for high in [1e-9, 0.037, 3.0, 999.0, 750_000.0] {
            let ticks = nice_ticks(high, 5);
            assert!(*ticks.last().unwrap() >= high * (1.0 - 1e-6) && ticks.len() <= 11, "{high}: {ticks:?}");
        }
    }

    #[test]
    fn a_scale_gives_finite_shares() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.0, 0.5] {
            assert!((0.0..=1.0).contains(&Scale::UNIT.share(value)));
            assert!((0.0..=1.0).contains(&Scale::new(2.0, 2.0).share(value)));
        }
    }

    /// A million points become a thousand that keep ends, order and extremes; a short curve stays as it is.
    #[test]
    fn long_curves_are_thinned_and_short_ones_kept() {
        let saw = |i: usize| (i as f64 / 1e6, if i == 700_001 { 5.0 } else { (i % 7) as f64 / 7.0 });
        let thinned = thin((0..=1_000_000).map(saw), 1000);
        assert!(thinned.len() <= 1000 && thinned.len() > 500, "{}", thinned.len());
        assert_eq!((thinned[0], thinned[thinned.len() - 1]), (saw(0), saw(1_000_000)));
        assert!(thinned.windows(2).all(|w| w[0].0 <= w[1].0) && thinned.iter().any(|p| p.1 == 5.0));
        let steps = [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (1.0, 1.0)];
        assert_eq!(thin(steps.into_iter(), 1000), [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]);
        assert!(thin(std::iter::empty(), 1000).is_empty());
    }
}
