//! `/openapi.json`, made from the route table.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Required, ResponseBuilder,
};

use super::problem;
use super::table::{Row, Shape};

/// The document that describes `rows`.
pub fn document(rows: &[Row]) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .schema_from::<problem::Problem>();
    for row in rows {
        for shape in [&row.takes, &row.answers].into_iter().flatten() {
            components = components.schemas_from_iter(shape.parts.clone());
        }
        paths.add_path_operation(row.path, vec![http_method(&row.method)], operation(row));
    }
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Fleetlift").version(env!("CARGO_PKG_VERSION")).build())
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

fn http_method(method: &axum::http::Method) -> HttpMethod {
    match method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(row: &Row) -> OperationBuilder {
    let noun = row.path.trim_start_matches("/api/v1/").split('/').next().unwrap_or_default();
    let mut operation = OperationBuilder::new()
        .tag(noun)
        .summary(Some(row.summary))
        .description(Some(format!("Needs: {:?}.", row.access)))
        .operation_id(Some(format!("{} {}", row.method, row.path)))
        .response("200", answer(row))
        .response(
            "default",
            ResponseBuilder::new().description("A problem (RFC 9457)").content(
                problem::MEDIA_TYPE,
                ContentBuilder::new().schema(Some(utoipa::openapi::Ref::from_schema_name("Problem"))).build(),
            ),
        );
    for name in row.path.split(['{', '}']).skip(1).step_by(2) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(parameter.schema(Some(text())).build());
    }
    for (name, meaning) in row.query {
        let parameter = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query);
        operation = operation.parameter(parameter.description(Some(*meaning)).schema(Some(text())).build());
    }
    if let Some(Shape { schema, .. }) = &row.takes {
        let content = ContentBuilder::new().schema(Some(schema.clone())).build();
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    operation
}

fn answer(row: &Row) -> utoipa::openapi::Response {
    let response = ResponseBuilder::new().description("Done");
    match &row.answers {
        Some(Shape { schema, .. }) => {
            let media_type = if row.streams { "text/event-stream" } else { "application/json" };
            response.content(media_type, ContentBuilder::new().schema(Some(schema.clone())).build()).build()
        }
        None => response.build(),
    }
}

fn text() -> utoipa::openapi::Object {
    utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).build()
}
