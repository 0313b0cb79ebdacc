//! The YAML files of a folder, or one file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{BYTES_MAX, FILES_MAX, Source};

/// The files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The folder or a file in it.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not UTF-8.
    #[error("{path} is not text (UTF-8)", path = path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// There are more bytes than a fleet may have.
    #[error("{path} and what comes before it have more than {BYTES_MAX} bytes", path = path.display())]
    TooLong {
        /// The file that passes the limit.
        path: PathBuf,
    },
    /// There are more files than a fleet may have.
    #[error("{path} holds more than {FILES_MAX} YAML files", path = path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// There is none.
    #[error("{path} holds no .yaml or .yml file", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// The file `path`, or the `*.yaml` and `*.yml` files directly in the folder `path`, in the order of their names.
///
/// Sub-folders and dot files are left alone: a mounted ConfigMap keeps its former contents in one, a checkout its
/// `.git`.
pub fn read(path: &Path) -> Result<Vec<Source>, ReadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReadError::Io { path, source }
    };
    if !std::fs::metadata(path).map_err(failed(path))?.is_dir() {
        let mut left = BYTES_MAX;
        return Ok(vec![source(path, path.display().to_string(), &mut left)?]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed(path))? {
        let file = entry.map_err(failed(path))?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && !name.starts_with('.') && file.is_file() {
            files.push((name.to_owned(), file));
        }
        if files.len() > FILES_MAX {
            return Err(ReadError::TooMany { path: path.to_owned() });
        }
    }
    if files.is_empty() {
        return Err(ReadError::Empty { path: path.to_owned() });
    }
    files.sort();
    let mut left = BYTES_MAX;
    files.into_iter().map(|(name, file)| source(&file, name, &mut left)).collect()
}

fn source(path: &Path, name: String, left: &mut usize) -> Result<Source, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, to tell a full file from one that was cut.
    file.take(*left as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    *left = left.checked_sub(bytes.len()).ok_or_else(|| ReadError::TooLong { path: path.to_owned() })?;
    let text = String::from_utf8(bytes).map_err(|_| ReadError::NotText { path: path.to_owned() })?;
    Ok(Source { name, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_yaml_files_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "b"), ("a.yml", "a"), (".hidden.yaml", "h"), ("notes.txt", "n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::create_dir(folder.path().join("sub.yaml")).unwrap();
        let names: Vec<String> = read(folder.path()).unwrap().into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["a.yml", "b.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(ReadError::Empty { .. })));
        assert!(matches!(read(&folder.path().join("missing")), Err(ReadError::Io { .. })));
        let binary = folder.path().join("x.yaml");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&binary), Err(ReadError::NotText { .. })));
        std::fs::write(&binary, vec![b' '; BYTES_MAX + 1]).unwrap();
        assert!(matches!(read(&binary), Err(ReadError::TooLong { .. })));
    }
}
