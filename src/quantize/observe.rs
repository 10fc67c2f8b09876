//! What the activations of scans reach: the lowest and the highest value of every channel, slice by slice.

use super::plain::{Planes, Watcher, run};
use crate::model::Quantisation;
use crate::model::quantisation::{BlockRanges, Range, block_shapes};
use crate::observer::Observer;
use crate::tensor::SliceSource;
use crate::weights::Model;
use crate::{Error, ErrorKind, Result};
use rayon::prelude::*;

/// The bounds of every channel over the scans so far.
#[derive(Clone, Debug)]
pub struct Observed<'m> {
    model: &'m Model,
    bounds: Quantisation,
    scans: usize,
    slices: usize,
}

/// What a range reaches beyond the bounds on either side, in their distance: other scans go a little further than those looked at.
pub const MARGIN: f64 = 0.1;

impl<'m> Observed<'m> {
    /// Nothing seen yet.
    pub fn new(model: &'m Model) -> Self {
        Self { model, bounds: nothing(model), scans: 0, slices: 0 }
    }

    /// Looks at every slice of a scan, on the current pool; a worker holds the activations of one slice.
    ///
    /// # Errors
    /// `cancelled`, `out_of_memory`; `bad_geometry` when the scan's shape is not the model's; `bad_model` when the weights make activations
    /// that are not finite.
    pub fn add(&mut self, scan: &dyn SliceSource, observer: &dyn Observer) -> Result<()> {
        let network = &self.model.network;
        if (scan.channels(), scan.extent()) != (network.channels, network.input) {
            return Err(Error::new(ErrorKind::BadGeometry, "the scan has not the shape that the model takes"));
        }
        let slices = scan.slices();
        let done = std::sync::atomic::AtomicUsize::new(0);
        let one = |index: usize| {
            if observer.cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the host stopped the scan"));
            }
            let mut slice = vec![0.0; network.channels * network.input.area()];
            scan.write_slice(index, &mut slice);
            let mut bounds = Bounds(nothing(self.model));
            run(self.model, &slice, &mut bounds)?;
            observer.slices_done(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, slices);
            Ok(bounds.0)
        };
        let seen = (0..slices).into_par_iter().map(one).try_reduce(|| nothing(self.model), |a, b| Ok(merged(a, b)))?;
        let finite = |r: &Range| r.low.is_finite() && r.high.is_finite();
        if !seen.blocks.iter().all(|b| b.channels.iter().all(finite) && b.mid.iter().flatten().all(|v| v.is_finite())) {
            return Err(Error::new(ErrorKind::BadModel, "the weights overflow: an activation is not finite"));
        }
        self.bounds = merged(std::mem::take(&mut self.bounds), seen);
        self.scans += 1;
        self.slices += slices;
        Ok(())
    }

    /// Scans and slices seen.
    pub fn seen(&self) -> (usize, usize) {
        (self.scans, self.slices)
    }

    /// The ranges: [`MARGIN`] beyond the bounds, and what [`Quantisation::from_bounds`] says.
    ///
    /// # Errors
    /// `no_images` when nothing was seen.
    pub fn ranges(&self) -> Result<Quantisation> {
        if self.slices == 0 {
            return Err(Error::new(ErrorKind::NoImages, "there is no scan to take ranges from"));
        }
        Ok(Quantisation::from_bounds(&self.model.network, &self.model.weights, &self.bounds, MARGIN))
    }
}

/// The bounds of nothing: every value is beyond them.
fn nothing(model: &Model) -> Quantisation {
    let empty = Range { low: f32::INFINITY, high: f32::NEG_INFINITY };
    let blocks = block_shapes(&model.network).into_iter().map(|shape| BlockRanges {
        channels: vec![empty; shape.channels],
        mid: shape.mid.iter().map(|channels| vec![0.0; *channels]).collect(),
    });
    Quantisation { blocks: blocks.collect() }
}

fn merged(mut a: Quantisation, b: Quantisation) -> Quantisation {
    for (a, b) in a.blocks.iter_mut().zip(b.blocks) {
        a.channels.iter_mut().zip(b.channels).for_each(|(a, b)| *a = Range { low: a.low.min(b.low), high: a.high.max(b.high) });
        a.mid.iter_mut().flatten().zip(b.mid.into_iter().flatten()).for_each(|(a, b)| *a = a.max(b));
    }
    a
}

struct Bounds(Quantisation);

impl Watcher for Bounds {
    fn slab(&mut self, block: usize, first: usize, planes: &Planes) {
        for (range, plane) in self.0.blocks[block].channels[first..].iter_mut().zip(planes.channels()) {
            let (low, high) = plane.iter().fold((range.low, range.high), |(low, high), v| (low.min(*v), high.max(*v)));
            *range = Range { low, high };
        }
    }

    fn mid(&mut self, block: usize, layer: usize, planes: &Planes) {
        for (bound, plane) in self.0.blocks[block].mid[layer].iter_mut().zip(planes.channels()) {
            *bound = plane.iter().fold(*bound, |high, v| high.max(*v));
        }
    }
}
