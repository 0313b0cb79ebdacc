//! `/api/v1/fleet`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;

use crate::api::extract::{Body, IfMatch, etag};
use crate::api::table::Row;
use crate::api::{Api, Problem};
use crate::app::{Access, Applied, FleetFiles, FleetView, Principal};
use crate::domain::Revision;

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/fleet", Access::Read, "The current fleet configuration", show).answers::<FleetView>(),
        Row::put("/api/v1/fleet", Access::Administer, "Make these files the fleet", apply)
            .takes::<FleetFiles>()
            .answers::<Applied>(),
        Row::post("/api/v1/fleet/diff", Access::Read, "What applying these files would change", diff)
            .takes::<FleetFiles>()
            .answers::<Applied>(),
    ]
}

async fn show(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Problem> {
    let fleet = api.app.show_fleet().await?;
    Ok((etag(&fleet.revision), Json(fleet)))
}

async fn apply(
    State(api): State<Arc<Api>>,
    by: Principal,
    IfMatch(read): IfMatch<Revision>,
    Body(files): Body<FleetFiles>,
) -> Result<impl IntoResponse, Problem> {
    let applied = api.app.apply_fleet(&by, files, read).await?;
    Ok((etag(&applied.revision), Json(applied)))
}

async fn diff(State(api): State<Arc<Api>>, Body(files): Body<FleetFiles>) -> Result<Json<Applied>, Problem> {
    Ok(Json(api.app.diff_fleet(files).await?))
}
