//! The API document, its schemas, and a page for it.
//!
//! What it describes is fixed by coder/agentapi, for generated clients: so it is written down (in OpenAPI 3.0.3), not derived, and a
//! test holds the server's answers to it.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{SingleAgent, only};
use crate::http::api_page;

/// The document in OpenAPI 3.0.3.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(include_str!("openapi-3.0.json")).expect("the file is JSON");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document
});
/// The same in OpenAPI 3.1.0.
static DOCUMENT_3_1: LazyLock<Value> = LazyLock::new(|| {
    let mut document = DOCUMENT.clone();
    document["openapi"] = "3.1.0".into();
    modernise(&mut document);
    document
});

/// The document as `--print-openapi` prints it: OpenAPI 3.0.3, its keys sorted.
#[must_use]
pub fn document() -> String {
    format!("{:#}", *DOCUMENT)
}

/// Routes of the document, its schemas and its page.
pub(super) fn routes() -> Router<SingleAgent> {
    let document = |document: &'static LazyLock<Value>, media_type: &'static str| {
        only(Method::GET, async move || ([(header::CONTENT_TYPE, media_type)], format!("{:#}\n", **document)))
    };
    // JSON is YAML as well (YAML 1.2, section 1.2).
    let (json, yaml) = ("application/vnd.oai.openapi+json", "application/vnd.oai.openapi+yaml");
    Router::new()
        .route("/openapi.json", document(&DOCUMENT_3_1, json))
        .route("/openapi.yaml", document(&DOCUMENT_3_1, yaml))
        .route("/openapi-3.0.json", document(&DOCUMENT, json))
        .route("/openapi-3.0.yaml", document(&DOCUMENT, yaml))
        .route("/schemas/{file}", only(Method::GET, schema))
        .merge(api_page::routes())
}

/// One schema by itself; `null` for a name that there is not.
async fn schema(Path(file): Path<String>) -> Response {
    let name = file.strip_suffix(".json").unwrap_or_default();
    let mut schema = DOCUMENT_3_1["components"]["schemas"].get(name).cloned().unwrap_or_default();
    refer_to_files(&mut schema);
    axum::Json(schema).into_response()
}

/// Spells what OpenAPI 3.1 spells otherwise: what may be null, and examples.
fn modernise(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(modernise),
        Value::Object(object) => {
            if object.remove("nullable") == Some(true.into())
                && let Some(kind) = object.get("type").cloned()
            {
                object.insert("type".to_owned(), json!([kind, "null"]));
            }
            // A schema's; a property may have this name too, and is an object then.
            if let Some(example) = object.get("example").filter(|example| !example.is_object()).cloned() {
                object.remove("example");
                object.insert("examples".to_owned(), json!([example]));
            }
            object.values_mut().for_each(modernise);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A schema that stands alone refers to others by where they are served.
fn refer_to_files(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(refer_to_files),
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = format!("{}.json", reference.replace("#/components/schemas/", "/schemas/"));
            }
            object.values_mut().for_each(refer_to_files);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
