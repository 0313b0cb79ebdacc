//! Kubernetes label selectors: parsing, matching, and the text that they came from.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Kubernetes label selector: `region in (eu, uk), tier=store, !lab`. All its requirements must hold; the empty one
/// matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Requirement>);

/// One requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Requirement {
    key: String,
    demand: Demand,
}

/// What a requirement demands of the label. Values are sorted and without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Demand {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// The text is not a label selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {at} of `{text}`")]
pub struct InvalidSelector {
    problem: String,
    at: usize,
    text: String,
}

impl Selector {
    /// The longest text that is read, in bytes.
    pub const TEXT_MAX: usize = 4_096;

    /// Whether a cluster with these labels is selected. As in Kubernetes, `!=` and `notin` also select what does not
    /// carry the label at all.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.demand {
                Demand::In(values) => value.is_some_and(|value| values.contains(value)),
                Demand::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Demand::Exists => value.is_some(),
                Demand::Absent => value.is_none(),
            }
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        if text.len() > Self::TEXT_MAX {
            return Err(InvalidSelector {
                problem: format!("a selector has at most {} bytes: too long", Self::TEXT_MAX),
                at: Self::TEXT_MAX,
                text: text.chars().take(64).collect(),
            });
        }
        let mut reader = Reader { text, at: 0 };
        if reader.peek().is_none() {
            return Ok(Self::default());
        }
        let mut requirements = Vec::new();
        loop {
            requirements.push(reader.requirement()?);
            match reader.peek() {
                None => return Ok(Self(requirements)),
                Some(',') => reader.at += 1,
                Some(other) => return Err(reader.wrong(format!("expected `,` or the end, found `{other}`"))),
            }
        }
    }
}

/// Reads a selector from left to right; `at` is a byte offset on a character boundary.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn requirement(&mut self) -> Result<Requirement, InvalidSelector> {
        if self.eat("!") {
            let key = self.key()?;
            return Ok(Requirement { key, demand: Demand::Absent });
        }
        let key = self.key()?;
        let demand = if self.eat("!=") {
            Demand::NotIn(vec![self.value()?])
        } else if self.eat("==") || self.eat("=") {
            Demand::In(vec![self.value()?])
        } else {
            match self.peek() {
                None | Some(',') => Demand::Exists,
                Some(_) => match self.word() {
                    "in" => Demand::In(self.values()?),
                    "notin" => Demand::NotIn(self.values()?),
                    _ => return Err(self.wrong(format!("expected =, ==, !=, in or notin after `{key}`"))),
                },
            }
        };
        Ok(Requirement { key, demand })
    }

    fn values(&mut self) -> Result<Vec<String>, InvalidSelector> {
        if !self.eat("(") {
            return Err(self.wrong("expected `(` and a list of values".to_owned()));
        }
        let mut values = vec![self.value()?];
        loop {
            if self.eat(",") {
                values.push(self.value()?);
            } else if self.eat(")") {
                values.sort();
                values.dedup();
                return Ok(values);
            } else {
                return Err(self.wrong("expected `,` or `)`".to_owned()));
            }
        }
    }

    fn key(&mut self) -> Result<String, InvalidSelector> {
        self.peek();
        let start = self.at;
        let key = self.word();
        check_key(key).map_err(|problem| Self { text: self.text, at: start }.wrong(problem))?;
        Ok(key.to_owned())
    }

    fn value(&mut self) -> Result<String, InvalidSelector> {
        self.peek();
        let start = self.at;
        let value = self.word();
        check_value(value).map_err(|problem| Self { text: self.text, at: start }.wrong(problem))?;
        Ok(value.to_owned())
    }

    /// The next run of characters that are neither white space nor punctuation of the grammar; may be empty.
    fn word(&mut self) -> &'a str {
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_whitespace() || "=!,()".contains(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Skips white space and shows the next character.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        self.peek();
        let there = self.text[self.at..].starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn wrong(&self, problem: String) -> InvalidSelector {
        let at = self.text[..self.at].chars().count() + 1;
        InvalidSelector { problem, at, text: self.text.chars().take(200).collect() }
    }
}

/// Whether `key` may be a label's key: an optional DNS prefix with `/`, then a name of at most 63 characters.
pub fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_is_sound = |prefix: &str| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    };
    if name.is_empty() || !name_is_sound(name) || !prefix.is_none_or(prefix_is_sound) {
        let shown: String = key.chars().take(64).collect();
        return Err(format!("`{shown}` is no label key (letters, digits, - _ . and at most 63 of them)"));
    }
    Ok(())
}

/// Whether `value` may be a label's value: empty, or at most 63 characters.
pub fn check_value(value: &str) -> Result<(), String> {
    if !value.is_empty() && !name_is_sound(value) {
        let shown: String = value.chars().take(64).collect();
        return Err(format!("`{shown}` is no label value (letters, digits, - _ . and at most 63 of them)"));
    }
    Ok(())
}

fn name_is_sound(name: &str) -> bool {
    name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The canonical text: what is equal prints equally.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, demand }) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match demand {
                Demand::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Demand::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Demand::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Demand::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Demand::Exists => f.write_str(key)?,
                Demand::Absent => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Selector {
    type Error = InvalidSelector;

    fn try_from(text: String) -> Result<Self, InvalidSelector> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap())
            .collect()
    }

    fn matches(selector: &str, of: &str) -> bool {
        selector.parse::<Selector>().unwrap().matches(&labels(of))
    }

    #[test]
    fn every_operator_matches_as_in_kubernetes() {
        for (selector, of, expected) in [
            ("", "a=1", true),
            ("a=1", "a=1", true),
            ("a == 1", "a=2", false),
            ("a!=1", "a=1", false),
            ("a!=1", "b=1", true),
            ("region in (eu, uk), tier=store", "region=uk tier=store", true),
            ("region in (eu,uk),tier=store", "region=us tier=store", false),
            ("region notin (eu, uk)", "region=us", true),
            ("region notin (eu, uk)", "", true),
            ("region notin (eu, uk)", "region=eu", false),
            ("lab", "lab=", true),
            ("lab", "", false),
            ("!lab", "lab=x", false),
            ("! lab", "", true),
            ("in in (notin)", "in=notin", true),
            ("example.com/site=berlin", "example.com/site=berlin", true),
            ("a=", "a=", true),
        ] {
            assert_eq!(matches(selector, of), expected, "{selector:?} on {of:?}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_place() {
        for (text, at) in [
            ("region in eu", 11),
            ("a=1,,b=2", 5),
            ("a=1 b=2", 5),
            ("=1", 1),
            ("a in (", 7),
            ("a in (x", 8),
            ("a ~ b", 4),
            ("-a=1", 1),
            ("a=b c", 5),
            ("ä=1", 1),
            ("a=1,", 5),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert_eq!(error.at, at, "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_what_is_parsed_reads_back(text in "[a-z=!,() inot]{0,40}|\\PC{0,20}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
            }
        }
    }
}
