//! The sequential DCT process (T.81 annex F) of one component, 8 or 12 bits.
//!
//! The inverse transform is the separable sum of its definition in float32, rounded once; integer decoders differ from it by at most 1.

use super::bits::{Bits, Table};
use super::{Codestream, FrameHeader, Scan};
use crate::Result;
use crate::dicom::codec::corrupt;

/// Raster position of each coefficient in zigzag order.
#[rustfmt::skip]
const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Fills `samples`, rows of `cols`.
pub(super) fn decode(code: &Codestream<'_>, frame: FrameHeader, scan: &Scan<'_>, cols: usize, samples: &mut [u16]) -> Result<()> {
    let missing = || corrupt(format!("a JPEG frame uses quantisation table {}, which is not there", frame.quantisation));
    let quantisation = code.quantisation.get(frame.quantisation).and_then(Option::as_ref).ok_or_else(missing)?;
    let tables = (scan.table(&code.dc, scan.dc)?, scan.table(&code.ac, scan.ac)?);
    let (rows, basis) = (samples.len() / cols, basis());
    let (offset, top) = ((1 << (frame.precision - 1)) as f32, ((1 << frame.precision) - 1) as f32);
    let mut bits = Bits::new(scan.data);
    let mut dc = 0i32;
    let mut index = 0;
    for y in (0..rows).step_by(8) {
        for x in (0..cols).step_by(8) {
            if code.restart > 0 && index > 0 && index % code.restart == 0 {
                bits.restart(index / code.restart - 1)?;
                dc = 0;
            }
            index += 1;
            let block = inverse(&coefficients(&mut bits, tables, quantisation, &mut dc)?, &basis);
            for (line, out) in block.iter().zip(samples[y * cols..].chunks_mut(cols)) {
                for (value, sample) in line.iter().zip(&mut out[x..]) {
                    *sample = (value + offset).round().clamp(0.0, top) as u16;
                }
            }
        }
    }
    Ok(())
}

/// The dequantised coefficients of the next block, in raster order.
fn coefficients(bits: &mut Bits<'_>, (dc, ac): (&Table, &Table), quantisation: &[u16; 64], predicted: &mut i32) -> Result<[[f32; 8]; 8]> {
    let mut block = [[0f32; 8]; 8];
    let mut put = |k: usize, value: i32| {
        let at = usize::from(ZIGZAG[k]);
        block[at / 8][at % 8] = value as f32 * f32::from(quantisation[k]);
    };
    let category = bits.symbol(dc)?;
    if category > 15 {
        return Err(corrupt(format!("a JPEG DC difference of category {category}")));
    }
    *predicted = predicted.wrapping_add(bits.number(category.into())?);
    put(0, *predicted);
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 && run != 15 {
            break;
        }
        k += run;
        if k > 63 {
            return Err(corrupt("a JPEG block with more than 64 coefficients".into()));
        }
        if size > 0 {
            put(k, bits.number(size)?);
        }
        k += 1;
    }
    Ok(block)
}

/// `basis[u][x]` = C(u)/2 · cos((2x + 1)uπ/16).
fn basis() -> [[f32; 8]; 8] {
    let mut basis = [[0f32; 8]; 8];
    for (u, row) in basis.iter_mut().enumerate() {
        let scale = if u == 0 { 0.125f64.sqrt() } else { 0.5 };
        for (x, b) in row.iter_mut().enumerate() {
            *b = (scale * ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos()) as f32;
        }
    }
    basis
}

/// Rows, then columns.
fn inverse(block: &[[f32; 8]; 8], basis: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut half = [[0f32; 8]; 8];
    for (row, out) in block.iter().zip(&mut half) {
        for (value, wave) in row.iter().zip(basis).filter(|(v, _)| **v != 0.0) {
            out.iter_mut().zip(wave).for_each(|(o, w)| *o += value * w);
        }
    }
    let mut pixels = [[0f32; 8]; 8];
    for (line, wave) in half.iter().zip(basis) {
        for (out, w) in pixels.iter_mut().zip(wave) {
            out.iter_mut().zip(line).for_each(|(o, v)| *o += v * w);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zigzag_visits_every_place_once() {
        let mut seen = ZIGZAG;
        seen.sort_unstable();
        assert!(seen.iter().enumerate().all(|(i, z)| i == usize::from(*z)));
    }

    #[test]
    fn the_inverse_of_the_definition() {
        let basis = basis();
        let mut block = [[0f32; 8]; 8];
        block[0][0] = 80.0;
        assert!(inverse(&block, &basis).iter().flatten().all(|v| (v - 10.0).abs() < 1e-4), "DC alone is flat, an eighth");
        // Orthonormal: the energy of coefficients is that of pixels.
        block[3][5] = -41.0;
        block[7][7] = 13.0;
        let energy: f32 = inverse(&block, &basis).iter().flatten().map(|v| v * v).sum();
        assert!((energy - (80.0f32 * 80.0 + 41.0 * 41.0 + 13.0 * 13.0)).abs() < 0.05);
    }
}
