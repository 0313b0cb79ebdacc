//! `/api/v1/clusters`.

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
    Access, ChangeCluster, CheckReport, ClusterView, ImportClusters, Imported, Page, PageRequest, Principal,
    RegisterCluster, ResourcesView, RotateCredential,
};

const LISTING: &[(&str, &str)] = &[PAGING[0], PAGING[1], ("selector", "only clusters with fitting labels")];

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/clusters", Access::Read, "List clusters by name", list)
            .query(LISTING)
            .answers::<Page<ClusterView>>(),
        Row::post("/api/v1/clusters", Access::Administer, "Register a cluster", register)
            .takes::<RegisterCluster>()
            .answers::<ClusterView>(),
        Row::post("/api/v1/clusters/import", Access::Administer, "Register many clusters", import)
            .takes::<ImportClusters>()
            .answers::<Vec<Imported>>(),
        Row::get("/api/v1/clusters/{cluster}", Access::Read, "Show a cluster", show).answers::<ClusterView>(),
        Row::patch("/api/v1/clusters/{cluster}", Access::Administer, "Change labels, zone, namespace, egress", change)
            .takes::<ChangeCluster>()
            .answers::<ClusterView>(),
        Row::delete("/api/v1/clusters/{cluster}", Access::Administer, "Remove a cluster and its credential", remove),
        Row::put("/api/v1/clusters/{cluster}/credential", Access::Administer, "Replace a credential", rotate)
            .takes::<RotateCredential>()
            .answers::<ClusterView>(),
        Row::post("/api/v1/clusters/{cluster}/check", Access::Operate, "Look at all that an upgrade needs", check)
            .answers::<CheckReport>(),
        Row::get("/api/v1/clusters/{cluster}/resources", Access::Read, "What a cluster runs", resources)
            .answers::<ResourcesView>(),
        Row::post("/api/v1/clusters/{cluster}/resources", Access::Operate, "Read now what a cluster runs", read)
            .answers::<ResourcesView>(),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    limit: Option<u32>,
    cursor: Option<String>,
    selector: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    Params(Listing { limit, cursor, selector }): Params<Listing>,
) -> Result<Json<Page<ClusterView>>, Problem> {
    let page = PageRequest::from(Paging { limit, cursor });
    Ok(Json(api.app.clusters(&page, selector.as_deref()).await?))
}

async fn register(
    State(api): State<Arc<Api>>,
    by: Principal,
    Body(wanted): Body<RegisterCluster>,
) -> Result<impl IntoResponse, Problem> {
    let cluster = api.app.register_cluster(&by, wanted).await?;
    Ok((StatusCode::CREATED, etag(cluster.version), Json(cluster)))
}

async fn import(
    State(api): State<Arc<Api>>,
    by: Principal,
    Body(wanted): Body<ImportClusters>,
) -> Result<Json<Vec<Imported>>, Problem> {
    Ok(Json(api.app.import_clusters(&by, wanted).await?))
}

async fn show(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let cluster = api.app.cluster(&name).await?;
    Ok((etag(cluster.version), Json(cluster)))
}

async fn change(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(name): Path<String>,
    IfMatch(read): IfMatch,
    Body(change): Body<ChangeCluster>,
) -> Result<impl IntoResponse, Problem> {
    let cluster = api.app.change_cluster(&by, &name, change, read).await?;
    Ok((etag(cluster.version), Json(cluster)))
}

async fn remove(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(name): Path<String>,
    IfMatch(read): IfMatch,
) -> Result<StatusCode, Problem> {
    api.app.remove_cluster(&by, &name, read).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(name): Path<String>,
    IfMatch(read): IfMatch,
    Body(wanted): Body<RotateCredential>,
) -> Result<impl IntoResponse, Problem> {
    let cluster = api.app.rotate_credential(&by, &name, wanted, read).await?;
    Ok((etag(cluster.version), Json(cluster)))
}

async fn check(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(name): Path<String>,
) -> Result<Json<CheckReport>, Problem> {
    Ok(Json(api.app.check_cluster(&by, &name).await?))
}

async fn resources(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<ResourcesView>, Problem> {
    Ok(Json(api.app.resources(&name).await?))
}

async fn read(
    State(api): State<Arc<Api>>,
    by: Principal,
    Path(name): Path<String>,
) -> Result<Json<ResourcesView>, Problem> {
    Ok(Json(api.app.read_resources(&by, &name).await?))
}
