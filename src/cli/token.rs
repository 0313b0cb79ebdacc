//! `fleetlift token create | list | recover | revoke`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use super::login::write_private;
use super::render::Column;
use super::{Context, Ended, connect, hub};
use crate::api::client::segment;
use crate::app::{CreateToken, CreatedToken, Role, TokenView, When};
use crate::domain::Clock as _;
use crate::settings::{self, Period, Sources};
use crate::store;
use crate::system::{SystemClock, SystemEntropy};

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
        /// The clusters that an operator may change something about, as a label selector; every token reads them all
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
    /// On the daemon's own machine, for whoever has lost the last administrator's token: make another one, straight in
    /// the database
    Recover {
        /// sqlite:FILE or postgres://…; as the daemon's settings say without
        #[arg(long, value_name = "URL")]
        database: Option<String>,
        /// Write the secret to this file (mode 0600); to the data folder's admin.token without
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Revoke a token: it works nowhere from now on. The last administrator's stays
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
        if let Self::Recover { database, out } = self {
            return recover(context, database, out).await;
        }
        let client = context.client()?;
        match self {
            Self::Recover { .. } => {}
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

/// Needs no token, but the database itself and the right to write beside it.
async fn recover(context: &Context, database: Option<String>, out: Option<PathBuf>) -> anyhow::Result<Ended> {
    let data_dir = connect::data_dir(context)?;
    let settings = settings::load(&Sources {
        file: context.global.config.clone(),
        data_dir: data_dir.clone(),
        environment: context.environment.clone(),
        flags: database.into_iter().map(|url| ("database.url", url)).collect(),
    })?;
    let url = hub::database_url(&settings, &data_dir);
    let store = store::open(&url, hub::store_options(&settings)).await.context("can't open the database")?;
    let made = crate::app::recover(store.as_ref(), &SystemClock, &SystemEntropy).await?;
    let file = out.unwrap_or_else(|| data_dir.join(connect::TOKEN_FILE));
    write_private(&file, &format!("{}\n", made.secret)).with_context(|| format!("can't write {}", file.display()))?;
    context.output.one(&made.token, |_| {
        format!("{} is an administrator's token now; its secret is in {}", made.token.name, file.display())
    })?;
    Ok(Ended::Done)
}
