//! `fleetlift login` and `fleetlift version`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::connect::{self, Saved};
use super::{Context, Ended};
use crate::api::Client;
use crate::app::WhoAmI;

/// Keeps a hub's address and token in the user's configuration folder, mode 0600.
#[derive(Debug, Args)]
pub struct Login {
    /// The hub's address
    #[arg(value_name = "SERVER")]
    hub: String,
}

impl Login {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let token = match (&context.global.token_file, context.variable("FLEETLIFT_TOKEN")) {
            (Some(file), _) => connect::read_small(file)?,
            (None, Some(token)) => token.to_owned(),
            (None, None) => {
                context.output.note("Token (from --token-file, FLEETLIFT_TOKEN, or now on standard input):");
                connect::read_small(Path::new("-"))?
            }
        };
        let token = token.trim().to_owned();
        let ca = context.global.ca_file.as_deref().map(connect::read_small).transpose()?;
        let client = Client::new(&self.hub, &token, ca.as_ref().map(String::as_bytes))?;
        let who: WhoAmI = client.get("whoami", &[]).await.context("the hub does not accept that")?;
        let file = connect::saved_file(context)?;
        save(&file, &Saved { server: client.base().to_owned(), token, ca })?;
        let WhoAmI { actor, role, .. } = &who;
        context.output.one(&who, |_| format!("logged in to {} as {actor} ({role})", client.base()))?;
        Ok(Ended::Done)
    }
}

fn save(file: &Path, saved: &Saved) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(saved)?;
    write_private(file, &text).with_context(|| format!("can't write {}", file.display()))
}

/// Writes a file that only its owner reads; a file that was there before is replaced, whatever its mode was.
pub fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut handle = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    handle.write_all(text.as_bytes())?;
    handle.sync_all()?;
    fs::rename(&fresh, file)
}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hub: Option<String>,
}

/// The versions of this program and of the hub, if one can be reached.
pub async fn versions(context: &Context) -> anyhow::Result<Ended> {
    let hub = match context.client() {
        Ok(client) => client.get::<WhoAmI>("whoami", &[]).await.ok().map(|who| who.version),
        Err(_) => None,
    };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), hub };
    context.output.one(&versions, |_| {
        let hub = versions.hub.as_deref().unwrap_or("not reached");
        format!("fleetlift {}\nhub       {hub}", versions.client)
    })?;
    Ok(Ended::Done)
}
