//! What agents asked leave for, and the answers to it.

use super::{AgentError, Supervisor};
use crate::domain::{AgentId, Approval, ApprovalId, ApprovalState, Principal};

impl Supervisor {
    /// At most `limit` requests of an agent, newest first, that are older than `after`; of one state if `state` says so.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn approvals(
        &self,
        principal: &Principal,
        agent: AgentId,
        state: Option<ApprovalState>,
        after: Option<ApprovalId>,
        limit: u16,
    ) -> Result<Vec<Approval>, AgentError> {
        self.get(principal, agent).await?;
        Ok(self.0.database.approvals(principal.scope).list(agent, state, after, limit).await?)
    }

    /// Answers what an agent asked leave for, with one of the options that it offered. The first answer wins.
    ///
    /// # Errors
    /// [`AgentError`]: also if it is settled.
    pub async fn answer_approval(
        &self,
        principal: &Principal,
        agent: AgentId,
        id: ApprovalId,
        option: String,
    ) -> Result<Approval, AgentError> {
        self.get(principal, agent).await?;
        let approval = self.approval(principal, agent, id).await?;
        if approval.state != ApprovalState::Pending {
            return Err(AgentError::ApprovalSettled(approval.state));
        }
        if !approval.asked.options.iter().any(|offered| offered.id == option) {
            return Err(AgentError::NotOffered);
        }
        let live = self.live(principal, agent).await?;
        if !self.0.database.approvals(principal.scope).answer(agent, id, &option, principal.user).await? {
            return Err(AgentError::ApprovalSettled(self.approval(principal, agent, id).await?.state));
        }
        // It is written; an agent that was cancelled at this moment does not wait for it any more.
        if !live.approve(id, option, principal.user).await? {
            return Err(AgentError::ApprovalSettled(ApprovalState::Cancelled));
        }
        self.approval(principal, agent, id).await
    }

    async fn approval(&self, principal: &Principal, agent: AgentId, id: ApprovalId) -> Result<Approval, AgentError> {
        self.0.database.approvals(principal.scope).get(agent, id).await?.ok_or(AgentError::NotFound)
    }
}
