//! `fleetlift migrate`: brings the database to this version's layout, under a lock.

use clap::Args;

use super::{Context, Ended, connect, hub};
use crate::settings::{self, Sources};
use crate::store;

/// Brings the database to this version's layout; SQLite does it by itself at start.
#[derive(Debug, Args)]
pub struct Migrate {
    /// sqlite:FILE or postgres://…; as set without
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Migrate {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let data_dir = connect::data_dir(context)?;
        let settings = settings::load(&Sources {
            file: context.global.config.clone(),
            data_dir: data_dir.clone(),
            environment: context.environment.clone(),
            flags: self.database.into_iter().map(|url| ("database.url", url)).collect(),
        })?;
        let before = store::migrate(&hub::database_url(&settings, &data_dir), hub::store_options(&settings)).await?;
        let now = store::LAYOUT;
        context.output.one(&serde_json::json!({"before": before, "now": now}), |_| {
            if before == now {
                format!("the layout is {now} already")
            } else {
                format!("the layout was {before} and is {now}")
            }
        })?;
        Ok(Ended::Done)
    }
}
