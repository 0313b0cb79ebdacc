//! What is wrong with a fleet file, where, and what to do about it; all of it at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::node::{Node, Place};

/// One mistake in a fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 when it concerns the file as a whole.
    pub line: u64,
    /// The column, from 1; 0 when it concerns the file as a whole.
    pub column: u64,
    /// The field: `spec.groups[0].selector`; empty when it concerns the file as a whole.
    pub field: String,
    /// What is wrong, and the remedy.
    pub message: String,
    /// The line as written, at most 160 characters.
    pub snippet: String,
}

/// All mistakes found, in the order of files and lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Problems {
    /// The mistakes, at most [`Problems::REPORTED_MAX`].
    pub problems: Vec<Problem>,
    /// How many more were found than are reported; there may be further ones that were not looked for.
    pub more: usize,
}

impl Problems {
    /// Whoever gets more than this would not read them.
    pub const REPORTED_MAX: usize = 200;

    /// One mistake that concerns `file` as a whole.
    pub fn about(file: &str, message: String) -> Self {
        let problem = Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            field: String::new(),
            message,
            snippet: String::new(),
        };
        Self { problems: vec![problem], more: 0 }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.more > 0 {
            write!(f, "\n… and at least {} more", self.more)?;
        }
        Ok(())
    }
}

/// `stores.yaml:12:17: spec.groups[0].selector: …`, then the line with a mark under the place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, field, message, snippet } = self;
        f.write_str(file)?;
        if *line > 0 {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        f.write_str(message)?;
        if !snippet.is_empty() {
            let indent = usize::try_from(column.saturating_sub(1)).unwrap_or(0).min(SNIPPET_MAX);
            write!(f, "\n  {line:>5} | {snippet}\n        | {:indent$}^", "")?;
        }
        Ok(())
    }
}

const SNIPPET_MAX: usize = 160;

/// Collects problems while documents are read.
#[derive(Default)]
pub struct Collector {
    problems: RefCell<Vec<Problem>>,
    /// How many more were found after [`KEPT_MAX`].
    more: Cell<usize>,
    /// Values that could not be read: file, place, path.
    unreadable: RefCell<BTreeSet<(String, Place, String)>>,
}

/// Collected before the first ones in the files' order are reported. A bound on work: each is compared with the others
/// and looked up in its file.
const KEPT_MAX: usize = 1_000;

impl Collector {
    /// Adds one. The same message for the same place is kept once.
    pub fn add(&self, file: FileRef<'_>, place: Option<Place>, field: &str, message: String) {
        let mut problems = self.problems.borrow_mut();
        let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
        let is_same = |known: &Problem| {
            (known.line, known.column) == (line, column)
                && known.file == file.name
                && known.field == field
                && known.message == message
        };
        if problems.iter().any(is_same) {
            return;
        }
        if problems.len() >= KEPT_MAX {
            self.more.set(self.more.get() + 1);
            return;
        }
        let snippet = place.map(|place| file.line(place.line)).unwrap_or_default();
        problems.push(Problem { file: file.name.to_owned(), line, column, field: field.to_owned(), message, snippet });
    }

    /// Adds one about a value that cannot be read at all and is left out of the raw struct.
    pub fn add_unreadable(&self, file: FileRef<'_>, place: Place, field: &str, message: String) {
        self.unreadable.borrow_mut().insert((file.name.to_owned(), place, field.to_owned()));
        self.add(file, Some(place), field, message);
    }

    /// Whether no more are kept: whoever reads on only counts.
    pub fn is_full(&self) -> bool {
        self.problems.borrow().len() >= KEPT_MAX
    }

    /// One more that is only counted.
    pub fn count(&self) {
        self.more.set(self.more.get() + 1);
    }

    /// All of them, if there are any.
    pub fn into_problems(self) -> Option<Problems> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return None;
        }
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        let more = self.more.get() + problems.len().saturating_sub(Problems::REPORTED_MAX);
        problems.truncate(Problems::REPORTED_MAX);
        Some(Problems { problems, more })
    }
}

/// A file under its name, with its text for snippets.
#[derive(Clone, Copy)]
pub struct FileRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl FileRef<'_> {
    fn line(&self, number: u64) -> String {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = self.text.lines().nth(index).unwrap_or_default();
        // Control characters would let a file rewrite the reader's terminal.
        line.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(SNIPPET_MAX)
            .collect::<String>()
            .trim_end()
            .to_owned()
    }
}

/// A field of a document: where it is, what it is called, and where to report what is wrong with it.
#[derive(Clone)]
pub struct At<'a> {
    file: FileRef<'a>,
    node: Option<&'a Node>,
    place: Place,
    path: String,
    collector: &'a Collector,
}

impl<'a> At<'a> {
    /// A document as a whole.
    pub fn document(file: FileRef<'a>, node: &'a Node, collector: &'a Collector) -> Self {
        Self { file, node: Some(node), place: node.place, path: String::new(), collector }
    }

    /// The field `key` of this one. When it is missing, its place is that of whatever should have had it.
    #[must_use]
    pub fn field(&self, key: &str) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let entry = self.node.and_then(|node| node.field(key));
        let place = entry.map_or(self.place, |entry| match entry.node.value {
            // A block below its key: the key is what people look for.
            super::node::Value::List(_) | super::node::Value::Map(_) | super::node::Value::Null => entry.place,
            super::node::Value::Text(_) => entry.node.place,
        });
        Self { node: entry.map(|entry| &entry.node), place, path, ..self.clone() }
    }

    /// The element `index` of this one.
    #[must_use]
    pub fn element(&self, index: usize) -> Self {
        let node = self.node.and_then(|node| node.element(index));
        Self {
            node,
            place: node.map_or(self.place, |node| node.place),
            path: format!("{}[{index}]", self.path),
            ..self.clone()
        }
    }

    /// Reports that something is wrong here.
    pub fn problem(&self, message: impl Into<String>) {
        self.collector.add(self.file, Some(self.place), &self.path, message.into());
    }

    /// Whether nothing was reported about this field or what is below it: `decode` drops what it cannot read, and the
    /// field then only looks as if it were missing.
    pub fn is_clean(&self) -> bool {
        let problems = self.collector.problems.borrow();
        !problems.iter().any(|problem| {
            problem.file == self.file.name
                && problem
                    .field
                    .strip_prefix(self.path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
        })
    }

    /// The elements of this list that are in the raw list, too: without those that `decode` could not read.
    pub fn elements(&self) -> Vec<Self> {
        let count = match self.node.map(|node| &node.value) {
            Some(super::node::Value::List(nodes)) => nodes.len(),
            _ => 0,
        };
        (0..count).map(|index| self.element(index)).filter(Self::is_readable).collect()
    }

    /// Whether `decode` could read this as far as it is there.
    pub fn is_readable(&self) -> bool {
        let unreadable = self.collector.unreadable.borrow();
        !self.node.is_some_and(|node| unreadable.contains(&(self.file.name.to_owned(), node.place, self.path.clone())))
    }

    /// Whether this list could be read with all its elements, of which there are `count` in the raw list.
    pub fn is_readable_list_of(&self, count: usize) -> bool {
        self.is_readable() && self.holds(count)
    }

    /// Whether this is a list with `count` elements, readable or not, or nothing at all.
    fn holds(&self, count: usize) -> bool {
        match self.node.map(|node| &node.value) {
            Some(super::node::Value::List(nodes)) => nodes.len() == count,
            _ => count == 0,
        }
    }

    /// `file:line:column`, to name this place in a message about another one.
    pub fn location(&self) -> String {
        format!("{}:{}:{}", self.file.name, self.place.line, self.place.column)
    }
}

/// The word of `known` that `unknown` was probably meant to be.
pub fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let wanted: Vec<char> = unknown.to_lowercase().chars().take(40).collect();
    known
        .iter()
        .map(|word| (distance(&wanted, &word.to_lowercase().chars().collect::<Vec<_>>()), *word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many characters must be put in, taken out or changed to make one of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant() {
        let known = ["selector", "strategy", "target", "mode"];
        assert_eq!(nearest("selecter", &known), Some("selector"));
        assert_eq!(nearest("Strategi", &known), Some("strategy"));
        assert_eq!(nearest("nodes", &known), Some("mode"));
        assert_eq!(nearest("replicas", &known), None);
    }
}
