//! JSON of images, taken as Go's `encoding/json` takes it, by which Docker, containerd and podman read it.
//!
//! `null` is the same as absent, names of fields count whatever their case, of two fields of one name the
//! last counts, unknown fields are passed over. Besides, one text may stand for a list of one, nothing of one kind for
//! nothing of another, and a whole number may be written as `5.0`. An error names the field.

use crate::digest::{Digest, DigestError};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::{cell::RefCell, fmt};

/// Longest name of a field in a message.
const SHOWN_NAME: usize = 60;

/// What is wrong with a document: which field, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("it is no JSON{place}")]
    Syntax { place: String, source: serde_json::Error },
    #[error("{field} is {found}, not {wanted}")]
    Kind { field: String, found: &'static str, wanted: &'static str },
    #[error("{field} is missing")]
    Missing { field: String },
    #[error("{field} is {value}, which is out of range")]
    Range { field: String, value: i64 },
    #[error("{field} is not valid")]
    Digest { field: String, source: DigestError },
}

/// A document or a part of one, in the order in which it is written.
#[derive(Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Flag,
    /// A number with a fraction, or one larger than any that is meant.
    Fraction,
    Integer(i64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = String::from_utf8_lossy(bytes);
        let path = RefCell::new(Vec::new());
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let parsed = Reader { path: &path }.deserialize(&mut deserializer);
        parsed.and_then(|json| deserializer.end().map(|()| json)).map_err(|source| {
            let at = path.borrow().iter().fold(String::new(), |path, name| join(&path, name));
            let place = if at.is_empty() { at } else { format!(", from {at} on") };
            JsonError::Syntax { place, source }
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag => "true or false",
            Self::Fraction => "a number with a fraction or too large",
            Self::Integer(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Nothing, of whatever kind: some tools write an empty list where an object belongs.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
            Self::Flag | Self::Fraction | Self::Integer(_) => false,
        }
    }

    fn no(&self, field: &str, wanted: &'static str) -> JsonError {
        let field = if field.is_empty() { "the document" } else { field };
        JsonError::Kind { field: field.to_owned(), found: self.kind(), wanted }
    }

    /// The items of a list; one text is a list of one, unless it is empty.
    pub(crate) fn items(&self, field: &str) -> Result<&[Json], JsonError> {
        match self {
            nothing if nothing.is_nothing() => Ok(&[]),
            Self::Text(_) => Ok(std::slice::from_ref(self)),
            Self::List(items) => Ok(items),
            other => Err(other.no(field, "a list")),
        }
    }

    fn text(&self, field: &str) -> Result<&str, JsonError> {
        match self {
            nothing if nothing.is_nothing() => Ok(""),
            Self::Text(text) => Ok(text),
            other => Err(other.no(field, "a text")),
        }
    }
}

/// The fields of an object; where a field stands twice and is an object itself, those of both.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    path: String,
    all: Vec<(&'a str, &'a Json)>,
}

impl<'a> Fields<'a> {
    /// The fields of `json`, which is called `path` in errors, the whole document `""`.
    pub(crate) fn of(json: &'a Json, path: &str) -> Result<Self, JsonError> {
        let mut fields = Self { path: path.to_owned(), all: Vec::new() };
        fields.add(json, path)?;
        Ok(fields)
    }

    fn add(&mut self, json: &'a Json, path: &str) -> Result<(), JsonError> {
        match json {
            Json::Null => {}
            Json::Object(fields) => {
                self.all.extend(fields.iter().map(|(name, value)| (name.as_str(), value)));
            }
            other => return Err(other.no(path, "an object")),
        }
        Ok(())
    }

    /// How a field is called in errors.
    pub(crate) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    fn named(&self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Json> {
        let all = self.all.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        all.map(|(_, value)| *value)
    }

    /// A field, unless it is absent or null.
    pub(crate) fn get(&self, name: &'a str) -> Option<&'a Json> {
        self.named(name).rfind(|value| **value != Json::Null)
    }

    /// Whether the field is there, were it null.
    pub(crate) fn has(&self, name: &'a str) -> bool {
        self.named(name).next().is_some()
    }

    pub(crate) fn object(&self, name: &'a str) -> Result<Self, JsonError> {
        let mut fields = Self { path: self.path(name), all: Vec::new() };
        let path = fields.path.clone();
        let mut values = self.named(name).filter(|value| !value.is_nothing());
        values.try_for_each(|value| fields.add(value, &path))?;
        Ok(fields)
    }

    /// A text; empty where there is none.
    pub(crate) fn text(&self, name: &'a str) -> Result<&'a str, JsonError> {
        self.get(name).map_or(Ok(""), |value| value.text(&self.path(name)))
    }

    /// The items of a list, each with what it is called in errors.
    pub(crate) fn list(&self, name: &'a str) -> Result<Vec<(String, &'a Json)>, JsonError> {
        let path = self.path(name);
        let items = self.named(name).next_back().map_or(Ok(&[][..]), |list| list.items(&path))?;
        Ok(items.iter().zip(0..).map(|(item, at)| (format!("{path}[{at}]"), item)).collect())
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &'a str) -> Result<Vec<&'a str>, JsonError> {
        let list = self.list(name)?;
        list.iter().map(|(path, item)| item.text(path)).collect()
    }

    /// The names in an object that stands for a set; a list of names will do.
    pub(crate) fn names(&self, name: &'a str) -> Result<Vec<&'a str>, JsonError> {
        match self.get(name) {
            Some(Json::Text(_) | Json::List(_)) => self.texts(name),
            _ => Ok(self.object(name)?.all.into_iter().map(|(name, _)| name).collect()),
        }
    }

    /// Texts by name.
    pub(crate) fn pairs(&self, name: &'a str) -> Result<Vec<(&'a str, &'a str)>, JsonError> {
        let fields = self.object(name)?;
        let pair =
            |(name, value): &(&'a str, &'a Json)| Ok((*name, value.text(&fields.path(name))?));
        fields.all.iter().map(pair).collect()
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &'a str) -> Result<Option<i64>, JsonError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Integer(value)) => Ok(Some(*value)),
            Some(nothing) if nothing.is_nothing() => Ok(None),
            Some(other) => Err(other.no(&self.path(name), "a whole number")),
        }
    }

    /// A number of bytes; 0 where there is none.
    pub(crate) fn size(&self, name: &'a str) -> Result<u64, JsonError> {
        let value = self.integer(name)?.unwrap_or(0);
        u64::try_from(value).map_err(|_| JsonError::Range { field: self.path(name), value })
    }

    /// A digest.
    pub(crate) fn digest(&self, name: &'a str) -> Result<Digest, JsonError> {
        match self.text(name)? {
            "" => Err(JsonError::Missing { field: self.path(name) }),
            text => parse_digest(text, &self.path(name)),
        }
    }
}

/// The digest that the field `path` has.
pub(crate) fn parse_digest(text: &str, path: &str) -> Result<Digest, JsonError> {
    text.parse().map_err(|source| JsonError::Digest { field: path.to_owned(), source })
}

fn join(path: &str, name: &str) -> String {
    let name: String = name.chars().take(SHOWN_NAME).collect();
    match path.is_empty() || name.starts_with('[') {
        true => format!("{path}{name}"),
        false => format!("{path}.{name}"),
    }
}

/// Reads a value and keeps in `path` where it is, so that an error can be placed.
#[derive(Clone, Copy)]
struct Reader<'p> {
    path: &'p RefCell<Vec<String>>,
}

impl Reader<'_> {
    /// Reads one part; after an error its name stays in the path.
    fn part<T, E>(&self, name: String, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(name);
        let value = read()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Flag)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Fraction, Json::Integer))
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in the range")]
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        const END: f64 = 1e15;
        let whole = value.fract() == 0.0 && value.abs() < END;
        Ok(if whole { Json::Integer(value as i64) } else { Json::Fraction })
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        loop {
            let name = format!("[{}]", items.len());
            match self.part(name, || list.next_element_seed(self))? {
                Some(item) => items.push(item),
                None => return Ok(Json::List(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = self.part(name.clone(), || map.next_value_seed(self))?;
            fields.push((name, value));
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Json {
        Json::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn case_nulls_and_duplicates_count_as_in_go() {
        let json = parse(
            r#"{"name":"a","NAME":"b","Name":null,"list":["x"],"list":null,
            "in":{"a":"1"},"IN":{"b":"2"},"in":null,"other":[{"deep":{}}]}"#,
        );
        let fields = Fields::of(&json, "").unwrap();
        assert_eq!(fields.text("name").unwrap(), "b");
        assert_eq!(fields.texts("list").unwrap(), [""; 0]);
        assert_eq!(fields.pairs("in").unwrap(), [("a", "1"), ("b", "2")]);
        assert!(fields.has("list") && !fields.has("none"));
    }

    #[test]
    fn nothing_of_any_kind_is_nothing() {
        for nothing in ["null", "\"\"", "[]", "{}"] {
            let json = parse(&format!(r#"{{"a":{nothing}}}"#));
            let fields = Fields::of(&json, "").unwrap();
            assert_eq!(fields.text("a").unwrap(), "");
            assert_eq!(fields.texts("a").unwrap(), [""; 0]);
            assert_eq!(fields.names("a").unwrap(), [""; 0]);
            assert_eq!(fields.pairs("a").unwrap(), []);
            assert_eq!(fields.size("a").unwrap(), 0);
            assert!(fields.object("a").unwrap().all.is_empty());
        }
    }

    #[test]
    fn one_text_is_a_list_and_a_set_may_be_a_list() {
        let json = parse(r#"{"a":"x","c":["x",null],"d":{"x":null,"y":{}}}"#);
        let fields = Fields::of(&json, "").unwrap();
        assert_eq!(fields.texts("a").unwrap(), ["x"]);
        assert_eq!(fields.texts("c").unwrap(), ["x", ""]);
        assert_eq!(fields.names("a").unwrap(), ["x"]);
        assert_eq!(fields.names("d").unwrap(), ["x", "y"]);
    }

    #[test]
    fn numbers_may_be_written_with_a_fraction_of_nothing() {
        let json = parse(r#"{"a":5.0,"b":1e3,"c":9223372036854775807,"d":-1,"e":0.5,"f":1e300}"#);
        let fields = Fields::of(&json, "x").unwrap();
        assert_eq!(fields.size("a").unwrap(), 5);
        assert_eq!(fields.size("b").unwrap(), 1000);
        assert_eq!(fields.size("c").unwrap(), (1 << 63) - 1);
        assert_eq!(fields.size("none").unwrap(), 0);
        let error = |name| fields.size(name).unwrap_err().to_string();
        assert_eq!(error("d"), "x.d is -1, which is out of range");
        assert_eq!(error("e"), "x.e is a number with a fraction or too large, not a whole number");
        assert_eq!(error("f"), "x.f is a number with a fraction or too large, not a whole number");
    }

    #[test]
    fn an_error_names_the_field() {
        let json = parse(r#"{"a":{"b":["x",{"y":1}]},"c":5,"d":{"k":1},"e":"sha256:0"}"#);
        let fields = Fields::of(&json, "").unwrap();
        let error = fields.object("a").unwrap().texts("b").unwrap_err();
        assert_eq!(error.to_string(), "a.b[1] is an object, not a text");
        assert_eq!(fields.texts("c").unwrap_err().to_string(), "c is a number, not a list");
        assert_eq!(fields.object("c").unwrap_err().to_string(), "c is a number, not an object");
        assert_eq!(fields.pairs("d").unwrap_err().to_string(), "d.k is a number, not a text");
        assert_eq!(fields.digest("e").unwrap_err().to_string(), "e is not valid");
        assert_eq!(fields.digest("f").unwrap_err().to_string(), "f is missing");
        let error = Fields::of(&Json::List(Vec::new()), "").unwrap_err().to_string();
        assert_eq!(error, "the document is a list, not an object");
    }

    #[test]
    fn broken_json_is_placed() {
        for (json, place) in [
            (r#"{"a":{"b":["x",}"#, "it is no JSON, from a.b[1] on"),
            (r#"{"a":"x" "b":1}"#, "it is no JSON"),
            ("{} {}", "it is no JSON"),
            ("", "it is no JSON"),
        ] {
            let error = Json::parse(json.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), place, "{json}");
        }
        let deep = "[".repeat(100_000);
        let error = Json::parse(deep.as_bytes()).unwrap_err();
        assert!(matches!(error, JsonError::Syntax { .. }), "{error}");
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_replaced() {
        let json = Json::parse(b"{\"a\":\"caf\xe9\"}").unwrap();
        assert_eq!(Fields::of(&json, "").unwrap().text("a").unwrap(), "caf\u{fffd}");
    }
}
