//! `/api/v1/rollouts`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use crate::api::extract::{Body, IfMatch, Paging, Params, etag};
use crate::api::table::{PAGING, Row};
use crate::api::{Api, Problem};
use crate::app::{
    Abort, Access, Approve, Explanation, Page, PageRequest, Principal, Remark, RolloutView, StartRollout, TargetView,
};

const STATE: &[(&str, &str)] = &[PAGING[0], PAGING[1], ("state", "only targets in this state")];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::get("/api/v1/rollouts", Access::Read, "List rollouts, newest first", list)
            .query(PAGING)
            .answers::<Page<RolloutView>>(),
        Row::post("/api/v1/rollouts", Access::Operate, "Start a rollout of a plan", start)
            .takes::<StartRollout>()
            .answers::<RolloutView>(),
        Row::get("/api/v1/rollouts/{rollout}", Access::Read, "Where a rollout stands", show).answers::<RolloutView>(),
        Row::get("/api/v1/rollouts/{rollout}/targets", Access::Read, "Its clusters, by wave", targets)
            .query(STATE)
            .answers::<Page<TargetView>>(),
        Row::get(
            "/api/v1/rollouts/{rollout}/clusters/{cluster}/explanation",
            Access::Read,
            "Why a cluster waits, runs, or failed",
            explain,
        )
        .answers::<Explanation>(),
    ];
    rows.extend(steering());
    rows
}

fn steering() -> Vec<Row> {
    vec![
        Row::post("/api/v1/rollouts/{rollout}/approve", Access::Operate, "Approve a wave", approve)
            .takes::<Approve>()
            .answers::<RolloutView>(),
        Row::post("/api/v1/rollouts/{rollout}/pause", Access::Operate, "Start nothing new", pause)
            .takes::<Remark>()
            .answers::<RolloutView>(),
        Row::post("/api/v1/rollouts/{rollout}/resume", Access::Operate, "Go on, accepting the failures so far", resume)
            .takes::<Remark>()
            .answers::<RolloutView>(),
        Row::post("/api/v1/rollouts/{rollout}/abort", Access::Operate, "End it early", abort)
            .takes::<Abort>()
            .answers::<RolloutView>(),
        Row::post("/api/v1/rollouts/{rollout}/retry", Access::Operate, "Try all failed clusters again", retry)
            .takes::<Remark>()
            .answers::<RolloutView>(),
        Row::post(
            "/api/v1/rollouts/{rollout}/clusters/{cluster}/retry",
            Access::Operate,
            "Try a failed cluster again",
            retry_one,
        )
        .takes::<Remark>()
        .answers::<RolloutView>(),
        Row::post("/api/v1/rollouts/{rollout}/clusters/{cluster}/skip", Access::Operate, "Leave a cluster out", skip)
            .takes::<Remark>()
            .answers::<RolloutView>(),
    ]
}

async fn list(State(api): State<Arc<Api>>, Params(paging): Params<Paging>) -> Result<Json<Page<RolloutView>>, Problem> {
    Ok(Json(api.app.rollouts(&PageRequest::from(paging)).await?))
}

async fn start(
    State(api): State<Arc<Api>>,
    by: Principal,
    Body(wanted): Body<StartRollout>,
) -> Result<impl IntoResponse, Problem> {
    let rollout = api.app.start_rollout(&by, wanted).await?;
    Ok((StatusCode::CREATED, etag(rollout.version), Json(rollout)))
}

async fn show(State(api): State<Arc<Api>>, Path(rollout): Path<String>) -> Result<impl IntoResponse, Problem> {
    let rollout = api.app.rollout(&rollout).await?;
    Ok((etag(rollout.version), Json(rollout)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InState {
    limit: Option<u32>,
    cursor: Option<String>,
    state: Option<String>,
}

async fn targets(
    State(api): State<Arc<Api>>,
    Path(rollout): Path<String>,
    Params(InState { limit, cursor, state }): Params<InState>,
) -> Result<Json<Page<TargetView>>, Problem> {
    let page = PageRequest::from(Paging { limit, cursor });
    Ok(Json(api.app.targets(&rollout, state.as_deref(), &page).await?))
}

async fn explain(
    State(api): State<Arc<Api>>,
    Path((rollout, cluster)): Path<(String, String)>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(api.app.explain(&rollout, &cluster).await?))
}

async fn approve(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(rollout): Path<String>,
    IfMatch(read): IfMatch,
    Body(wanted): Body<Approve>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.approve(&by, &rollout, wanted, read).await?))
}

async fn pause(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(rollout): Path<String>,
    IfMatch(read): IfMatch,
    Body(why): Body<Remark>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.pause(&by, &rollout, why, read).await?))
}

async fn resume(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(rollout): Path<String>,
    IfMatch(read): IfMatch,
    Body(why): Body<Remark>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.resume(&by, &rollout, why, read).await?))
}

async fn abort(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(rollout): Path<String>,
    IfMatch(read): IfMatch,
    Body(wanted): Body<Abort>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.abort(&by, &rollout, wanted, read).await?))
}

async fn retry(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(rollout): Path<String>,
    IfMatch(read): IfMatch,
    Body(why): Body<Remark>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.retry(&by, &rollout, None, why, read).await?))
}

async fn retry_one(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path((rollout, cluster)): Path<(String, String)>,
    IfMatch(read): IfMatch,
    Body(why): Body<Remark>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.retry(&by, &rollout, Some(&cluster), why, read).await?))
}

async fn skip(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path((rollout, cluster)): Path<(String, String)>,
    IfMatch(read): IfMatch,
    Body(why): Body<Remark>,
) -> Result<Json<RolloutView>, Problem> {
    Ok(Json(api.app.skip(&by, &rollout, &cluster, why, read).await?))
}
