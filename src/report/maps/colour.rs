//! The colours of pictures: a grey brain window, and heat that grows from nothing to opaque.

use super::canvas::{Rgb, mix};

/// Level and width of the brain window of every picture, in HU.
pub const BRAIN_WINDOW: (f32, f32) = (40.0, 80.0);
/// Behind everything.
pub const BACKGROUND: Rgb = [14, 16, 20];
/// Captions.
pub const INK: Rgb = [226, 230, 236];
/// Captions of less weight.
pub const FAINT: Rgb = [138, 146, 158];
/// Positive slices and scans.
pub const ALARM: Rgb = [255, 92, 80];

/// A ramp from a first visible value to full scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// Violet, red, orange, pale yellow.
    Warm,
    /// Blue, teal, green, yellow.
    Cool,
}

impl Ramp {
    /// The colour of `t` in [0, 1].
    pub fn colour(self, t: f32) -> Rgb {
        let stops: &[Rgb] = match self {
            Self::Warm => &[[92, 22, 120], [190, 40, 110], [244, 80, 60], [253, 160, 50], [255, 238, 130]],
            Self::Cool => &[[60, 60, 150], [44, 113, 160], [31, 158, 145], [94, 201, 98], [253, 231, 37]],
        };
        let at = t.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
        let low = (at as usize).min(stops.len() - 2);
        mix(stops[low], stops[low + 1], at - low as f32)
    }

    /// `under` seen through heat of `t` in [0, 1]: clear below a tenth, never fully opaque, so that the brain stays visible.
    pub fn over(self, under: Rgb, t: f32) -> Rgb {
        let t = t.clamp(0.0, 1.0);
        let shown = ((t - CLEAR_BELOW) / (1.0 - CLEAR_BELOW)).max(0.0);
        mix(under, self.colour(t), MOST_OPAQUE * shown.sqrt())
    }
}

const CLEAR_BELOW: f32 = 0.1;
const MOST_OPAQUE: f32 = 0.62;

/// The grey of a value in HU in the brain window.
pub fn brain_grey(hu: f32) -> Rgb {
    let (level, width) = BRAIN_WINDOW;
    let share = ((hu - (level - width / 2.0)) / width).clamp(0.0, 1.0);
    [(share * 255.0).round() as u8; 3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_and_the_ramps_meet_their_ends() {
        assert_eq!([brain_grey(-50.0), brain_grey(0.0), brain_grey(80.0), brain_grey(900.0)], [[0; 3], [0; 3], [255; 3], [255; 3]]);
        assert_eq!(brain_grey(40.0), [128; 3]);
        for ramp in [Ramp::Warm, Ramp::Cool] {
            assert_eq!(ramp.over([50; 3], 0.09), [50; 3]);
            assert_ne!(ramp.over([50; 3], 0.5), [50; 3]);
            assert_eq!(ramp.colour(2.0), ramp.colour(1.0));
            assert_eq!(ramp.over([50; 3], f32::NAN), [50; 3], "a map that is not a number is not drawn");
        }
    }
}
