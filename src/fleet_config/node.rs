//! A YAML document as a tree in which every value knows its place and every scalar is still the text that was written.
//!
//! Reading straight into typed structs would stop at the first mistake, and a value without a type would turn `1.10`
//! into `1.1`. The tree does neither; `decode` turns it into the typed raw structs and goes on after mistakes.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Options, Spanned};

/// Where something stands in a file, from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// One value of a document.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A scalar, exactly as written but for quotes.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, duplicate keys included.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// What this is, as messages call it.
    pub fn noun(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The entry with this key, if it is a mapping that has it.
    pub fn field(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The element at this position, if it is a list that has it.
    pub fn element(&self, index: usize) -> Option<&Node> {
        match &self.value {
            Value::List(nodes) => nodes.get(index),
            _ => None,
        }
    }
}

/// The text is not YAML, or more than is read.
#[derive(Debug)]
pub struct NotYaml {
    /// Where, if that can be told.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
}

/// The most values that all documents of one file may have: a hundred groups for each of a hundred teams fit.
const NODES_MAX: usize = 200_000;
/// A fleet file is seven levels deep; what is deeper is an attack on the stack.
const DEPTH_MAX: usize = 24;
/// The most aliases (`*name`) in one file.
const ALIASES_MAX: usize = 1_000;
/// The most documents in one file.
const DOCUMENTS_MAX: usize = 200;

/// The documents of `text`.
pub fn documents(text: &str) -> Result<Vec<Node>, NotYaml> {
    let budget = serde_saphyr::budget! {
        max_nodes: NODES_MAX,
        max_events: NODES_MAX * 2,
        max_depth: DEPTH_MAX,
        flow_nesting_limit: DEPTH_MAX,
        max_documents: DOCUMENTS_MAX,
        max_aliases: ALIASES_MAX,
        max_anchors: ALIASES_MAX,
        max_recorded_anchor_events: NODES_MAX,
    };
    let options: Options = serde_saphyr::options! {
        budget: budget,
        // Reported by `decode`, together with everything else.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let parsed: Vec<Parsed> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map(|at| Place { line: at.line(), column: at.column() });
        NotYaml { place, message: error.to_string() }
    })?;
    // Aliases are expanded while reading: bounded by the budget's recorded events, and here once more in total.
    let mut left = NODES_MAX;
    parsed.into_iter().map(|document| document.settle(text, &mut left)).collect()
}

/// A node as it comes from the parser: a scalar that looks like a number has lost its text, but not its place.
struct Parsed(Spanned<Shape>);

enum Shape {
    Null,
    Text(String),
    /// The text is what the source says at the node's place.
    Unquoted,
    List(Vec<Parsed>),
    Map(Vec<(Spanned<String>, Parsed)>),
}

impl Parsed {
    fn settle(self, source: &str, left: &mut usize) -> Result<Node, NotYaml> {
        let Self(Spanned { value, referenced, defined }) = self;
        let place = Place { line: referenced.line(), column: referenced.column() };
        let wrong = |message: &str| NotYaml { place: Some(place), message: message.to_owned() };
        *left = left.checked_sub(1).ok_or_else(|| wrong("more values than a fleet file may have (200000)"))?;
        let value = match value {
            Shape::Null => Value::Null,
            Shape::Text(text) => Value::Text(text),
            Shape::Unquoted => {
                let span = defined.span();
                let written = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
                    source.get(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?)
                });
                Value::Text(written.ok_or_else(|| wrong("write this value in quotes"))?.trim().to_owned())
            }
            Shape::List(nodes) => {
                Value::List(nodes.into_iter().map(|node| node.settle(source, left)).collect::<Result<_, _>>()?)
            }
            Shape::Map(entries) => {
                let entry = |(key, node): (Spanned<String>, Self)| {
                    let place = Place { line: key.referenced.line(), column: key.referenced.column() };
                    Ok(Entry { key: key.value, place, node: node.settle(source, left)? })
                };
                Value::Map(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
            }
        };
        Ok(Node { place, value })
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Unquoted)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Unquoted)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Unquoted)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Unquoted)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Unquoted)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Unquoted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Shape, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = elements.next_element()? {
            nodes.push(node);
        }
        Ok(Shape::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of<'a>(node: &'a Node, key: &str) -> &'a str {
        match &node.field(key).unwrap().node.value {
            Value::Text(text) => text,
            _ => "",
        }
    }

    #[test]
    fn scalars_stay_the_text_that_was_written_and_know_their_place() {
        let yaml = "a: 1.10\nb: \"1.20\"\nc: 0x10\nd: yes\ne: 2026-12-01T22:00\nf:\n  - 1e999 # comment\ng: &v 3.10\nh: *v\ni: true\nj: 'ü' \nk: 010\n";
        let documents = documents(yaml).unwrap();
        let root = &documents[0];
        for (key, expected) in [
            ("a", "1.10"),
            ("b", "1.20"),
            ("c", "0x10"),
            ("d", "yes"),
            ("e", "2026-12-01T22:00"),
            ("g", "3.10"),
            ("h", "3.10"),
            ("i", "true"),
            ("j", "ü"),
            ("k", "010"),
        ] {
            assert_eq!(text_of(root, key), expected, "{key}");
        }
        let list = &root.field("f").unwrap().node;
        assert!(matches!(&list.element(0).unwrap().value, Value::Text(text) if text == "1e999"), "{list:?}");
        assert_eq!(list.element(0).unwrap().place, Place { line: 7, column: 5 });
        assert_eq!(root.field("h").unwrap().place, Place { line: 9, column: 1 });
    }

    #[test]
    fn hostile_documents_are_refused_quickly() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        for text in [
            bomb,
            &"[".repeat(100_000),
            &"- ".repeat(100_000),
            &"---\na\n".repeat(1_000),
            "a: [1, 2",
            "a: b: c",
            "a: !!python/object:os.system x",
            "a: *missing",
        ] {
            assert!(documents(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn what_is_wrong_comes_with_its_place() {
        let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.place.is_some_and(|place| place.line >= 2), "{error:?}");
    }
}
