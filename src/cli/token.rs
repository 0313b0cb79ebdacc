//! `fleetlift token create | list | revoke`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use super::login::write_private;
use super::render::Column;
use super::{Context, Ended};
use crate::api::client::segment;
use crate::app::{CreateToken, CreatedToken, Role, TokenView, When};
use crate::domain::Clock as _;
use crate::settings::Period;
use crate::system::SystemClock;

/// API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is shown once
    Create {
        /// Its name: the actor in the audit
        name: String,
        /// viewer, operator, admin or auditor
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// The clusters that an operator may touch, as a label selector
        #[arg(long)]
        selector: Option<String>,
        /// How long it is valid, for example 90d; for ever without
        #[arg(long, value_name = "TIME")]
        expires: Option<Period>,
        /// Write the secret to this file (mode 0600) instead of showing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List tokens (never their secrets)
    List,
    /// Revoke a token: it works nowhere from now on
    Revoke {
        /// Its name or id
        token: String,
    },
}

const COLUMNS: [Column<TokenView>; 7] = [
    Column::new("NAME", |token: &TokenView| token.name.clone()),
    Column::new("ROLE", |token: &TokenView| token.role.clone()),
    Column::new("SELECTOR", |token: &TokenView| token.selector.clone().unwrap_or_default()),
    Column::new("EXPIRES", |token: &TokenView| instant(token.expires_at, "never")),
    Column::new("REVOKED", |token: &TokenView| instant(token.revoked_at, "")),
    Column::wide("CREATED", |token: &TokenView| token.created_at.to_string()),
    Column::wide("ID", |token: &TokenView| token.id.clone()),
];

fn instant(at: Option<When>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), |at| at.to_string())
}

impl TokenCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let client = context.client()?;
        match self {
            Self::Create { name, role, selector, expires, out } => {
                let expires_at = expires.map(|period| When(SystemClock.now() + period.duration()));
                let wanted = CreateToken { name, role, selector, expires_at };
                let mut made: CreatedToken = client.send(reqwest::Method::POST, "tokens", &wanted).await?;
                if let Some(file) = out {
                    write_private(&file, &made.secret).with_context(|| format!("can't write {}", file.display()))?;
                    made.secret = format!("written to {}", file.display());
                }
                context.output.one(&made, |_| made.secret.clone())?;
            }
            Self::List => context.output.list(&client.list::<TokenView>("tokens", &[]).await?, &COLUMNS)?,
            Self::Revoke { token } => {
                if !context.confirmed(&format!("Revoke token {token}?"))? {
                    return Ok(Ended::Failed);
                }
                client.delete(&format!("tokens/{}", segment(&token))).await?;
                context.output.say(&format!("token {token} is revoked"))?;
            }
        }
        Ok(Ended::Done)
    }
}
