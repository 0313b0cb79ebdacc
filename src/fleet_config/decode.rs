//! From a document's tree to typed raw structs, going on after each mistake.
//!
//! Serde's derived code stops at the first error. So what cannot be read is reported and left out, and the document is
//! read again without it, until nothing is wrong any more: every field of the raw structs may be missing, hence each
//! round gets further. Unknown fields and duplicate keys are reported on the way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};

use super::node::{Entry, Node, Place, Value};
use super::problem::{Collector, FileRef, nearest};

/// Reads a document. What is wrong goes to `collector`; `None` only when the document is not a mapping at all.
pub fn decode<'de, T: Deserialize<'de>>(file: FileRef<'_>, document: &'de Node, collector: &Collector) -> Option<T> {
    let context = Context { file, collector, dropped: RefCell::default(), rounds: Cell::new(0) };
    loop {
        let reader = Reader { node: document, path: Path::Root, context: &context };
        match T::deserialize(reader) {
            Ok(value) => return Some(value),
            Err(Mistake { message, at: Some(Where { path, place, address }) }) => {
                collector.add_unreadable(file, place, &path, message);
                context.rounds.set(context.rounds.get() + 1);
                // What was dropped cannot be wrong again: the set guards the loop's end.
                if path.is_empty() || !context.dropped.borrow_mut().insert(address) {
                    return None;
                }
                if collector.is_full() || context.rounds.get() > ROUNDS_MAX {
                    collector.count();
                    return None;
                }
            }
            Err(Mistake { message, at: None }) => {
                collector.add(file, Some(document.place), "", message);
                return None;
            }
        }
    }
}

/// The most unreadable values that are told apart in one document: each costs one more reading of it.
const ROUNDS_MAX: u32 = 100;

struct Context<'a> {
    file: FileRef<'a>,
    collector: &'a Collector,
    /// What could not be read, by [`address`].
    dropped: RefCell<BTreeSet<usize>>,
    rounds: Cell<u32>,
}

/// Where the reader is; becomes text only when something is wrong.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, key) => f.write_str(key),
            Self::Field(parent, key) => write!(f, "{parent}.{key}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// What is wrong with a value, and with which.
#[derive(Debug)]
struct Mistake {
    message: String,
    at: Option<Where>,
}

/// Which value is wrong.
#[derive(Debug)]
struct Where {
    path: String,
    place: Place,
    address: usize,
}

/// The tree does not move while it is read: a node's address names it, and costs nothing to compare.
fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None }
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Reader<'de, 'p> {
    node: &'de Node,
    path: Path<'p>,
    context: &'p Context<'p>,
}

impl<'de> Reader<'de, '_> {
    fn wrong(&self, message: impl Into<String>) -> Mistake {
        Mistake {
            message: message.into(),
            at: Some(Where { path: self.path.to_string(), place: self.node.place, address: address(self.node) }),
        }
    }

    fn expected(&self, what: &str) -> Mistake {
        self.wrong(format!("expected {what}, found {}", self.node.noun()))
    }

    /// Gives an error that came out of a visitor this place.
    fn here<T>(&self, result: Result<T, Mistake>) -> Result<T, Mistake> {
        result.map_err(|mistake| if mistake.at.is_none() { self.wrong(mistake.message) } else { mistake })
    }

    fn text(&self, what: &str) -> Result<&'de str, Mistake> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    fn is_dropped(&self, node: &Node) -> bool {
        self.context.dropped.borrow().contains(&address(node))
    }

    fn report(&self, place: Place, path: Path<'_>, message: String) {
        self.context.collector.add(self.context.file, Some(place), &path.to_string(), message);
    }

    fn whole_number<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Mistake> {
        let text = self.text("a whole number")?;
        let number = text.parse::<u64>().map_err(|_| self.wrong(format!("`{}` is not a whole number", shown(text))))?;
        self.here(visitor.visit_u64(number))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.whole_number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Mistake;

    whole_numbers!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Text(_) => self.deserialize_str(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => Err(self.expected("a single value")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let text = self.text("text")?;
        self.here(visitor.visit_borrowed_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.text("true or false")? {
            "true" => self.here(visitor.visit_bool(true)),
            "false" => self.here(visitor.visit_bool(false)),
            other => Err(self.wrong(format!("`{}` is neither true nor false", shown(other)))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Value::List(nodes) => self.here(visitor.visit_seq(Elements { reader: self, rest: nodes, index: 0 })),
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Value::Map(entries) => self.here(visitor.visit_map(Fields {
                reader: self,
                known: fields,
                rest: entries,
                seen: Vec::new(),
                next: None,
            })),
            _ => Err(self.expected(&format!("a mapping with {}", fields.join(", ")))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let one_of = format!("one of {}", variants.join(", "));
        let text = self.text(&one_of)?;
        if variants.contains(&text) {
            return self.here(visitor.visit_enum(Word(text)));
        }
        let hint = nearest(text, variants).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        Err(self.wrong(format!("`{}` is not known here: expected {one_of}{hint}", shown(text))))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier
    }
}

/// The elements of a list, without those that could not be read.
struct Elements<'de, 'p> {
    reader: Reader<'de, 'p>,
    rest: &'de [Node],
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'de, '_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        while let Some((node, rest)) = self.rest.split_first() {
            let path = Path::Element(&self.reader.path, self.index);
            self.rest = rest;
            self.index += 1;
            if !self.reader.is_dropped(node) {
                return seed.deserialize(Reader { node, path, context: self.reader.context }).map(Some);
            }
        }
        Ok(None)
    }
}

/// The entries of a mapping, without unknown, repeated and unreadable ones.
struct Fields<'de, 'p> {
    reader: Reader<'de, 'p>,
    /// The fields of the struct.
    known: &'static [&'static str],
    rest: &'de [Entry],
    /// The known keys so far, to find repeated ones: no more than the struct has fields.
    seen: Vec<(&'de str, Place)>,
    next: Option<&'de Entry>,
}

impl Fields<'_, '_> {
    fn report_unknown(&self, entry: &Entry, path: Path<'_>) {
        // Looking for what was meant takes time, and nobody would read it.
        if self.reader.context.collector.is_full() {
            self.reader.context.collector.count();
            return;
        }
        let remedy = nearest(&entry.key, self.known).map_or_else(
            || format!("expected one of {}", self.known.join(", ")),
            |word| format!("did you mean `{word}`?"),
        );
        self.reader.report(entry.place, path, format!("unknown field: {remedy}"));
    }
}

impl<'de> de::MapAccess<'de> for Fields<'de, '_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        while let Some((entry, rest)) = self.rest.split_first() {
            self.rest = rest;
            let path = Path::Field(&self.reader.path, &entry.key);
            if !self.known.contains(&entry.key.as_str()) {
                self.report_unknown(entry, path);
                continue;
            }
            if let Some((_, first)) = self.seen.iter().find(|(key, _)| *key == entry.key) {
                let message = format!("given twice: first in line {}; keep one", first.line);
                self.reader.report(entry.place, path, message);
                continue;
            }
            self.seen.push((&entry.key, entry.place));
            if self.reader.is_dropped(&entry.node) {
                continue;
            }
            self.next = Some(entry);
            return seed.deserialize(entry.key.as_str().into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let entry = self.next.take().ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        let path = Path::Field(&self.reader.path, &entry.key);
        seed.deserialize(Reader { node: &entry.node, path, context: self.reader.context })
    }
}

/// A word that names a variant without content.
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        let name = seed.deserialize(self.0.into_deserializer())?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Mistake> {
        Err(de::Error::custom("expected a word"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Mistake> {
        Err(de::Error::custom("expected a word"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Mistake> {
        Err(de::Error::custom("expected a word"))
    }
}
