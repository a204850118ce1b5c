//! `GET /v1/agents/{id}/internal/screen`

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::event_stream;
use crate::domain::{AgentId, Principal};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::shown::Shown;

/// Data of a `screen` event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScreenUpdate {
    /// The whole screen, its rows ended by newlines.
    #[schema(value_type = String)]
    screen: std::sync::Arc<str>,
}

/// The agent's terminal screen, whole, whenever it changes.
#[utoipa::path(get, path = "/v1/agents/{id}/internal/screen", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "Events `screen`", body = ScreenUpdate, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_screen(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(shown): Extension<Shown>,
    Path(id): Path<AgentId>,
) -> Result<Response, Problem> {
    let subscription = app.agents.live(&principal, id).await?.subscribe_screen().await?;
    let first = subscription.screen.clone();
    let changes =
        stream::unfold(
            subscription,
            |mut subscription| async move { subscription.next().await.map(|screen| (screen, subscription)) },
        );
    let events = stream::iter([first]).chain(changes).map(|screen| {
        Event::default().event("screen").json_data(ScreenUpdate { screen }).expect("plain values always serialise")
    });
    Ok(event_stream::serve(app, shown, events))
}
