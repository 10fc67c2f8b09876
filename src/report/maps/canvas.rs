//! An RGB picture in memory: rectangles, captions, PNG.

use crate::{Error, ErrorKind, Result};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Row-major RGB pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    pixels: Vec<Rgb>,
}

/// Height of a line of text in pixels.
pub const TEXT_HEIGHT: usize = 16;

const FONT: (FontWeight, RasterHeight) = (FontWeight::Regular, RasterHeight::Size16);

impl Canvas {
    /// A picture of one colour.
    pub fn new(width: usize, height: usize, colour: Rgb) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// A picture whose pixel (row, column) is `colour(row, column)`.
    pub fn from_fn(width: usize, height: usize, mut colour: impl FnMut(usize, usize) -> Rgb) -> Self {
        let pixels = (0..width * height).map(|i| colour(i / width, i % width)).collect();
        Self { width, height, pixels }
    }

    /// The colour of a pixel.
    pub fn at(&self, row: usize, col: usize) -> Rgb {
        self.pixels[row * self.width + col]
    }

    /// Sets a pixel; outside the picture nothing happens.
    pub fn set(&mut self, row: usize, col: usize, colour: Rgb) {
        if row < self.height && col < self.width {
            self.pixels[row * self.width + col] = colour;
        }
    }

    /// Copies a picture with its corner at (row, col); what sticks out is cut off.
    pub fn paste(&mut self, row: usize, col: usize, picture: &Self) {
        for r in 0..picture.height {
            for c in 0..picture.width {
                self.set(row + r, col + c, picture.at(r, c));
            }
        }
    }

    /// Draws the outline of a rectangle, `thickness` pixels inwards.
    pub fn outline(&mut self, [row, col]: [usize; 2], [height, width]: [usize; 2], thickness: usize, colour: Rgb) {
        for r in 0..height {
            for c in 0..width {
                if r.min(c).min(height - 1 - r).min(width - 1 - c) < thickness {
                    self.set(row + r, col + c, colour);
                }
            }
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, [row, col]: [usize; 2], [height, width]: [usize; 2], colour: Rgb) {
        for r in row..row + height {
            for c in col..col + width {
                self.set(r, c, colour);
            }
        }
    }

    /// Writes a line of text with its upper left corner at (row, col), over what is there; characters outside ASCII become `?`.
    pub fn text(&mut self, row: usize, col: usize, text: &str, colour: Rgb) {
        let advance = get_raster_width(FONT.0, FONT.1);
        for (i, character) in text.chars().enumerate() {
            let glyph = get_raster(character, FONT.0, FONT.1).or_else(|| get_raster('?', FONT.0, FONT.1));
            let Some(glyph) = glyph else { continue };
            for (r, line) in glyph.raster().iter().enumerate() {
                for (c, ink) in line.iter().enumerate() {
                    let (r, c) = (row + r, col + i * advance + c);
                    if r < self.height && c < self.width {
                        self.set(r, c, mix(self.at(r, c), colour, f32::from(*ink) / 255.0));
                    }
                }
            }
        }
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// `io` for a picture that PNG cannot hold: a side of 0.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let fail = |e: png::EncodingError| Error::new(ErrorKind::Io, format!("cannot encode a PNG: {e}")).caused_by(e);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(fail)?;
        writer.write_image_data(self.pixels.as_flattened()).map_err(fail)?;
        writer.finish().map_err(fail)?;
        Ok(bytes)
    }
}

/// Width of a line of text in pixels.
pub fn text_width(text: &str) -> usize {
    text.chars().count() * get_raster_width(FONT.0, FONT.1)
}

/// `text`, cut with `...` so that it fits in `width` pixels.
pub fn fit(text: &str, width: usize) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let room = (width / text_width("x")).saturating_sub(3);
    text.chars().take(room).chain("...".chars()).collect()
}

/// `under` with `share` of `over` on it.
pub fn mix(under: Rgb, over: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|i| {
        let (u, o) = (f32::from(under[i]), f32::from(over[i]));
        (u + (o - u) * share).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_reads_back_to_its_pixels() {
        let canvas = Canvas::from_fn(7, 3, |r, c| [r as u8 * 40, c as u8 * 30, 200]);
        let bytes = canvas.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (7, 3));
        assert_eq!(pixels, canvas.pixels.as_flattened());
        assert!(Canvas::new(0, 3, [0; 3]).to_png().is_err());
    }

    /// Drawing over every edge is cut off, not a panic; text leaves ink.
    #[test]
    fn drawing_stays_inside() {
        let mut canvas = Canvas::new(20, 20, [0; 3]);
        canvas.text(2, 2, "p é", [255; 3]);
        assert!((0..400).any(|i| canvas.at(i / 20, i % 20) != [0; 3]));
        canvas.fill([15, 15], [10, 10], [9; 3]);
        canvas.outline([15, 15], [10, 10], 2, [8; 3]);
        canvas.paste(18, 18, &Canvas::new(5, 5, [7; 3]));
        assert_eq!(canvas.at(19, 19), [7; 3]);
        assert_eq!(fit("abcdefghij", text_width("abcdef")), "abc...");
    }
}
