//! Rewriting an image's name for the target version: new tag, perhaps another registry, the same image.

use super::order::Images;

/// What becomes of `-amd64` in the name of an image of OpenEBS's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Architecture {
    /// It goes: cStor's images of the CSPC engine serve all architectures under the plain name since 2.6.
    Drop,
    /// It stays, as upstream's executors have it for all other engines.
    #[default]
    Keep,
}

/// The image that replaces `present`, or why there is none. The tag is what follows the last `:` behind the last `/`
/// (a registry may have a port); a digest is dropped, for it names the old content.
pub fn rewrite(present: &str, images: &Images, architecture: Architecture) -> Result<String, String> {
    let undigested = present.split_once('@').map_or(present, |(name, _)| name);
    let (path, name) = match undigested.rsplit_once('/') {
        Some((path, name)) => (Some(path), name),
        None => (None, undigested),
    };
    let name = name.split_once(':').map_or(name, |(name, _tag)| name);
    if name.is_empty() {
        return Err(format!("{present:?} is no image"));
    }
    let from_openebs = path.is_some_and(|path| path == "openebs" || path.ends_with("/openebs"));
    let name =
        name.strip_suffix("-amd64").filter(|_| from_openebs && architecture == Architecture::Drop).unwrap_or(name);
    let Images { prefix, tag } = images;
    Ok(match path {
        _ if !prefix.is_empty() => format!("{prefix}{name}:{tag}"),
        Some(path) => format!("{path}/{name}:{tag}"),
        None => format!("{name}:{tag}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(prefix: &str, present: &str) -> String {
        rewrite(present, &Images { prefix: prefix.into(), tag: "3.6.0".into() }, Architecture::Drop).unwrap()
    }

    #[test]
    fn the_tag_changes_and_the_rest_stays() {
        assert_eq!(to("", "openebs/cstor-pool:3.5.0"), "openebs/cstor-pool:3.6.0");
        assert_eq!(to("", "reg.example:5000/openebs/jiva:3.5.0"), "reg.example:5000/openebs/jiva:3.6.0");
        assert_eq!(to("", "reg.example:5000/openebs/jiva"), "reg.example:5000/openebs/jiva:3.6.0");
        assert_eq!(to("", "jiva:3.5.0"), "jiva:3.6.0");
        assert_eq!(to("", "openebs/jiva:3.5.0@sha256:abc"), "openebs/jiva:3.6.0");
    }

    #[test]
    fn a_prefix_replaces_registry_and_path() {
        assert_eq!(to("reg:5000/mirror/", "quay.io/openebs/jiva:2.12.0"), "reg:5000/mirror/jiva:3.6.0");
    }

    #[test]
    fn the_old_name_for_one_architecture_becomes_the_plain_one() {
        assert_eq!(to("", "openebs/cstor-pool-amd64:2.0.0"), "openebs/cstor-pool:3.6.0");
        assert_eq!(to("", "quay.io/openebs/cstor-pool-amd64:2.0.0"), "quay.io/openebs/cstor-pool:3.6.0");
        assert_eq!(to("", "example/own-amd64:2.0.0"), "example/own-amd64:3.6.0");
    }

    #[test]
    fn rewriting_twice_changes_nothing_more() {
        let once = to("reg:5000/m/", "openebs/jiva:3.5.0");
        assert_eq!(to("reg:5000/m/", &once), once);
    }

    #[test]
    fn nothing_is_no_image() {
        assert!(rewrite("", &Images::default(), Architecture::Keep).is_err());
        assert!(rewrite("openebs/", &Images::default(), Architecture::Keep).is_err());
    }
}
