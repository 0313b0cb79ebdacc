//! The hub's image, as far as it can be told without an engine.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn its_build_is_handed_everything_that_the_sources_include() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("deploy/hub.Dockerfile")).unwrap();
    let copied: Vec<&str> =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")?.split(' ').next()).collect();
    let mut included = 0;
    for source in sources(&root.join("src")) {
        let text = fs::read_to_string(&source).unwrap();
        for rest in text.split("include_str!(\"").skip(1) {
            let (file, _) = rest.split_once('"').unwrap();
            let file = source.parent().unwrap().join(file).canonicalize().unwrap();
            let file = file.strip_prefix(root).unwrap();
            assert!(copied.iter().any(|folder| file.starts_with(folder)), "{} is not copied", file.display());
            included += 1;
        }
    }
    assert!(included >= 10, "the sources include files: {included}");
}
