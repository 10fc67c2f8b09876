//! The weights of all steps in one piece of device memory, and the refusal of what the element type cannot hold.

use crate::backend::channels::Channels;
use crate::weights::Norm;
use crate::{Error, ErrorKind, Result};
use radnet_kernels::cuda::{DeviceMemory, Element, Span, packing};
use std::ops::Range;

/// Packed weights that grow, each piece on a multiple of 16 bytes.
pub(super) struct Packed {
    pub(super) element: Element,
    pub(super) bytes: Vec<u8>,
}

/// Where a piece lies.
pub(super) type Piece = Range<usize>;

/// More than this does not fit the kernels' offsets.
const MOST_BYTES: usize = 3 << 30;

impl Packed {
    /// Nothing yet. `parameters` is how many numbers the model has.
    pub(super) fn new(element: Element, parameters: usize) -> Result<Self> {
        if parameters.saturating_mul(element.bytes()) > MOST_BYTES {
            let message = format!("{parameters} parameters are more than the CUDA kernels address; use --device cpu");
            return Err(Error::new(ErrorKind::Device, message));
        }
        Ok(Self { element, bytes: Vec::new() })
    }

    /// Appends a piece.
    pub(super) fn put(&mut self, piece: &[u8]) -> Piece {
        let start = self.bytes.len().next_multiple_of(16);
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(piece);
        start..start + piece.len()
    }

    /// `value` as the element type holds it.
    ///
    /// # Errors
    /// `device`, naming the tensor, when it is too large.
    fn holds(element: Element, name: &str, value: f64) -> Result<()> {
        if element.round(value).is_finite() {
            return Ok(());
        }
        let precision = super::precision(element);
        let message = format!("{name} holds {value:e}, which {precision} cannot; use another precision (fp32 holds it)");
        Err(Error::new(ErrorKind::Device, message))
    }

    /// Refuses a tensor with a value that the element type cannot hold.
    pub(super) fn check(&self, name: impl Fn() -> String, values: &[f32]) -> Result<()> {
        self.check_as(self.element, name, values)
    }

    /// The same for a tensor that is stored as `element`.
    pub(super) fn check_as(&self, element: Element, name: impl Fn() -> String, values: &[f32]) -> Result<()> {
        let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        match element.round(f64::from(largest)).is_finite() {
            true => Ok(()),
            false => Self::holds(element, &name(), f64::from(largest)),
        }
    }

    /// A norm's scale in float64, checked together with its shift.
    pub(super) fn check_norm(&self, name: impl Fn() -> String, norm: &Norm, eps: f64) -> Result<Vec<f64>> {
        let (scale, shift) = norm.scale_shift(eps);
        for value in scale.iter().chain(&shift) {
            if !self.element.round(*value).is_finite() {
                Self::holds(self.element, &name(), *value)?;
            }
        }
        Ok(scale)
    }
}

/// A norm as the kernels' packing takes it.
pub(super) fn norm<'a>(norm: &'a Norm, scale: &'a [f64]) -> packing::Norm<'a> {
    packing::Norm { scale, mean: &norm.running_mean, bias: &norm.bias }
}

/// Per physical channel, the value of its logical one.
pub(super) fn physical<'a>(channels: Channels, values: impl Fn(usize) -> f64 + 'a) -> impl Fn(usize) -> Option<f64> + 'a {
    move |p| channels.logical(p).map(&values)
}

/// How many numbers a model's tensors hold.
pub(super) fn parameters(model: &crate::weights::Weights) -> usize {
    let norm = |n: &Norm| 4 * n.weight.len();
    let linear = |l: &crate::weights::Linear| l.weight.len() + l.bias.len();
    let blocks = model.blocks.iter().map(|b| {
        let layers: usize = b.layers.iter().map(|l| norm(&l.norm1) + l.conv1.len() + norm(&l.norm2) + l.conv2.len()).sum();
        layers + b.transition.as_ref().map_or(0, |t| norm(&t.norm) + t.conv.len())
    });
    let cells = model.rnn.iter().flat_map(|l| std::iter::once(&l.forward).chain(&l.backward));
    let recurrent: usize = cells.map(|c| c.weight_ih.len() + c.weight_hh.len()).sum();
    model.conv0.len() + blocks.sum::<usize>() + recurrent + model.attention.as_ref().map_or(0, linear) + linear(&model.classifier)
}

/// A piece of the uploaded weights.
///
/// # Errors
/// `device` when it is not inside, which would be a mistake of the packing.
pub(super) fn piece<'a>(memory: &'a DeviceMemory, piece: &Piece) -> Result<Span<'a>> {
    memory.span(piece.start, piece.len()).ok_or_else(|| Error::new(ErrorKind::Device, "a piece of the packed weights is missing"))
}
