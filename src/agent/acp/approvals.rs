//! What an agent asks leave for, until it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_client_protocol::v1::Responder;
use agent_client_protocol::v1::schema::{
    PermissionOption, PermissionOptionKind, RequestPermissionOutcome, RequestPermissionRequest, RequestPermissionResponse,
    SelectedPermissionOutcome,
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::bounded;
use super::timeline::Timeline;
use crate::domain::{AgentId, ApprovalId, ApprovalOption, ApprovalState, NewApproval, TenantScope, TimelineKind, UserId};
use crate::postgres::Database;

/// Requests of one agent that may wait for answers at once; more are denied.
const MAX_PENDING: usize = 16;
/// Answers that one request may offer.
const MAX_OPTIONS: usize = 16;
/// Longest id and name of an answer, in bytes.
const MAX_OPTION: usize = 512;
/// Kinds of answers that grant, and that deny; the one that binds for less first.
const GRANTS: [&str; 2] = ["allow_once", "allow_always"];
const DENIALS: [&str; 2] = ["reject_once", "reject_always"];
/// How long Postgres may take to say whether a request was answered in its last moment.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// What becomes of an agent's requests for leave.
#[derive(Debug, Clone)]
pub enum Leave {
    /// They are written with the agent's timeline, and wait for a user's answer.
    Ask {
        /// Where it is looked up whether one whose time is over was answered in its last moment.
        database: Database,
        /// Whose agent it is.
        scope: TenantScope,
        /// How long they wait.
        patience: Duration,
    },
    /// They are granted at once.
    Allow,
    /// They are denied at once.
    Deny,
}

/// One whose time is over, with the answer if it got one in its last moment.
pub(super) type Overdue = (ApprovalId, Option<String>);

/// See the module.
pub(super) struct Approvals {
    agent: AgentId,
    leave: Leave,
    tasks: TaskTracker,
    overdue: mpsc::Sender<Overdue>,
    pending: BTreeMap<ApprovalId, Pending>,
}

struct Pending {
    responder: Responder,
    options: Vec<ApprovalOption>,
    entry: i64,
    expires_at: Instant,
    /// Its time is over; whether it was answered before is being asked.
    is_overdue: bool,
}

impl Approvals {
    /// Of this agent. Those whose time is over come out of the receiver, to be given to [`Self::expire`].
    pub(super) fn new(agent: AgentId, leave: Leave, tasks: TaskTracker) -> (Self, mpsc::Receiver<Overdue>) {
        let (overdue, overdues) = mpsc::channel(MAX_PENDING);
        (Self { agent, leave, tasks, overdue, pending: BTreeMap::new() }, overdues)
    }

    /// The agent asks leave for something.
    pub(super) fn ask(&mut self, request: &RequestPermissionRequest, responder: Responder, timeline: &mut Timeline) {
        let tool_call = bounded::json(&request.tool_call);
        let options: Vec<ApprovalOption> =
            request.options.iter().filter(|option| is_nameable(option)).take(MAX_OPTIONS).map(option).collect();
        let said = json!({"tool_call": tool_call, "options": options});
        let has_room = self.pending.len() < MAX_PENDING && !timeline.is_full() && !options.is_empty();
        let patience = match &self.leave {
            Leave::Allow => return answer_at_once("allowed", pick(&options, GRANTS), &said, responder, timeline),
            Leave::Ask { patience, .. } if has_room => *patience,
            Leave::Ask { .. } | Leave::Deny => {
                return answer_at_once("denied", pick(&options, DENIALS), &said, responder, timeline);
            }
        };
        let now = Utc::now();
        let expires_at = now + TimeDelta::from_std(patience).unwrap_or(TimeDelta::MAX);
        let id = ApprovalId::new();
        let approval = NewApproval { id, tool_call, options: options.clone(), created_at: now, expires_at };
        let approval = Arc::new(approval);
        let Some(entry) = timeline.add_approval(Arc::clone(&approval), &said) else { return respond(responder, None) };
        timeline.merge(entry, json!({"approval_id": id, "state": "pending", "expires_at": approval.expires_at}));
        timeline.store();
        let expires_at = Instant::now() + patience;
        self.pending.insert(id, Pending { responder, options, entry, expires_at, is_overdue: false });
    }

    /// The agent asks in a turn that is cancelled: nothing comes of it.
    pub(super) fn refuse(responder: Responder) {
        respond(responder, None);
    }

    /// A user answered, and that is written. Returns whether the agent still waited for it.
    pub(super) fn answer(&mut self, id: ApprovalId, option: &str, user: UserId, timeline: &mut Timeline) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        let change = json!({"state": ApprovalState::Answered, "option": option, "answered_by": user});
        timeline.settle_approval(pending.entry, ApprovalState::Answered, change);
        respond(pending.responder, Some(option.to_owned()));
        true
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.values().filter(|pending| !pending.is_overdue).map(|pending| pending.expires_at).min()
    }

    /// Asks of those whose time is over whether they were answered in their last moment.
    pub(super) fn tick(&mut self) {
        // Only those that ask wait.
        let Leave::Ask { database, scope, .. } = &self.leave else { return };
        let now = Instant::now();
        for (&id, pending) in self.pending.iter_mut().filter(|(_, pending)| !pending.is_overdue && pending.expires_at <= now) {
            pending.is_overdue = true;
            let (database, scope, agent, overdue) = (database.clone(), *scope, self.agent, self.overdue.clone());
            self.tasks.spawn(async move {
                let approvals = database.approvals(scope);
                let settled = timeout(LAST_MOMENT, approvals.settle(agent, id, ApprovalState::Expired)).await;
                let answer = settled.ok().and_then(|settled| {
                    settled
                        .inspect_err(|error| tracing::warn!(%error, "whether a request was answered is not known: it is denied"))
                        .ok()
                });
                let _agent_ended = overdue.send((id, answer.flatten())).await;
            });
        }
    }

    /// One whose time is over is denied, unless it was answered in its last moment.
    pub(super) fn expire(&mut self, (id, answer): Overdue, timeline: &mut Timeline) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let (state, option) = match answer {
            Some(option) => (ApprovalState::Answered, Some(option)),
            None => (ApprovalState::Expired, pick(&pending.options, DENIALS)),
        };
        timeline.settle_approval(pending.entry, state, json!({"state": state, "option": option}));
        respond(pending.responder, option);
    }

    /// The turn is cancelled, or the agent ends: nothing waits any more.
    pub(super) fn settle_all(&mut self, state: ApprovalState, timeline: &mut Timeline) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            timeline.settle_approval(pending.entry, state, json!({ "state": state }));
            respond(pending.responder, None);
        }
    }
}

/// Answers a request without waiting for anybody.
fn answer_at_once(state: &str, option: Option<String>, said: &Value, responder: Responder, timeline: &mut Timeline) {
    if let Some(entry) = timeline.add(TimelineKind::Approval, said) {
        timeline.merge(entry, json!({"state": state, "option": option}));
        timeline.close_entry(entry);
    }
    respond(responder, option);
}

/// Whether an answer has an id that can be kept, and so be chosen.
fn is_nameable(option: &PermissionOption) -> bool {
    let id = &*option.option_id.0;
    (1..=MAX_OPTION).contains(&id.len()) && !id.contains('\0')
}

fn option(option: &PermissionOption) -> ApprovalOption {
    let kind = match option.kind {
        PermissionOptionKind::AllowOnce => "allow_once",
        PermissionOptionKind::AllowAlways => "allow_always",
        PermissionOptionKind::RejectOnce => "reject_once",
        PermissionOptionKind::RejectAlways => "reject_always",
        // One of a later version of the protocol.
        _ => "other",
    };
    ApprovalOption {
        id: option.option_id.0.to_string(),
        name: bounded::short_label(&option.name, MAX_OPTION),
        kind: kind.to_owned(),
    }
}

/// The option of the first kind that there is one of.
fn pick(options: &[ApprovalOption], kinds: [&str; 2]) -> Option<String> {
    kinds.iter().find_map(|kind| options.iter().find(|option| option.kind == *kind)).map(|option| option.id.clone())
}

/// Answers the agent: with an option that it offers or, without one, that nothing comes of it.
fn respond(responder: Responder, option: Option<String>) {
    let outcome = option.map_or(RequestPermissionOutcome::Cancelled, |option| {
        RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option))
    });
    let answer: Value = serde_json::to_value(RequestPermissionResponse::new(outcome)).unwrap_or_default();
    let _connection_closed = responder.respond(answer);
}
