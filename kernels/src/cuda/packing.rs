//! What every packed weight needs: norms rounded as the device will use them, and pieces that begin at multiples of 16 bytes.

use super::Element;

/// Channels are padded to multiples of this; so are the segments of a slab.
pub const CHANNELS: usize = 16;

/// `channels` rounded up to a multiple of 16.
pub fn pad(channels: usize) -> usize {
    channels.next_multiple_of(CHANNELS)
}

/// Where logical channels lie: the logical channel at a physical position, unless that is padding.
pub type ChannelMap<'a> = &'a dyn Fn(usize) -> Option<usize>;

/// A batch norm of inference, over logical channels: y = scale · (x − mean) + bias.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// weight / sqrt(running_var + eps).
    pub scale: &'a [f64],
    /// running_mean.
    pub mean: &'a [f32],
    /// bias.
    pub bias: &'a [f32],
}

impl Norm<'_> {
    /// scale and shift of y = scale · x + shift as `element` holds them; the shift belongs to the rounded scale.
    pub fn rounded(&self, element: Element, channel: usize) -> (f64, f64) {
        let scale = finite(element, self.scale[channel]);
        (scale, finite(element, f64::from(self.bias[channel]) - f64::from(self.mean[channel]) * scale))
    }

    /// Appends `positions` scales and as many shifts in `element`, zero for padding.
    pub fn pack(&self, element: Element, positions: usize, channels: ChannelMap<'_>, to: &mut Vec<u8>) -> u32 {
        let of = |p: usize| channels(p).map_or((0.0, 0.0), |c| self.rounded(element, c));
        let at = begin(to);
        element.encode((0..positions).map(|p| of(p).0), to);
        element.encode((0..positions).map(|p| of(p).1), to);
        at
    }
}

/// The nearest finite value of `element`.
pub fn finite(element: Element, value: f64) -> f64 {
    let largest = match element {
        Element::F16 => 65504.0,
        Element::Bf16 => f64::from(half::bf16::MAX.to_f32()),
        Element::F32 => f64::from(f32::MAX),
    };
    element.round(value.clamp(-largest, largest))
}

/// Pads packed bytes to a multiple of 16 and returns the offset at which the next piece begins.
///
/// # Panics
/// When there are 4 GiB of packed weights.
pub fn begin(to: &mut Vec<u8>) -> u32 {
    to.resize(to.len().next_multiple_of(16), 0);
    u32::try_from(to.len()).expect("packed weights of less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shift makes up for the rounding of the scale at the running mean; padding is zero; nothing becomes infinite.
    #[test]
    fn norms_are_rounded_together() {
        let norm = Norm { scale: &[1.0 / 3.0, 1e6], mean: &[3.0, 0.0], bias: &[0.5, -1e9] };
        let (scale, shift) = norm.rounded(Element::F16, 0);
        assert_eq!(scale, Element::F16.round(1.0 / 3.0));
        assert!((scale * 3.0 + shift - 0.5).abs() <= 2f64.powi(-12));
        assert_eq!(norm.rounded(Element::F16, 1), (65504.0, -65504.0));
        let mut bytes = vec![1; 3];
        let at = norm.pack(Element::F32, 3, &|p| (p != 1).then_some(p / 2), &mut bytes);
        assert_eq!((at, bytes.len()), (16, 16 + 24));
        assert_eq!(Element::F32.decode(&bytes[16..])[1], 0.0);
        assert_eq!(Element::F32.decode(&bytes[16..])[2], 1e6);
    }
}
