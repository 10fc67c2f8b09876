//! The contact sheet: every slice of a scan in one picture, which people look at first.

use super::canvas::{Canvas, TEXT_HEIGHT, fit, text_width};
use super::colour::{ALARM, BACKGROUND, FAINT, INK};
use super::overlay::{ScanView, legend};

const GAP: usize = 6;

/// How many tiles stand side by side, and how large they are.
struct Grid {
    columns: usize,
    tile: usize,
}

impl Grid {
    fn of(slices: usize) -> Self {
        let (columns, tile) = match slices {
            0..=6 => (slices.clamp(4, 6), 256),
            7..=40 => (8, 192),
            41..=120 => (12, 144),
            _ => (20, 112),
        };
        Self { columns, tile }
    }
}

impl ScanView<'_> {
    /// All slices, inferior to superior, left to right and top to bottom; positive ones are framed.
    pub fn contact_sheet(&self) -> Canvas {
        let slices = self.study.slices.len();
        let grid = Grid::of(slices);
        let [tile_height, tile_width] = self.panel_size(grid.tile);
        let (cell_height, cell_width) = (tile_height + TEXT_HEIGHT + GAP, tile_width + GAP);
        let head = GAP + (1 + self.study.scan.len()) * (TEXT_HEIGHT + 2);
        let width = GAP + grid.columns * cell_width;
        let height = head + GAP + slices.div_ceil(grid.columns) * cell_height + GAP;
        let mut canvas = Canvas::new(width, height, BACKGROUND);
        self.heading(&mut canvas, width);
        for slice in 0..slices {
            let (row, col) = (head + GAP + slice / grid.columns * cell_height, GAP + slice % grid.columns * cell_width);
            canvas.paste(row, col, &self.panel(slice, self.heats.first(), grid.tile));
            let positive = self.any_positive(slice);
            if positive {
                canvas.outline([row, col], [tile_height, tile_width], 2, ALARM);
            }
            let caption = fit(&self.tile_caption(slice), tile_width);
            canvas.text(row + tile_height, col + 2, &caption, if positive { ALARM } else { FAINT });
        }
        canvas
    }

    fn heading(&self, canvas: &mut Canvas, width: usize) {
        let line = TEXT_HEIGHT + 2;
        let heat = self.heats.first().map_or("no maps in this model", |h| h.title.as_str());
        let words = format!("{} slices, inferior to superior   brain window, level 40, width 80 HU   {heat}", self.study.slices.len());
        canvas.text(GAP, GAP, &fit(&words, width.saturating_sub(GAP + 200)), FAINT);
        if let Some(heat) = self.heats.first() {
            legend(canvas, [GAP, width - GAP], heat);
        }
        for (i, (class, score)) in self.study.scan.iter().enumerate() {
            let verdict = if score.positive { "POSITIVE" } else { "negative" };
            let words = format!("{verdict}  {class}: scan score {:.3}, threshold {:.3}", score.score, score.threshold);
            canvas.text(GAP + (i + 1) * line, GAP, &fit(&words, width - 2 * GAP), if score.positive { ALARM } else { INK });
        }
    }

    fn tile_caption(&self, slice: usize) -> String {
        let result = &self.study.slices[slice];
        let place = match result.position_mm {
            Some(position) => format!("{} {position:.0}mm", result.index),
            None => result.index.to_string(),
        };
        let most = result.probability.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let Some((class, p)) = most else { return place };
        let full = format!("{place} {class} {p:.2}");
        if result.probability.len() == 1 || text_width(&full) > self.panel_size(Grid::of(self.study.slices.len()).tile)[1] {
            format!("{place} {p:.2}")
        } else {
            full
        }
    }
}
