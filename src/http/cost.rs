//! What requests cost of their limits: this table, and 1 for all else.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;

/// Requests that cost more than others.
const COSTS: [(Method, &str, u64); 3] = [
    // Each makes a workspace, and starts a program that may run for hours.
    (Method::POST, "/v1/agents", 5),
    (Method::POST, "/v1/agents/{id}/restart", 5),
    // Up to 10 MiB to read and to write.
    (Method::POST, "/v1/agents/{id}/upload", 2),
];

/// What a request costs. A limit below it is used up as a whole.
pub(super) fn of(request: &Request) -> u64 {
    let Some(route) = request.extensions().get::<MatchedPath>() else { return 1 };
    let dear = COSTS.iter().find(|(method, path, _)| method == request.method() && *path == route.as_str());
    dear.map_or(1, |(_, _, cost)| *cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_table_exists() {
        let document = serde_json::to_value(crate::http::openapi_document()).expect("JSON");
        for (method, path, _) in &COSTS {
            let operation = &document["paths"][path][method.as_str().to_lowercase()];
            assert!(operation.is_object(), "{method} {path}");
        }
    }
}
