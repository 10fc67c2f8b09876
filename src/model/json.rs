//! A JSON document as a tree, stricter than `serde_json::Value`: an object that names a key twice is an error.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// A parsed document; nesting is bounded by the parser.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// A whole number, written without fraction or exponent.
    Whole(i128),
    /// Any other number; finite.
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// What a reader would call it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(v) => v.to_string(),
            Self::Whole(v) => v.to_string(),
            Self::Real(v) => v.to_string(),
            Self::Text(v) => format!("\"{}\"", printable(v)),
            Self::List(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// A name from a file made fit for a message: control characters escaped, at most 96 characters of it.
pub(crate) fn printable(name: &str) -> String {
    const LONGEST: usize = 96;
    let mut out: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Whole(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(Json::Whole(v.into()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Real(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if entries.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key `{}` appears twice", printable(&key))));
            }
            entries.insert(key, value);
        }
        Ok(Json::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Json, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_repeated_key_is_an_error_at_any_depth() {
        let error = parse(r#"{"a": [{"b": 1, "b": 1}]}"#).unwrap_err();
        assert!(error.contains("the key `b` appears twice"), "{error}");
        assert!(parse(r#"{"a": 1, "\u0061": 2}"#).is_err(), "an escape does not hide the repetition");
    }

    #[test]
    fn nesting_and_number_range_are_bounded() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse("1e999").is_err());
        assert!(parse("NaN").is_err());
    }

    #[test]
    fn names_are_made_fit_for_a_message() {
        assert_eq!(printable("a\u{1b}[0m\n"), "a\\u{1b}[0m\\n");
        assert_eq!(printable(&"x".repeat(97)).chars().count(), 97);
    }
}
