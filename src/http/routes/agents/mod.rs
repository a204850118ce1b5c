//! Agents: starting and stopping them, and the AgentAPI protocol under `/v1/agents/{id}`.

mod acp_problem;
mod agent_body;
mod answer_approval;
mod approvals;
mod create;
mod event_stream;
mod events;
mod get;
mod list;
mod message;
mod messages;
mod new_agent;
mod queue;
mod remote_problem;
mod restart;
mod screen;
mod status;
mod stop;
mod timeline;
mod upload;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agent::{AgentError, MAX_UPLOAD_BYTES, SendError};
use crate::http::App;
use crate::http::problem::{Code, Problem, RETRY_AFTER};

/// Room for the parts of a multipart body that are not the file.
const MULTIPART_OVERHEAD_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create::create_agent, list::list_agents))
        .routes(routes!(get::get_agent))
        .routes(routes!(approvals::list_agent_approvals))
}

/// Routes that are answered where the agent lives.
pub(super) fn routes_at_owner() -> OpenApiRouter<App> {
    let uploads = OpenApiRouter::new()
        .routes(routes!(upload::upload))
        .layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES + MULTIPART_OVERHEAD_BYTES));
    OpenApiRouter::new()
        .routes(routes!(stop::stop_agent))
        .routes(routes!(restart::restart_agent))
        .routes(routes!(status::get_agent_status))
        .routes(routes!(messages::get_agent_messages))
        .routes(routes!(message::post_agent_message))
        .routes(routes!(queue::get_agent_queue))
        .routes(routes!(queue::cancel_queued_message))
        .routes(routes!(events::get_agent_events))
        .routes(routes!(screen::get_agent_screen))
        .routes(routes!(timeline::get_agent_timeline))
        .routes(routes!(answer_approval::answer_agent_approval))
        .merge(uploads)
}

impl From<AgentError> for Problem {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::NotFound => Self::new(Code::NotFound),
            AgentError::NotRunning => Self::new(Code::AgentNotRunning),
            AgentError::Elsewhere => {
                Self::new(Code::ServiceUnavailable).with_detail("the agent runs on another server").with_retry_after(RETRY_AFTER)
            }
            AgentError::Replaced => Self::new(Code::ServiceUnavailable)
                .with_detail("this server is about to join the others again")
                .with_retry_after(RETRY_AFTER),
            AgentError::KeyReused => Self::new(Code::IdempotencyKeyReused),
            AgentError::KeyInUse => Self::new(Code::IdempotencyKeyInUse).with_retry_after(RETRY_AFTER),
            AgentError::QueueFull => Self::new(Code::QueueFull),
            AgentError::BeingDelivered => Self::new(Code::MessageBeingDelivered),
            AgentError::LimitReached => Self::new(Code::AgentLimitReached).with_retry_after(RETRY_AFTER),
            AgentError::Stopping => {
                Self::new(Code::ServiceUnavailable).with_detail("the server is stopping").with_retry_after(RETRY_AFTER)
            }
            AgentError::Program(error) => Self::field("body.command", error.to_string()),
            AgentError::Acp(error) => acp_problem::of_new_agent(&error),
            AgentError::ApprovalSettled(state) => {
                Self::new(Code::ApprovalSettled).with_detail(format!("it is {}", state.as_str()))
            }
            AgentError::NotOffered => Self::field("body.option", error.to_string()),
            AgentError::Attach(error) => remote_problem::of_new_agent(error),
            AgentError::Send(error) => error.into(),
            AgentError::Sealed => Self::internal("an agent's sealed secrets do not open: has TOKEN_ENCRYPTION_KEY changed?"),
            AgentError::Io(error) => Self::internal(error.to_string()),
            AgentError::Database(error) => error.into(),
        }
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Empty | SendError::TooLong | SendError::NoKeys => Self::field("body.content", error.to_string()),
            SendError::Busy => Self::new(Code::AgentBusy).with_detail(error.to_string()),
            SendError::Asks => Self::new(Code::AgentAsks).with_detail(error.to_string()),
            SendError::Unresponsive => Self::new(Code::AgentUnresponsive).with_detail(error.to_string()),
            SendError::Ended => Self::new(Code::AgentNotRunning),
            SendError::Remote(error) => error.into(),
        }
    }
}
