//! Values of elements: text and numbers, by the VR that is written, or by the one the dictionary gives where it is UN or implicit.
//!
//! Numbers are parsed strictly. A value that is not exactly a number of its kind is an error that carries the text, so that the
//! caller decides whether that matters; nothing is silently taken for 0.

use super::container::Parsed;
use super::prescan::Element;
use super::syntax::Encoding;
use super::tags::Tag;

/// The kinds that the wanted attributes have in the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// DS or IS: decimal text.
    Decimal,
    /// US, or SS of the same bits.
    Short,
}

/// Longest text that is kept of one value.
const MAX_TEXT: usize = 1024;

impl Parsed<'_> {
    fn find(&self, tag: Tag) -> Option<&Element> {
        self.scan.elements.iter().find(|e| e.tag == tag)
    }

    /// Whether the element is there, with or without a value.
    pub(crate) fn has(&self, tag: Tag) -> bool {
        self.find(tag).is_some()
    }

    fn bytes(&self, tag: Tag) -> Option<(&Element, &[u8])> {
        let element = self.find(tag)?;
        Some((element, self.data.get(element.value.clone())?))
    }

    /// A text value without padding; empty when absent. Bytes that are not UTF-8 are read as Latin-1: the engine compares ASCII.
    pub(crate) fn text(&self, tag: Tag) -> String {
        self.bytes(tag).map_or_else(String::new, |(_, b)| text(b))
    }

    /// The values of a text element, each without padding; empty when absent.
    pub(crate) fn texts(&self, tag: Tag) -> Vec<String> {
        let text = self.text(tag);
        if text.is_empty() { Vec::new() } else { text.split('\\').map(|s| trim(s).to_owned()).collect() }
    }

    /// A UID: digits and dots.
    pub(crate) fn uid(&self, tag: Tag) -> String {
        self.text(tag).chars().filter(|c| c.is_ascii_digit() || *c == '.').take(64).collect()
    }

    /// All values as numbers: none when absent or empty, an error with the sentence to say when one is no finite number.
    pub(crate) fn numbers(&self, tag: Tag, kind: Kind) -> Result<Option<Vec<f64>>, String> {
        let Some((element, bytes)) = self.bytes(tag) else { return Ok(None) };
        let numbers = match (element.vr.as_ref(), kind) {
            (Some(b"US"), _) | (Some(b"UN") | None, Kind::Short) => shorts(bytes, self.encoding, f64::from),
            (Some(b"SS"), _) => shorts(bytes, self.encoding, |v| f64::from(v.cast_signed())),
            (Some(b"UL"), _) => words(bytes, self.encoding, |v| f64::from(v.cast_unsigned())),
            (Some(b"SL"), _) => words(bytes, self.encoding, f64::from),
            (Some(b"FL"), _) => words(bytes, self.encoding, |v| f64::from(f32::from_bits(v.cast_unsigned()))),
            (Some(b"FD"), _) => doubles(bytes, self.encoding),
            _ => return decimals(tag, bytes),
        };
        match numbers {
            Some(v) if v.is_empty() => Ok(None),
            Some(v) if v.iter().all(|x| x.is_finite()) => Ok(Some(v)),
            _ => Err(format!("{tag} has a value of {} bytes that is no number of its type", bytes.len())),
        }
    }

    /// Exactly `N` numbers.
    pub(crate) fn exactly<const N: usize>(&self, tag: Tag, kind: Kind) -> Result<Option<[f64; N]>, String> {
        match self.numbers(tag, kind)? {
            None => Ok(None),
            Some(v) => match <[f64; N]>::try_from(v) {
                Ok(v) => Ok(Some(v)),
                Err(v) => Err(format!("{tag} has {} values where {N} belong", v.len())),
            },
        }
    }

    /// One unsigned 16-bit number.
    pub(crate) fn short(&self, tag: Tag) -> Result<Option<u16>, String> {
        let Some([v]) = self.exactly::<1>(tag, Kind::Short)? else { return Ok(None) };
        if v.fract() == 0.0 && (0.0..=65535.0).contains(&v) {
            return Ok(Some(v as u16));
        }
        Err(format!("{tag} is {v}, not a whole number of 16 bits"))
    }
}

/// Text of a value: UTF-8, else Latin-1, without padding, control characters and excess length.
fn text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(MAX_TEXT)];
    let text = std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|b| char::from(*b)).collect(), str::to_owned);
    let clean: String = trim(&text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    trim(&clean).to_owned()
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace())
}

fn decimals(tag: Tag, bytes: &[u8]) -> Result<Option<Vec<f64>>, String> {
    let text = text(bytes);
    if text.is_empty() {
        return Ok(None);
    }
    text.split('\\').map(|s| decimal(trim(s)).ok_or_else(|| bad_decimal(tag, s))).collect::<Result<_, _>>().map(Some)
}

/// The sentence for text that is no number; the value is shown, in ASCII and cut short.
fn bad_decimal(tag: Tag, value: &str) -> String {
    let shown: String = value.chars().take(32).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    format!("{tag} is '{shown}', which is not a decimal number")
}

/// A DS or IS value: sign, digits, one point, exponent; neither "inf" nor "nan", nor a decimal comma.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|v: &f64| plain && v.is_finite())
}

fn shorts(bytes: &[u8], encoding: Encoding, number: impl Fn(u16) -> f64) -> Option<Vec<f64>> {
    let (chunks, rest) = bytes.as_chunks();
    rest.is_empty().then(|| chunks.iter().take(64).map(|b| number(encoding.u16(*b))).collect())
}

fn words(bytes: &[u8], encoding: Encoding, number: impl Fn(i32) -> f64) -> Option<Vec<f64>> {
    let (chunks, rest) = bytes.as_chunks();
    rest.is_empty().then(|| chunks.iter().take(64).map(|b| number(encoding.u32(*b).cast_signed())).collect())
}

fn doubles(bytes: &[u8], encoding: Encoding) -> Option<Vec<f64>> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let number = |b: &[u8; 8]| if encoding.big_endian { f64::from_be_bytes(*b) } else { f64::from_le_bytes(*b) };
    rest.is_empty().then(|| chunks.iter().take(64).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_are_numbers_or_nothing() {
        for (text, number) in [("1", 1.0), ("-1024", -1024.0), ("+3.5E2", 350.0), (".5", 0.5), ("1e-3", 0.001)] {
            assert_eq!(decimal(text), Some(number), "{text}");
        }
        for text in ["", "-", "1,5", "-1,024", "nan", "inf", "infinity", "1e999", "0x10", "1 0", "one", "1.2.3"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn text_is_trimmed_and_latin_1_survives() {
        assert_eq!(text(b" HEAD \0"), "HEAD");
        assert_eq!(text(b"Sch\xE4del"), "Sch\u{e4}del");
        assert_eq!(text("Schädel ".as_bytes()), "Schädel");
        assert_eq!(text(b"a\x1b[2Jb"), "a [2Jb", "no control characters reach a terminal");
    }
}
