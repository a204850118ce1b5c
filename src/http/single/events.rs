//! `GET /events`

use std::borrow::Cow;
use std::collections::VecDeque;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use serde::Serialize;

use super::{SingleAgent, Warning, stream as event_stream, time};
use crate::agent::{AgentEvent, Subscription, Told};
use crate::domain::{AgentStatus, AgentType, EventId, Fence, MessageRole};
use crate::http::event_text;

#[derive(Serialize)]
struct MessageUpdateBody<'a> {
    id: i64,
    role: MessageRole,
    message: Cow<'a, str>,
    time: String,
}

#[derive(Serialize)]
struct StatusChangeBody {
    status: AgentStatus,
    agent_type: AgentType,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    level: &'static str,
    time: String,
}

/// What happens, as it happens: first the conversation so far, the status, and what went wrong at the start; then each change.
///
/// Clients of the protocol take each connection for a beginning and forget what they had, so `Last-Event-ID`, which browsers send by
/// themselves, counts only for those that ask for it with `?resume=true`. They are no old clients, and are told long messages whole.
pub(super) async fn get_events(State(app): State<SingleAgent>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let resume =
        query.is_some_and(|query| form_urlencoded::parse(query.as_bytes()).any(|pair| pair == ("resume".into(), "true".into())));
    let seen = headers.get("last-event-id").filter(|_| resume).and_then(|id| id.to_str().ok()?.parse::<EventId>().ok());
    // An event of another life says nothing about this one.
    let next_life = Fence::from_i64(app.life.as_i64() + 1);
    let seen = seen.filter(|seen| (EventId::before(app.life)..EventId::before(next_life)).contains(seen));
    let watch = Watch {
        subscription: app.agent.subscribe(seen),
        warnings: app.warnings.clone().into(),
        told_status: seen.is_some(),
        whole: resume,
        agent_type: app.agent.agent_type(),
    };
    let events = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|event| (event, watch)) });
    event_stream::serve(&app, events)
}

/// One watcher.
struct Watch {
    subscription: Subscription,
    /// Not told yet; told after the first status.
    warnings: VecDeque<Warning>,
    told_status: bool,
    /// Is told messages of any length.
    whole: bool,
    agent_type: AgentType,
}

impl Watch {
    async fn next(&mut self) -> Option<Event> {
        if self.told_status
            && let Some(Warning { message, time }) = self.warnings.pop_front()
        {
            let body = ErrorBody { message: &message, level: "warning", time: time::shown(time) };
            return Some(event("agent_error", &body));
        }
        let Told { id, event: happened } = self.subscription.next().await?;
        let event = match happened {
            AgentEvent::MessageUpdate(message) => {
                let text = if self.whole { Cow::Borrowed(&*message.content) } else { event_text::message(&message.content) };
                let body =
                    MessageUpdateBody { id: message.id, role: message.role, message: text, time: time::shown(message.time) };
                event("message_update", &body)
            }
            AgentEvent::StatusChange(status) => {
                self.told_status = true;
                event("status_change", &StatusChangeBody { status, agent_type: self.agent_type })
            }
        };
        Some(event.id(id.to_string()))
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("plain values always serialise")
}
