//! The lossless process (T.81 annex H): Huffman-coded differences from one of seven predictors.

use super::bits::{Bits, Table};
use super::{Codestream, FrameHeader, Scan};
use crate::Result;
use crate::dicom::codec::corrupt;

/// Fills `samples`, rows of `cols`.
pub(super) fn decode(code: &Codestream<'_>, frame: FrameHeader, scan: &Scan<'_>, cols: usize, samples: &mut [u16]) -> Result<()> {
    if !code.restart.is_multiple_of(cols) {
        return Err(corrupt(format!("a lossless JPEG restart interval of {} in rows of {cols}", code.restart)));
    }
    if scan.point_transform >= frame.precision {
        return Err(corrupt(format!("a lossless JPEG point transform of {} in {} bits", scan.point_transform, frame.precision)));
    }
    let table = scan.table(&code.dc, scan.dc)?;
    // All seven predictors of a sample from its neighbours: a to the left, b above, c above a.
    match scan.predictor {
        1 => rows(code, frame, scan, (cols, table), samples, |a, _, _| a),
        2 => rows(code, frame, scan, (cols, table), samples, |_, b, _| b),
        3 => rows(code, frame, scan, (cols, table), samples, |_, _, c| c),
        4 => rows(code, frame, scan, (cols, table), samples, |a, b, c| a + b - c),
        5 => rows(code, frame, scan, (cols, table), samples, |a, b, c| a + ((b - c) >> 1)),
        6 => rows(code, frame, scan, (cols, table), samples, |a, b, c| b + ((a - c) >> 1)),
        7 => rows(code, frame, scan, (cols, table), samples, |a, b, _| (a + b) >> 1),
        n => Err(corrupt(format!("lossless JPEG predictor {n}"))),
    }
}

fn rows(
    code: &Codestream<'_>,
    frame: FrameHeader,
    scan: &Scan<'_>,
    (cols, table): (usize, &Table),
    samples: &mut [u16],
    predict: impl Fn(i32, i32, i32) -> i32,
) -> Result<()> {
    let mut bits = Bits::new(scan.data);
    let rows_per_restart = code.restart / cols;
    let origin = 1i32 << (frame.precision - scan.point_transform - 1);
    for row in 0..samples.len() / cols {
        let restarted = rows_per_restart > 0 && row > 0 && row.is_multiple_of(rows_per_restart);
        if restarted {
            bits.restart(row / rows_per_restart - 1)?;
        }
        let (above, here) = samples.split_at_mut(row * cols);
        let here = &mut here[..cols];
        if row == 0 || restarted {
            let mut a = origin;
            for sample in here {
                a = (a + difference(&mut bits, table)?) & 0xFFFF;
                *sample = a as u16;
            }
        } else {
            let above = &above[above.len() - cols..];
            let mut c = i32::from(above[0]);
            let mut a = (c + difference(&mut bits, table)?) & 0xFFFF;
            here[0] = a as u16;
            for (sample, b) in here.iter_mut().zip(above).skip(1) {
                let b = i32::from(*b);
                a = (predict(a, b, c) + difference(&mut bits, table)?) & 0xFFFF;
                *sample = a as u16;
                c = b;
            }
        }
    }
    if scan.point_transform > 0 {
        samples.iter_mut().for_each(|s| *s <<= scan.point_transform);
    }
    Ok(())
}

#[inline]
fn difference(bits: &mut Bits<'_>, table: &Table) -> Result<i32> {
    match bits.symbol(table)? {
        category @ 0..=15 => bits.number(category.into()),
        16 => Ok(32768),
        n => Err(corrupt(format!("a lossless JPEG difference of category {n}"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::dicom::codec::Shape;

    /// Bits of an entropy-coded segment, with stuffing.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        bits: Vec<bool>,
    }

    impl Writer {
        fn put(&mut self, value: u32, n: u32) {
            self.bits.extend((0..n).rev().map(|i| value >> i & 1 == 1));
        }

        /// Pads with ones and writes what has gathered.
        fn flush(&mut self) {
            while !self.bits.len().is_multiple_of(8) {
                self.bits.push(true);
            }
            for byte in self.bits.chunks(8) {
                let byte = byte.iter().fold(0, |v, b| v << 1 | u8::from(*b));
                self.bytes.push(byte);
                if byte == 0xFF {
                    self.bytes.push(0);
                }
            }
            self.bits.clear();
        }
    }

    /// A straightforward encoder: every category has the code of its own number, in five bits.
    fn encode(samples: &[u16], cols: usize, predictor: u8, point: u32, rows_per_restart: usize) -> Vec<u8> {
        let rows = samples.len() / cols;
        let mut out = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 16, 0, rows as u8, 0, cols as u8, 1, 1, 0x11, 0];
        out.extend([0xFF, 0xC4, 0, 19 + 17, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(0..17);
        out.extend([0xFF, 0xDD, 0, 4, 0, (rows_per_restart * cols) as u8]);
        out.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, predictor, 0, point as u8]);
        let mut writer = Writer::default();
        let x = |r: usize, c: usize| i32::from(samples[r * cols + c] >> point);
        for r in 0..rows {
            let first = r == 0 || (rows_per_restart > 0 && r % rows_per_restart == 0);
            if first && r > 0 {
                writer.flush();
                writer.bytes.extend([0xFF, 0xD0 + ((r / rows_per_restart - 1) % 8) as u8]);
            }
            for c in 0..cols {
                let prediction = match (first, c, predictor) {
                    (true, 0, _) => 1 << (15 - point),
                    (true, _, _) | (_, 1.., 1) => x(r, c - 1),
                    (_, 0, _) | (_, _, 2) => x(r - 1, c),
                    (_, _, 3) => x(r - 1, c - 1),
                    (_, _, 4) => x(r, c - 1) + x(r - 1, c) - x(r - 1, c - 1),
                    (_, _, 5) => x(r, c - 1) + ((x(r - 1, c) - x(r - 1, c - 1)) >> 1),
                    (_, _, 6) => x(r - 1, c) + ((x(r, c - 1) - x(r - 1, c - 1)) >> 1),
                    _ => (x(r, c - 1) + x(r - 1, c)) >> 1,
                };
                // Differences are modulo 2¹⁶; 32768 has a category of its own.
                let difference = i32::from((x(r, c) - prediction) as i16);
                if difference == -32768 {
                    writer.put(16, 5);
                    continue;
                }
                let category = 32 - difference.unsigned_abs().leading_zeros();
                writer.put(category, 5);
                let bits = if difference < 0 { difference - 1 } else { difference };
                writer.put(bits as u32 & ((1u32 << category) - 1), category);
            }
        }
        writer.flush();
        out.extend(writer.bytes);
        out
    }

    /// Every predictor, with and without restarts (whose first row goes back to the origin) and a point transform.
    #[test]
    fn predictors_restarts_and_point_transforms() {
        let (rows, cols) = (19, 5);
        let shape = Shape { rows, cols, bytes_per_word: 2, signed: false };
        let mut state = 7u32;
        let samples: Vec<u16> = (0..rows * cols)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Smooth, wild and extreme values.
                match i % 3 {
                    0 => (state >> 16) as u16,
                    1 => 1000 + i as u16,
                    _ => {
                        if state >> 31 == 0 {
                            0
                        } else {
                            0xFFFF
                        }
                    }
                }
            })
            .collect();
        for predictor in 1..=7 {
            for (point, rows_per_restart) in [(0, 0), (0, 1), (0, 2), (3, 0), (2, 3)] {
                let code = encode(&samples, cols, predictor, point, rows_per_restart);
                let (words, lossy) = super::super::decode(&code, shape).unwrap();
                let expected: Vec<u8> = samples.iter().flat_map(|s| (s >> point << point).to_le_bytes()).collect();
                assert_eq!(words, expected, "predictor {predictor}, point transform {point}, restart every {rows_per_restart} rows");
                assert!(!lossy);
                assert!(super::super::decode(&code[..code.len() - 4], shape).is_err(), "cut short");
            }
        }
    }
}
