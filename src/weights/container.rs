//! The safetensors container: 8 bytes of header length, a JSON header, then the tensors' bytes.
//!
//! Everything is checked before a byte of data is looked at: the header lies inside the file and inside a bound, no name occurs twice,
//! each shape times its type is exactly the length between its offsets, and the tensors cover the data without overlap or gap.
//! Memory in use stays proportional to the header, whatever it claims.

use crate::model::json::printable;
use crate::{Error, ErrorKind, Result};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Longest header read; DenseNet-201 has 0.1 MB.
const LONGEST_HEADER: usize = 8 << 20;
const MOST_DIMENSIONS: usize = 8;

/// Element types of the container; sub-byte types are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the container's own")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    F8E4M3,
    F8E5M2,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

const DTYPES: [(Dtype, &str, usize); 15] = [
    (Dtype::Bool, "BOOL", 1),
    (Dtype::U8, "U8", 1),
    (Dtype::I8, "I8", 1),
    (Dtype::F8E4M3, "F8_E4M3", 1),
    (Dtype::F8E5M2, "F8_E5M2", 1),
    (Dtype::U16, "U16", 2),
    (Dtype::I16, "I16", 2),
    (Dtype::F16, "F16", 2),
    (Dtype::BF16, "BF16", 2),
    (Dtype::U32, "U32", 4),
    (Dtype::I32, "I32", 4),
    (Dtype::F32, "F32", 4),
    (Dtype::U64, "U64", 8),
    (Dtype::I64, "I64", 8),
    (Dtype::F64, "F64", 8),
];

impl Dtype {
    /// As written in a header.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        self.entry().2
    }

    fn entry(self) -> (Self, &'static str, usize) {
        DTYPES[self as usize]
    }

    fn parse(name: &str) -> Option<Self> {
        DTYPES.iter().find(|(_, known, _)| *known == name).map(|(dtype, ..)| *dtype)
    }
}

/// One tensor of a file: little-endian elements, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// Exactly the product of `shape` elements.
    pub bytes: &'a [u8],
}

/// A validated file: metadata and tensors by name.
#[derive(Clone, Debug)]
pub struct Container<'a> {
    /// The texts under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// Every tensor.
    pub tensors: BTreeMap<String, TensorView<'a>>,
}

impl<'a> Container<'a> {
    /// Reads the header of a whole file and checks it against the file.
    ///
    /// # Errors
    /// `bad_model`, naming the tensor and the value.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        let (prefix, rest) =
            file.split_first_chunk::<8>().ok_or_else(|| bad(format!("the file has {} bytes, too few for a header length", file.len())))?;
        let claimed = u64::from_le_bytes(*prefix);
        let length = usize::try_from(claimed).ok().filter(|n| (1..=LONGEST_HEADER).contains(n) && *n <= rest.len()).ok_or_else(|| {
            bad(format!("the header length is {claimed}; {} bytes follow, and at most {LONGEST_HEADER} are read", rest.len()))
        })?;
        let (text, data) = rest.split_at(length);
        let header: Header = serde_json::from_slice(text).map_err(|e| bad(format!("the header is malformed: {e}")))?;
        check_cover(&header.tensors, data.len())?;
        let tensors = header
            .tensors
            .into_iter()
            .map(|(name, entry)| {
                let [begin, end] = entry.data_offsets;
                (name, TensorView { dtype: entry.dtype, shape: entry.shape.0, bytes: &data[begin..end] })
            })
            .collect();
        Ok(Self { metadata: header.metadata, tensors })
    }
}

/// Each tensor's length is what its shape says, and in order of offset each begins where the one before ends.
fn check_cover(tensors: &BTreeMap<String, Entry>, data: usize) -> Result<()> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut covered = 0;
    for (name, entry) in order {
        let name = printable(name);
        let [begin, end] = entry.data_offsets;
        if begin > end || end > data {
            return Err(bad(format!("tensor `{name}` has the offsets [{begin}, {end}], out of range: the data has {data} bytes")));
        }
        if begin != covered {
            let what = if begin < covered { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(bad(format!("tensor `{name}` {what}: it begins at {begin}, {covered} bytes are covered")));
        }
        let bytes = entry.shape.0.iter().try_fold(entry.dtype.size(), |n, &d| n.checked_mul(d));
        if bytes != Some(end - begin) {
            let (shape, dtype) = (&entry.shape.0, entry.dtype.name());
            return Err(bad(format!("tensor `{name}` of shape {shape:?} and type {dtype} has {} bytes", end - begin)));
        }
        covered = end;
    }
    if covered != data {
        return Err(bad(format!("the tensors cover {covered} of {data} bytes of data")));
    }
    Ok(())
}

#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    data_offsets: [usize; 2],
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut header = Header::default();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(de::Error::custom("`__metadata__` appears twice"));
                }
                header.metadata = map.next_value::<Metadata>()?.0;
                continue;
            }
            let at = |e| de::Error::custom(format_args!("tensor `{}`: {e}", printable(&name)));
            let entry: Entry = map.next_value().map_err(at)?;
            if header.tensors.contains_key(&name) {
                return Err(de::Error::custom(format_args!("tensor `{}` appears twice", printable(&name))));
            }
            header.tensors.insert(name, entry);
        }
        Ok(header)
    }
}

struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts as `__metadata__`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Metadata, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let text = map.next_value().map_err(|e| de::Error::custom(format_args!("`__metadata__.{}`: {e}", printable(&key))))?;
            if texts.contains_key(&key) {
                return Err(de::Error::custom(format_args!("`__metadata__.{}` appears twice", printable(&key))));
            }
            texts.insert(key, text);
        }
        Ok(Metadata(texts))
    }
}

impl<'de> Deserialize<'de> for Dtype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom(format_args!("unknown dtype \"{}\"", printable(&name))))
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(extent) = seq.next_element()? {
            if shape.len() == MOST_DIMENSIONS {
                return Err(de::Error::custom(format_args!("a shape of more than {MOST_DIMENSIONS} dimensions")));
            }
            shape.push(extent);
        }
        Ok(Shape(shape))
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadModel, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(data);
        file
    }

    fn refusal(header: &str, data: usize) -> String {
        let error = Container::parse(&file(header, &vec![0; data])).map(|_| ()).expect_err(header);
        assert_eq!(error.kind(), ErrorKind::BadModel);
        error.message().to_owned()
    }

    #[test]
    fn a_sound_file_is_read() {
        let header = r#"{"b":{"dtype":"F16","shape":[1,2],"data_offsets":[4,8]},"__metadata__":{"k":"v"},"e":{"dtype":"I8","shape":[0],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   "#;
        let file = file(header, &[0, 1, 2, 3, 4, 5, 6, 7]);
        let container = Container::parse(&file).unwrap();
        assert_eq!(container.metadata["k"], "v");
        assert_eq!(container.tensors["a"], TensorView { dtype: Dtype::F32, shape: vec![], bytes: &[0, 1, 2, 3] });
        assert_eq!(container.tensors["b"], TensorView { dtype: Dtype::F16, shape: vec![1, 2], bytes: &[4, 5, 6, 7] });
        assert_eq!(container.tensors["e"].bytes, &[0u8; 0]);
    }

    #[test]
    fn the_dtype_table_is_in_the_order_of_the_enum() {
        for (dtype, name, size) in DTYPES {
            assert_eq!((dtype.name(), dtype.size(), Dtype::parse(name)), (name, size, Some(dtype)));
        }
    }

    #[test]
    fn a_bad_header_length_is_refused() {
        for n in 0..8 {
            assert!(Container::parse(&[0; 8][..n]).unwrap_err().message().contains(&format!("the file has {n} bytes")));
        }
        for claimed in [0, 3, 1 << 40, u64::MAX] {
            let mut file = claimed.to_le_bytes().to_vec();
            file.extend_from_slice(b"{}");
            let error = Container::parse(&file).unwrap_err();
            assert!(error.message().starts_with(&format!("the header length is {claimed}; 2 bytes follow")), "{error}");
        }
        let long = format!("{{{}}}", " ".repeat(LONGEST_HEADER));
        assert!(refusal(&long, 0).starts_with(&format!("the header length is {}", LONGEST_HEADER + 2)));
    }

    #[test]
    fn offsets_must_cover_the_data_exactly() {
        let one = |offsets: &str| format!(r#"{{"t":{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}}}"#);
        assert!(refusal(&one("[0,8]"), 4).contains("tensor `t` has the offsets [0, 8], out of range: the data has 4 bytes"));
        assert!(refusal(&one("[4,0]"), 4).contains("tensor `t` has the offsets [4, 0], out of range"));
        assert!(refusal(&one("[4,8]"), 8).contains("tensor `t` leaves a gap before it: it begins at 4, 0 bytes"));
        assert!(refusal(&one("[0,4]"), 8).contains("the tensors cover 4 of 8 bytes"));
        assert!(refusal(&one("[0,18446744073709551615]"), 8).contains("tensor `t` has the offsets [0, 18446744073709551615]"));
        assert!(refusal(&one("[-1,4]"), 4).contains("tensor `t`: invalid value: integer `-1`"));
        assert!(refusal(&one("[0,4,8]"), 4).contains("tensor `t`: "));
        let two = r#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        assert!(refusal(two, 8).contains("tensor `u` overlaps the tensor before it: it begins at 4, 8 bytes"));
    }

    #[test]
    fn shape_and_type_must_agree_with_the_length() {
        let one = |dtype: &str, shape: &str| format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,4]}}}}"#);
        assert!(refusal(&one("F32", "[2]"), 4).contains("tensor `t` of shape [2] and type F32 has 4 bytes"));
        assert!(refusal(&one("F16", "[1]"), 4).contains("tensor `t` of shape [1] and type F16 has 4 bytes"));
        let overflow = one("F32", "[4294967296,4294967296,4294967296]");
        assert!(refusal(&overflow, 4).contains("tensor `t` of shape [4294967296, 4294967296, 4294967296]"));
        assert!(refusal(&one("F4", "[1]"), 4).contains("tensor `t`: unknown dtype \"F4\""));
        assert!(refusal(&one("F32", "[1,1,1,1,1,1,1,1,1]"), 4).contains("tensor `t`: a shape of more than 8 dimensions"));
        assert!(refusal(&one("F32", "[1.5]"), 4).contains("tensor `t`: "));
        assert!(refusal(&one("F32", "\"x\""), 4).contains("tensor `t`: "));
    }

    #[test]
    fn names_and_keys_occur_once_and_are_known() {
        let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        assert!(refusal(&format!(r#"{{"t":{entry},"\u0074":{entry}}}"#), 4).contains("tensor `t` appears twice"));
        assert!(refusal(r#"{"__metadata__":{},"__metadata__":{}}"#, 0).contains("`__metadata__` appears twice"));
        assert!(refusal(r#"{"__metadata__":{"k":"1","k":"2"}}"#, 0).contains("`__metadata__.k` appears twice"));
        assert!(refusal(r#"{"__metadata__":{"k":1}}"#, 0).contains("`__metadata__.k`: "));
        assert!(refusal(r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4).contains("tensor `t`: unknown field `x`"));
        assert!(
            refusal(r#"{"t":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4).contains("tensor `t`: duplicate field")
        );
        assert!(refusal(r#"{"t":{"dtype":"F32","shape":[1]}}"#, 4).contains("tensor `t`: missing field `data_offsets`"));
        assert!(refusal("[]", 0).contains("an object of tensors"));
        assert!(refusal("{}{}", 0).contains("malformed"));
    }
}
