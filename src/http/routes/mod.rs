//! The routes: one file an endpoint, with its request, its answer and its documentation.

mod agents;
mod api_keys;
mod auth;
mod circuits;
pub(super) mod health;

use std::collections::HashSet;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;

use super::problem::{Code, Problem};
use super::{App, gate, openapi};

/// Every route, with the gate that it needs.
pub(super) fn router(app: &App) -> Router {
    let documented = documented()
        .into_iter()
        .map(|(access, routes)| match access {
            Access::Unlimited => routes,
            Access::Open => routes.route_layer(from_fn_with_state(app.clone(), gate::open)),
            Access::SignedIn => routes.route_layer(from_fn_with_state(app.clone(), gate::signed_in)),
            Access::BySession => routes.route_layer(from_fn_with_state(app.clone(), gate::signed_in_by_session)),
            Access::AtOwner => routes.route_layer(from_fn_with_state(app.clone(), gate::signed_in_at_owner)),
        })
        .fold(OpenApiRouter::with_openapi(openapi::head()), OpenApiRouter::merge);
    let (routes, document) = documented.split_for_parts();
    let open_pages = openapi::pages(document).route_layer(from_fn_with_state(app.clone(), gate::open));
    // Else a flood of paths that do not exist would cost nobody anything but us.
    let unknown = not_found.layer(from_fn_with_state(app.clone(), gate::open));
    routes.merge(open_pages).fallback_service(unknown.with_state(app.clone())).with_state(app.clone())
}

/// Answers a request for a path that does not exist.
async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

/// Methods and paths of [`Access::AtOwner`].
pub(super) fn at_owner() -> HashSet<(Method, String)> {
    let groups = documented().into_iter().filter(|(access, _)| *access == Access::AtOwner);
    let paths = groups.flat_map(|(_, routes)| routes.into_openapi().paths.paths);
    let methods = |(path, item): (String, utoipa::openapi::PathItem)| {
        let operations =
            [(Method::GET, item.get.is_some()), (Method::POST, item.post.is_some()), (Method::DELETE, item.delete.is_some())];
        operations.into_iter().filter(|(_, exists)| *exists).map(move |(method, _)| (method, path.clone())).collect::<Vec<_>>()
    };
    paths.flat_map(methods).collect()
}

/// Who may use a group of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, as often as they like: what probes and scrapers ask.
    Unlimited,
    /// Everybody, by a limit an address.
    Open,
    /// Who shows a living session or an API key, by a limit a user.
    SignedIn,
    /// Who shows a living session, and no API key.
    BySession,
    /// As [`Access::SignedIn`], on the server where the agent lives.
    AtOwner,
}

/// Every documented route.
pub(super) fn documented() -> [(Access, OpenApiRouter<App>); 7] {
    [
        (Access::Unlimited, health::routes()),
        (Access::Open, auth::open_routes()),
        (Access::BySession, auth::routes()),
        (Access::BySession, api_keys::routes()),
        (Access::SignedIn, agents::routes()),
        (Access::AtOwner, agents::routes_at_owner()),
        (Access::SignedIn, circuits::routes()),
    ]
}
