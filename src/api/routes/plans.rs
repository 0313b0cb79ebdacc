//! `/api/v1/plans`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::api::extract::Body;
use crate::api::table::Row;
use crate::api::{Api, Problem};
use crate::app::{Access, MakePlan, PlanView, Principal};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::post("/api/v1/plans", Access::Operate, "Make and keep a plan; nothing is touched", make)
            .takes::<MakePlan>()
            .answers::<PlanView>(),
        Row::get("/api/v1/plans/{digest}", Access::Read, "A plan by its digest or the beginning of it", show)
            .answers::<PlanView>(),
    ]
}

async fn make(
    State(api): State<Arc<Api>>,
    by: Principal,
    Body(wanted): Body<MakePlan>,
) -> Result<(StatusCode, Json<PlanView>), Problem> {
    Ok((StatusCode::CREATED, Json(api.app.make_plan(&by, wanted).await?)))
}

async fn show(State(api): State<Arc<Api>>, Path(digest): Path<String>) -> Result<Json<PlanView>, Problem> {
    Ok(Json(api.app.plan(&digest).await?))
}
