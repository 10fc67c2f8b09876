//! Entropy-coded bits and Huffman codes of JPEG.

use crate::Result;
use crate::dicom::codec::corrupt;

/// Codes up to this length are found by one look-up.
const FAST: u32 = 10;

/// A canonical Huffman table (T.81 annex C).
pub(super) struct Table {
    /// Length and symbol by the next [`FAST`] bits; length 0 for longer codes.
    fast: Vec<(u8, u8)>,
    /// By code length from 1: one past the last code, and the index of its first symbol less its first code.
    ends: [(u32, i32); 16],
    symbols: Vec<u8>,
}

impl Table {
    /// `counts` codes of each length from 1 to 16, and their symbols in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self> {
        let mut table = Self { fast: vec![(0, 0); 1 << FAST], ends: [(0, 0); 16], symbols: symbols.to_vec() };
        let (mut code, mut index) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(counts) {
            let first = (code, index);
            for _ in 0..*count {
                let symbol = *symbols.get(index).ok_or_else(|| corrupt("a JPEG Huffman table without symbols".into()))?;
                if code >= 1 << length {
                    return Err(corrupt(format!("a JPEG Huffman table with too many codes of {length} bits")));
                }
                if length <= FAST {
                    let at = (code << (FAST - length)) as usize;
                    table.fast[at..at + (1 << (FAST - length))].fill((length as u8, symbol));
                }
                code += 1;
                index += 1;
            }
            // An index that does not exist is caught when the symbol is looked up.
            table.ends[length as usize - 1] = (if *count == 0 { 0 } else { code }, first.1 as i32 - first.0 as i32);
            code <<= 1;
        }
        Ok(table)
    }
}

/// Reads bits of one entropy-coded segment: up to the next marker, with stuffed zeros taken out.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    pos: usize,
    /// The next bits, at the top.
    window: u64,
    have: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0, window: 0, have: 0 }
    }

    #[inline]
    fn fill(&mut self) {
        while self.have <= 56 {
            let Some(&byte) = self.data.get(self.pos) else { return };
            if byte == 0xFF {
                if self.data.get(self.pos + 1) != Some(&0) {
                    return;
                }
                self.pos += 1;
            }
            self.pos += 1;
            self.window |= u64::from(byte) << (56 - self.have);
            self.have += 8;
        }
    }

    #[inline]
    fn consume(&mut self, n: u32) -> Result<()> {
        if n > self.have {
            return Err(corrupt("the JPEG entropy-coded data ends early".into()));
        }
        self.window <<= n;
        self.have -= n;
        Ok(())
    }

    /// The symbol of the next code. Leaves at least 32 bits at hand where the segment has them.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8> {
        if self.have < 48 {
            self.fill();
        }
        let (length, symbol) = table.fast[(self.window >> (64 - FAST)) as usize];
        if length > 0 {
            self.consume(length.into())?;
            return Ok(symbol);
        }
        for length in FAST + 1..=16 {
            let code = (self.window >> (64 - length)) as u32;
            let (end, shift) = table.ends[length as usize - 1];
            if code < end {
                self.consume(length)?;
                let symbol = usize::try_from(code as i32 + shift).ok().and_then(|i| table.symbols.get(i));
                return symbol.copied().ok_or_else(|| corrupt("a JPEG Huffman code of no symbol".into()));
            }
        }
        Err(corrupt("the JPEG entropy-coded data holds no code of its table".into()))
    }

    /// A signed number of `n` ≤ 16 bits behind its category (T.81 F.2.2.1: RECEIVE and EXTEND).
    #[inline]
    pub(super) fn number(&mut self, n: u32) -> Result<i32> {
        if n == 0 {
            return Ok(0);
        }
        let bits = (self.window >> (64 - n)) as i32;
        self.consume(n)?;
        Ok(if bits < 1 << (n - 1) { bits + 1 - (1 << n) } else { bits })
    }

    /// Steps over the restart marker that has to come now, dropping the bits that pad the segment.
    pub(super) fn restart(&mut self, index: usize) -> Result<()> {
        // Whole bytes that are still in the window belong to a longer segment than the interval says.
        self.fill();
        if self.have >= 8 {
            return Err(corrupt(format!("a JPEG restart interval {index} with data left over")));
        }
        let fill = self.data[self.pos.min(self.data.len())..].iter().take_while(|b| **b == 0xFF).count();
        let marker = self.data.get(self.pos + fill);
        if fill == 0 || marker != Some(&(0xD0 + (index % 8) as u8)) {
            return Err(corrupt(format!("JPEG restart marker {} is not where it belongs", index % 8)));
        }
        *self = Self { data: self.data, pos: self.pos + fill + 1, window: 0, have: 0 };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_codes_of_all_lengths() {
        // One code of each length 1..=15 and two of 16: 0, 10, 110, …
        let mut counts = [1u8; 16];
        counts[15] = 1;
        let symbols: Vec<u8> = (0..16).collect();
        let table = Table::new(&counts, &symbols).unwrap();
        // 0 | 10 | 1111111111 10 | 1111111111111110 then ones.
        let mut bits = Bits::new(&[0b0101_1111, 0b1111_1110, 0b1111_1111, 0, 0b1111_1111, 0, 0b0111_1111]);
        assert_eq!(bits.symbol(&table).unwrap(), 0);
        assert_eq!(bits.symbol(&table).unwrap(), 1);
        assert_eq!(bits.symbol(&table).unwrap(), 12, "a code of 13 bits");
        assert!(bits.symbol(&table).is_err(), "more than sixteen ones are no code");
    }

    #[test]
    fn overfull_tables_are_refused() {
        let mut counts = [0u8; 16];
        counts[0] = 3;
        assert!(Table::new(&counts, &[0, 1, 2]).is_err());
        counts = [0; 16];
        counts[3] = 2;
        assert!(Table::new(&counts, &[1]).is_err(), "fewer symbols than codes");
    }

    #[test]
    fn numbers_extend_their_sign() {
        let mut bits = Bits::new(&[0b1010_1000, 0]);
        bits.fill();
        assert_eq!(bits.number(3).unwrap(), 5);
        assert_eq!(bits.number(2).unwrap(), -2);
        assert_eq!(bits.number(0).unwrap(), 0);
        assert!(bits.number(16).is_err(), "only 11 bits are left");
    }
}
