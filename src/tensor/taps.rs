//! Linear resampling along one axis, as data.

/// The taps of every output along one axis; padding has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AxisTaps {
    /// Per output: first source pixel and the range of its weights.
    taps: Vec<Option<Taps>>,
    weights: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Taps {
    first: usize,
    begin: usize,
    end: usize,
}

impl AxisTaps {
    /// Appends an output whose first source pixel is `first`.
    pub fn push(&mut self, first: usize, weights: impl IntoIterator<Item = f64>) {
        let begin = self.weights.len();
        self.weights.extend(weights);
        self.taps.push(Some(Taps { first, begin, end: self.weights.len() }));
    }

    /// Appends an output that is padding.
    pub fn push_padding(&mut self) {
        self.taps.push(None);
    }

    /// Outputs.
    pub fn len(&self) -> usize {
        self.taps.len()
    }

    /// Whether there are no outputs.
    pub fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// First source pixel and weights of an output; none for padding.
    pub fn at(&self, index: usize) -> Option<(usize, &[f64])> {
        self.taps[index].map(|t| (t.first, &self.weights[t.begin..t.end]))
    }
}
