//! `GET /internal/screen`

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::reply::{Refusal, Schemas};
use super::{SingleAgent, stream as event_stream};
use crate::http::event_text;

#[derive(Serialize)]
struct ScreenUpdateBody<'a> {
    screen: &'a str,
}

/// The agent's terminal screen, whole, whenever it changes.
pub(super) async fn get_screen(State(app): State<SingleAgent>, schemas: Schemas) -> Response {
    let subscription = match app.agent.subscribe_screen().await {
        Ok(subscription) => subscription,
        Err(error) => return schemas.refuse(Refusal::failed(error.to_string())),
    };
    let first = subscription.screen.clone();
    let changes =
        stream::unfold(
            subscription,
            |mut subscription| async move { subscription.next().await.map(|screen| (screen, subscription)) },
        );
    let events = stream::iter([first]).chain(changes).map(|screen| {
        let body = ScreenUpdateBody { screen: event_text::screen(&screen) };
        Event::default().event("screen").json_data(body).expect("plain values always serialise")
    });
    event_stream::serve(&app, events)
}
