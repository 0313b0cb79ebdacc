//! `/api/v1/rollouts/{rollout}/results`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use crate::api::extract::{Paging, Params};
use crate::api::table::{PAGING, Row};
use crate::api::{Api, Problem};
use crate::app::{Access, Page, PageRequest, ResultView};

const ASKED: &[(&str, &str)] = &[
    PAGING[0],
    PAGING[1],
    ("cluster", "only of this cluster"),
    ("evidence", "true: with everything that was seen last"),
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get(
            "/api/v1/rollouts/{rollout}/results",
            Access::Read,
            "What came of each task, in the plan's order",
            list,
        )
        .query(ASKED)
        .answers::<Page<ResultView>>(),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<u32>,
    cursor: Option<String>,
    cluster: Option<String>,
    #[serde(default)]
    evidence: bool,
}

async fn list(
    State(api): State<Arc<Api>>,
    Path(rollout): Path<String>,
    Params(Asked { limit, cursor, cluster, evidence }): Params<Asked>,
) -> Result<Json<Page<ResultView>>, Problem> {
    let page = PageRequest::from(Paging { limit, cursor });
    Ok(Json(api.app.results(&rollout, cluster.as_deref(), &page, evidence).await?))
}
