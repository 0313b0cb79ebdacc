//! YAML files to a checked `Fleet`, with every problem reported at once.
//!
//! Files → trees that know every value's place (`node`) → typed raw structs (`decode`, `raw`) → a `Fleet` (`resolve`
//! and its parts). The JSON Schema and `fleet show` come from the same raw structs.

mod decode;
mod diff;
mod files;
mod node;
mod problem;
mod raw;
mod resolve;
mod scalars;
mod show;
mod strategy;
mod windows;

use serde::{Deserialize, Serialize};

pub use self::diff::{Change, diff};
pub use self::files::{ReadError, read};
use self::problem::{At, Collector, FileRef};
pub use self::problem::{Problem, Problems};
pub use self::raw::schema;
pub use self::show::show;
use crate::domain::Fleet;

/// A file of YAML documents under the name that messages call it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The file's name; `-` for standard input.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// The most bytes that all files of a fleet may have together.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most files of a fleet.
pub const FILES_MAX: usize = 200;

/// The fleet that `sources` describe together, or everything that is wrong with them.
pub fn parse(sources: &[Source]) -> Result<Fleet, Problems> {
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    if bytes > BYTES_MAX {
        let message = format!("{bytes} bytes are more than a fleet may have ({BYTES_MAX})");
        return Err(Problems::about(sources.first().map_or("", |source| &source.name), message));
    }
    if sources.len() > FILES_MAX {
        let message = format!("{} files are more than a fleet may have ({FILES_MAX})", sources.len());
        return Err(Problems::about("", message));
    }
    let collector = Collector::default();
    let mut trees = Vec::new();
    let mut is_complete = true;
    for source in sources {
        let file = FileRef { name: &source.name, text: &source.text };
        match node::documents(&source.text) {
            Ok(documents) => trees.extend(documents.into_iter().map(|document| (file, document))),
            Err(error) => {
                is_complete = false;
                collector.add(file, error.place, "", format!("is no YAML that can be read: {}", error.message));
            }
        }
    }
    let mut documents = Vec::new();
    for (file, tree) in &trees {
        if let Some(raw) = decode::decode::<raw::RawDocument>(*file, tree, &collector) {
            documents.push((raw, At::document(*file, tree, &collector)));
        }
    }
    // What a file that could not be read names is not missing.
    is_complete &= documents.len() == trees.len();
    let fleet = resolve::fleet(&documents, is_complete);
    match (collector.into_problems(), fleet) {
        (Some(problems), _) => Err(problems),
        (None, Some(fleet)) => Ok(fleet),
        (None, None) => Err(Problems::about(
            sources.first().map_or("", |source| &source.name),
            "there is no fleet in here: write a document with `apiVersion: fleetlift.io/v1` and `kind: Fleet`"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
