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
