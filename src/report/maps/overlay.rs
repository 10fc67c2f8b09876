//! One slice as a picture: the brain window beside what the network saw on it.

use super::canvas::{Canvas, Rgb, TEXT_HEIGHT, fit, mix, text_width};
use super::colour::{ALARM, BACKGROUND, FAINT, INK, Ramp, brain_grey};
use super::frame::{Frame, Plane, Tap};
use crate::Result;
use crate::backend::ScanMaps;
use crate::model::config::Input;
use crate::report::StudyOk;
use crate::tensor::Extent;
use crate::volume::HuVolume;

/// A scan with its result and maps, ready to be drawn.
pub struct ScanView<'a> {
    /// The slices.
    pub volume: &'a HuVolume,
    /// What was found on them.
    pub study: &'a StudyOk,
    /// Where the network's pixels lie.
    pub frame: Frame,
    /// Segmentation first, then attention; empty for a model with neither.
    pub heats: Vec<Heat>,
}

/// One kind of map over the whole scan.
#[derive(Clone, Debug)]
pub struct Heat {
    /// For captions.
    pub title: String,
    /// How it is coloured.
    pub tint: Tint,
    /// The value of the hottest colour.
    pub full_scale: f32,
    extent: Extent,
    slices: Vec<Vec<f32>>,
}

/// What a heat means decides how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    /// A probability per pixel; a line marks one half.
    Segmentation,
    /// Weights, relative to the largest of the scan.
    Attention,
}

/// Pixels of the longer side of a slice in an overlay.
pub const PANEL: usize = 512;
const MARGIN: usize = 8;

impl Heat {
    /// The heats that a scan's maps allow: the deepest segmentation head (it sees the most context), and the mean of the attention heads.
    pub fn of(maps: &ScanMaps, input: Extent) -> Vec<Self> {
        let segmentation = maps.segmentation_blocks.last().filter(|_| !maps.segmentation.is_empty()).map(|block| {
            let last = |slice: &Vec<f32>| slice[slice.len() - input.area()..].to_vec();
            Self {
                title: format!("segmentation, block {block}"),
                tint: Tint::Segmentation,
                full_scale: 1.0,
                extent: input,
                slices: maps.segmentation.iter().map(last).collect(),
            }
        });
        let attention = maps.attention_extent.filter(|_| !maps.attention.is_empty()).map(|extent| {
            let slices: Vec<Vec<f32>> = maps.attention.iter().map(|slice| mean_over_heads(slice, extent)).collect();
            let full_scale = slices.iter().flatten().copied().fold(f32::MIN_POSITIVE, f32::max);
            Self { title: "attention".to_owned(), tint: Tint::Attention, full_scale, extent, slices }
        });
        segmentation.into_iter().chain(attention).collect()
    }

    fn plane(&self, slice: usize) -> Plane<'_> {
        Plane { values: &self.slices[slice], width: self.extent.width }
    }

    fn ramp(&self) -> Ramp {
        match self.tint {
            Tint::Segmentation => Ramp::Warm,
            Tint::Attention => Ramp::Cool,
        }
    }
}

fn mean_over_heads(slice: &[f32], extent: Extent) -> Vec<f32> {
    let heads = (slice.len() / extent.area()).max(1);
    (0..extent.area()).map(|i| slice.iter().skip(i).step_by(extent.area()).sum::<f32>() / heads as f32).collect()
}

impl<'a> ScanView<'a> {
    /// A view of a judged scan.
    ///
    /// # Errors
    /// `bad_geometry`, as pre-processing would.
    pub fn new(volume: &'a HuVolume, study: &'a StudyOk, maps: &ScanMaps, input: &Input) -> Result<Self> {
        let frame = Frame::new(volume, input)?;
        Ok(Self { volume, study, heats: Heat::of(maps, frame.input()), frame })
    }

    /// Height and width of a slice drawn with square pixels and a longer side of `side`.
    pub fn panel_size(&self, side: usize) -> [usize; 2] {
        let [sy, sx] = self.volume.spacing_mm().unwrap_or([1.0, 1.0]);
        let (height, width) = (self.volume.rows() as f64 * sy, self.volume.cols() as f64 * sx);
        let scale = side as f64 / height.max(width);
        [height, width].map(|v| ((v * scale).round() as usize).clamp(side / 8, side))
    }

    /// The slice in the brain window, with `heat` over it.
    pub fn panel(&self, slice: usize, heat: Option<&Heat>, side: usize) -> Canvas {
        let mut canvas = self.grey(slice, side);
        if let Some(heat) = heat {
            self.draw_heat(&mut canvas, slice, heat);
        }
        canvas
    }

    /// Bilinear where the picture is larger than the slice; the mean of several samples per pixel where it is smaller.
    fn grey(&self, slice: usize, side: usize) -> Canvas {
        let [height, width] = self.panel_size(side);
        let (rows, cols) = (self.volume.rows(), self.volume.cols());
        let pixels = &self.volume.slices()[slice].pixels;
        let values: Vec<f32> = (0..pixels.len()).map(|i| pixels.hu(i)).collect();
        let plane = Plane { values: &values, width: cols };
        let fine = rows.div_ceil(height).max(cols.div_ceil(width)).min(8);
        let taps = |to: usize, from: usize| -> Vec<Tap> {
            (0..to * fine).map(|i| Tap::new((i as f64 + 0.5) * from as f64 / (to * fine) as f64 - 0.5, from)).collect()
        };
        let (row_taps, col_taps) = (taps(height, rows), taps(width, cols));
        Canvas::from_fn(width, height, |r, c| {
            let across = |row: &Tap| col_taps[c * fine..][..fine].iter().map(|col| plane.at(*row, *col)).sum::<f32>();
            brain_grey(row_taps[r * fine..][..fine].iter().map(across).sum::<f32>() / (fine * fine) as f32)
        })
    }

    fn draw_heat(&self, canvas: &mut Canvas, slice: usize, heat: &Heat) {
        let (height, width) = (canvas.height, canvas.width);
        let (input, extent) = (self.frame.input(), heat.extent);
        let place = |i: usize, to: usize, from: usize| (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let (rows, cols) = (self.volume.rows(), self.volume.cols());
        let row = |r| Tap::on_map(self.frame.to_input([place(r, height, rows), 0.0])[0], input.height, extent.height);
        let col = |c| Tap::on_map(self.frame.to_input([0.0, place(c, width, cols)])[1], input.width, extent.width);
        let (row_taps, col_taps): (Vec<Tap>, Vec<Tap>) = ((0..height).map(row).collect(), (0..width).map(col).collect());
        let plane = heat.plane(slice);
        let value = |i: usize| plane.inside(row_taps[i / width], col_taps[i % width]).unwrap_or(0.0) / heat.full_scale;
        let values: Vec<f32> = (0..height * width).map(value).collect();
        let is_edge = |i: usize| {
            let (r, c) = (i / width, i % width);
            let around = [(r > 0, i.wrapping_sub(width)), (r + 1 < height, i + width), (c > 0, i.wrapping_sub(1)), (c + 1 < width, i + 1)];
            values[i] >= 0.5 && around.iter().any(|&(there, n)| there && values[n] < 0.5)
        };
        for (i, t) in values.iter().enumerate() {
            let colour = match heat.tint {
                Tint::Segmentation if is_edge(i) => heat.ramp().colour(1.0),
                _ => heat.ramp().over(canvas.at(i / width, i % width), *t),
            };
            canvas.set(i / width, i % width, colour);
        }
    }

    /// The picture of one slice: brain window, then one panel per heat, with what the result says of it above.
    pub fn overlay(&self, slice: usize) -> Canvas {
        let panels: Vec<Canvas> =
            std::iter::once(None).chain(self.heats.iter().map(Some)).map(|heat| self.panel(slice, heat, PANEL)).collect();
        let (height, width) = (panels[0].height, panels[0].width);
        let total = MARGIN + panels.len() * (width + MARGIN);
        let line = TEXT_HEIGHT + 4;
        let mut canvas = Canvas::new(total, height + 2 * line + 2 * MARGIN, BACKGROUND);
        self.caption(&mut canvas, slice);
        for (i, panel) in panels.iter().enumerate() {
            let (row, col) = (MARGIN + line, MARGIN + i * (width + MARGIN));
            canvas.paste(row, col, panel);
            side_marks(&mut canvas, [row, col], [height, width]);
            let below = row + height + 4;
            let title = i.checked_sub(1).map_or("brain window, level 40, width 80 HU", |h| &self.heats[h].title);
            canvas.text(below, col, &fit(title, width), FAINT);
            if let Some(heat) = i.checked_sub(1).map(|h| &self.heats[h]) {
                legend(&mut canvas, [below, col + width], heat);
            }
        }
        canvas
    }

    fn caption(&self, canvas: &mut Canvas, slice: usize) {
        let result = &self.study.slices[slice];
        let mut words = format!("slice {} (0-{})", result.index, self.study.slices.len() - 1);
        if let Some(number) = result.instance_number {
            words += &format!("  image {number}");
        }
        if let Some(position) = result.position_mm {
            words += &format!("  {position:.1} mm");
        }
        let mut col = MARGIN;
        canvas.text(MARGIN - 2, col, &words, INK);
        col += text_width(&words) + 2 * MARGIN;
        for (class, p) in result.probability.iter() {
            let positive = self.is_positive(class, *p);
            let words = format!("{class} {p:.3}");
            canvas.text(MARGIN - 2, col, &words, if positive { ALARM } else { FAINT });
            col += text_width(&words) + MARGIN;
        }
    }

    /// Whether a slice's probability reaches its class's threshold.
    pub fn is_positive(&self, class: &str, probability: f64) -> bool {
        self.study.scan.get(class).is_some_and(|s| probability >= s.threshold)
    }

    /// Whether any class is positive on a slice.
    pub fn any_positive(&self, slice: usize) -> bool {
        self.study.slices[slice].probability.iter().any(|(class, p)| self.is_positive(class, *p))
    }
}

/// "R" and "L": the patient's right is on the viewer's left, as radiologists look at it.
fn side_marks(canvas: &mut Canvas, [row, col]: [usize; 2], [height, width]: [usize; 2]) {
    let middle = row + (height - TEXT_HEIGHT) / 2;
    canvas.text(middle, col + 4, "R", FAINT);
    canvas.text(middle, col + width - 4 - text_width("L"), "L", FAINT);
}

/// A colour bar that ends at `right`, from 0 to the heat's full scale.
pub(super) fn legend(canvas: &mut Canvas, [row, right]: [usize; 2], heat: &Heat) {
    const BAR: usize = 96;
    let dark: Rgb = mix(BACKGROUND, [255; 3], 0.15);
    let (from, to) = ("0 ", format!(" {:.2}", heat.full_scale));
    let left = right.saturating_sub(BAR + text_width(from) + text_width(&to));
    let bar = left + text_width(from);
    canvas.text(row, left, from, FAINT);
    canvas.text(row, bar + BAR, &to, FAINT);
    for c in 0..BAR {
        for r in 3..TEXT_HEIGHT - 3 {
            canvas.set(row + r, bar + c, heat.ramp().over(dark, c as f32 / (BAR - 1) as f32));
        }
    }
}
