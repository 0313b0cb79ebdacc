//! Which hub is meant, and as whom: flags over environment over what `login` saved over this machine's own daemon.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::api::Client;

/// In the data folder: the address that the daemon listens on.
pub const ADDRESS_FILE: &str = "daemon.address";

/// In the data folder: the first administrator's token.
pub const TOKEN_FILE: &str = "admin.token";

/// Tokens and addresses are short; whatever is longer is another file.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// What `login` saves.
#[derive(Serialize, Deserialize)]
pub struct Saved {
    /// The hub's address.
    pub server: String,
    /// The token.
    pub token: String,
    /// The PEM text of the hub's certificate authority, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// A client for the hub that is meant.
pub fn client(context: &Context) -> anyhow::Result<Client> {
    let saved = if context.global.data_dir.is_some() { None } else { saved(context)? };
    let data_dir = data_dir(context)?;
    let server = match (&context.global.server, &saved) {
        (Some(server), _) => server.clone(),
        (None, Some(saved)) => saved.server.clone(),
        (None, None) => local_address(&data_dir)?,
    };
    // What was saved for one hub is never sent to another.
    let saved = saved.filter(|saved| saved.server == server);
    let ca = match (&context.global.ca_file, &saved) {
        (Some(file), _) => Some(read_small(file)?),
        (None, Some(saved)) => saved.ca.clone(),
        (None, None) => None,
    };
    let token = token(context, saved.as_ref(), &data_dir)?;
    Ok(Client::new(&server, &token, ca.as_ref().map(String::as_bytes))?)
}

fn token(context: &Context, saved: Option<&Saved>, data_dir: &Path) -> anyhow::Result<String> {
    if let Some(file) = &context.global.token_file {
        return read_small(file);
    }
    if let Some(token) = context.variable("FLEETLIFT_TOKEN") {
        return Ok(token.to_owned());
    }
    if let Some(saved) = saved {
        return Ok(saved.token.clone());
    }
    let file = data_dir.join(TOKEN_FILE);
    if file.exists() && context.global.server.as_deref().is_none_or(|server| is_local(server, data_dir)) {
        return read_small(&file);
    }
    bail!("no token: name --token-file, set FLEETLIFT_TOKEN, or run `fleetlift login`")
}

/// The local daemon's token is for the local daemon.
fn is_local(server: &str, data_dir: &Path) -> bool {
    local_address(data_dir).is_ok_and(|local| same_place(&local, server))
}

/// Whether two addresses of hubs are one: this machine has several names for itself.
fn same_place(one: &str, other: &str) -> bool {
    let place = |text: &str| {
        let url: reqwest::Url = text.parse().ok()?;
        let host = match url.host_str()? {
            "localhost" | "127.0.0.1" | "[::1]" => "loopback".to_owned(),
            host => host.to_ascii_lowercase(),
        };
        Some((url.scheme().to_owned(), host, url.port_or_known_default()))
    };
    place(one).is_some_and(|place_of_one| place(other) == Some(place_of_one))
}

fn local_address(data_dir: &Path) -> anyhow::Result<String> {
    let file = data_dir.join(ADDRESS_FILE);
    if !file.exists() {
        bail!(
            "no hub: name --server, run `fleetlift login`, or start `fleetlift daemon` on this machine \
             (no {} there)",
            file.display()
        );
    }
    Ok(read_small(&file)?.trim().to_owned())
}

/// Where the daemon keeps its data: `/var/lib/fleetlift` as root, else below the user's own data folder.
pub fn data_dir(context: &Context) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &context.global.data_dir {
        return Ok(folder.clone());
    }
    if is_root() {
        return Ok(PathBuf::from("/var/lib/fleetlift"));
    }
    if let Some(folder) = context.variable("XDG_DATA_HOME") {
        return Ok(PathBuf::from(folder).join("fleetlift"));
    }
    let home = context.variable("HOME").context("no home folder: name --data-dir")?;
    Ok(PathBuf::from(home).join(".local/share/fleetlift"))
}

/// A process's own entry belongs to its user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// The data folder of this machine's own daemon, when that is the hub that is meant.
pub fn local_data_dir(context: &Context) -> anyhow::Result<Option<PathBuf>> {
    let folder = data_dir(context)?;
    let is_meant = match &context.global.server {
        Some(server) => is_local(server, &folder),
        None => context.global.data_dir.is_some() || saved(context)?.is_none(),
    };
    Ok(is_meant.then_some(folder))
}

/// Where `login` saves.
pub fn saved_file(context: &Context) -> anyhow::Result<PathBuf> {
    if let Some(folder) = context.variable("XDG_CONFIG_HOME") {
        return Ok(PathBuf::from(folder).join("fleetlift/login.json"));
    }
    let home = context.variable("HOME").context("no home folder: set HOME")?;
    Ok(PathBuf::from(home).join(".config/fleetlift/login.json"))
}

fn saved(context: &Context) -> anyhow::Result<Option<Saved>> {
    let Ok(file) = saved_file(context) else { return Ok(None) };
    if !file.exists() {
        return Ok(None);
    }
    let text = read_small(&file)?;
    let saved =
        serde_json::from_str(&text).with_context(|| format!("{} can't be read: log in again", file.display()))?;
    Ok(Some(saved))
}

/// The text of a small file; `-` is standard input.
pub fn read_small(file: &Path) -> anyhow::Result<String> {
    read_bounded(file, SMALL_BYTES_MAX)
}

/// The text of a file of at most `bytes_max`; `-` is standard input.
pub fn read_bounded(file: &Path, bytes_max: u64) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let reader: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("can't open {}", file.display()))?)
    };
    let read = reader.take(bytes_max + 1).read_to_string(&mut text);
    read.with_context(|| format!("can't read {}", file.display()))?;
    if text.len() as u64 > bytes_max {
        bail!("{} is larger than {bytes_max} bytes", file.display());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_of_this_machine_is_known_by_each_of_its_names() {
        let local = "http://127.0.0.1:8480";
        for same in [local, "http://127.0.0.1:8480/", "http://localhost:8480"] {
            assert!(same_place(local, same), "{same}");
        }
        for other in ["http://127.0.0.1:8481", "https://127.0.0.1:8480", "http://10.0.0.1:8480", "nonsense"] {
            assert!(!same_place(local, other), "{other}");
        }
    }
}
