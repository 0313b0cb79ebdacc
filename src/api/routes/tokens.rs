//! `/api/v1/tokens`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::api::extract::{Body, Paging, Params};
use crate::api::table::{PAGING, Row};
use crate::api::{Api, Problem};
use crate::app::{Access, CreateToken, CreatedToken, Page, Principal, TokenView};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/tokens", Access::Administer, "List the tokens", list)
            .query(PAGING)
            .answers::<Page<TokenView>>(),
        Row::post("/api/v1/tokens", Access::Administer, "Make a token; its secret is shown once", create)
            .takes::<CreateToken>()
            .answers::<CreatedToken>()
            .secret(),
        Row::delete("/api/v1/tokens/{token}", Access::Administer, "Revoke a token by name or id", revoke),
    ]
}

/// Everything in one page: tokens are few.
async fn list(State(api): State<Arc<Api>>, Params(_): Params<Paging>) -> Result<Json<Page<TokenView>>, Problem> {
    Ok(Json(Page { items: api.app.tokens().await?, next: None }))
}

async fn create(
    State(api): State<Arc<Api>>,
    by: Principal,
    Body(wanted): Body<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    Ok((StatusCode::CREATED, Json(api.app.create_token(&by, wanted).await?)))
}

async fn revoke(State(api): State<Arc<Api>>, by: Principal, Path(token): Path<String>) -> Result<StatusCode, Problem> {
    api.app.revoke_token(&by, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
