//! Saying something to an agent: at once, or when it is idle; and once, however often it is asked for.

use std::sync::Arc;

use super::inbox::{Inbox, Turn};
use super::{AgentError, Supervisor};
use crate::agent::live::{self, LiveAgent};
use crate::domain::{AgentId, Asked, Principal, QueuedId, RequestKey};
use crate::postgres::{Cancelled, Queued, QueuedMessage};

/// Messages that may wait for one agent.
const MAX_QUEUED: u64 = 100;

/// A message that waits, or has had its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its entry in the queue.
    pub id: QueuedId,
    /// How many are before it.
    pub position: u64,
}

/// What came of an earlier request with the same key.
enum Before {
    Nothing,
    Said(Option<QueuedId>),
    Queued(Waiting),
}

impl Supervisor {
    /// Gives an idle agent a user message. A `request` that was answered already is answered alike, and not done again.
    ///
    /// # Errors
    /// [`AgentError`]; the message is not in the conversation then.
    pub async fn say(
        &self,
        principal: &Principal,
        id: AgentId,
        text: &str,
        request: Option<RequestKey>,
    ) -> Result<(), AgentError> {
        let (live, inbox) = self.inbox(principal, id).await?;
        let Some(request) = request else { return Ok(live.send_user(text).await?) };
        let _turn = turn(&inbox, &request)?;
        if let Before::Said(_) | Before::Queued(_) = self.before(principal, id, &request).await? {
            return Ok(());
        }
        let asked = Asked { request: Some(request), queued: None };
        give(&live, &inbox, text, &asked).await
    }

    /// Has a user message wait until the agent is idle and those before it are said.
    ///
    /// # Errors
    /// [`AgentError`]; the message does not wait then.
    pub async fn enqueue(
        &self,
        principal: &Principal,
        id: AgentId,
        text: &str,
        request: Option<RequestKey>,
    ) -> Result<Waiting, AgentError> {
        let (_, inbox) = self.inbox(principal, id).await?;
        let text = live::user_message(text)?;
        let _turn = request.as_ref().map(|request| turn(&inbox, request)).transpose()?;
        if let Some(request) = &request {
            match self.before(principal, id, request).await? {
                Before::Nothing => {}
                Before::Queued(waiting) => return Ok(waiting),
                Before::Said(Some(id)) => return Ok(Waiting { id, position: 0 }),
                Before::Said(None) => return Err(AgentError::KeyReused),
            }
        }
        let queue = self.0.database.queued_messages(principal.scope);
        match queue.push(id, text, request.as_ref(), principal.user, MAX_QUEUED).await? {
            Queued::Accepted(id, position) => {
                inbox.queued.notify_one();
                Ok(Waiting { id, position })
            }
            Queued::Full => Err(AgentError::QueueFull),
        }
    }

    /// What waits for an agent, and what it did not take, in order.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn queue(&self, principal: &Principal, id: AgentId) -> Result<Vec<QueuedMessage>, AgentError> {
        self.get(principal, id).await?;
        Ok(self.0.database.queued_messages(principal.scope).list(id).await?)
    }

    /// Takes a message out of the queue.
    ///
    /// # Errors
    /// [`AgentError`]: also if the agent is being given it.
    pub async fn cancel(&self, principal: &Principal, id: AgentId, queued: QueuedId) -> Result<(), AgentError> {
        match self.0.database.queued_messages(principal.scope).cancel(id, queued).await? {
            Cancelled::Done => Ok(()),
            Cancelled::TooLate => Err(AgentError::BeingDelivered),
            Cancelled::NotFound => Err(AgentError::NotFound),
        }
    }

    /// A live agent and what is asked of it.
    async fn inbox(&self, principal: &Principal, id: AgentId) -> Result<(LiveAgent, Arc<Inbox>), AgentError> {
        let live = self.live(principal, id).await?;
        let inbox = self.lock().get(&id).map(|place| Arc::clone(&place.inbox)).ok_or(AgentError::NotRunning)?;
        Ok((live, inbox))
    }

    /// What came of an earlier request with this key.
    async fn before(&self, principal: &Principal, id: AgentId, request: &RequestKey) -> Result<Before, AgentError> {
        let database = &self.0.database;
        let reused = |digest: [u8; 32]| if digest == request.digest { Ok(()) } else { Err(AgentError::KeyReused) };
        // In this order: an entry of the queue becomes a message, in one transaction.
        let waiting = database.queued_messages(principal.scope).list(id).await?;
        let has_key = |message: &QueuedMessage| message.request.as_ref().is_some_and(|other| other.key == request.key);
        if let Some(place) = waiting.iter().position(has_key) {
            reused(waiting[place].request.as_ref().map_or(request.digest, |other| other.digest))?;
            return Ok(Before::Queued(Waiting { id: waiting[place].id, position: place as u64 }));
        }
        match database.messages(principal.scope).asked_with(id, &request.key).await? {
            Some((digest, queued)) => reused(digest).map(|()| Before::Said(queued)),
            None => Ok(Before::Nothing),
        }
    }
}

fn turn(inbox: &Arc<Inbox>, request: &RequestKey) -> Result<Turn, AgentError> {
    inbox.turn(&request.key).ok_or(AgentError::KeyInUse)
}

/// Gives an agent a message that is to be stored with how it was asked for.
pub(super) async fn give(live: &LiveAgent, inbox: &Inbox, text: &str, asked: &Asked) -> Result<(), AgentError> {
    let text = live::user_message(text)?;
    inbox.expect(text, asked);
    let given = live.send_user(text).await;
    if given.is_err() {
        inbox.give_up(asked);
    }
    Ok(given?)
}
