//! Where circuits are kept that servers share.

use async_trait::async_trait;

use super::{Event, Policy, Snapshot};
use crate::domain::{Service, StoreUnavailable};

/// What a store says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether somebody who asked to probe may call.
    pub admitted: bool,
    /// The circuit afterwards.
    pub circuit: Snapshot,
}

/// Keeps circuits by service, and changes each atomically, as [`super::Circuit::apply`] does.
#[async_trait]
pub trait CircuitStore: Send + Sync + 'static {
    /// Lets something happen to a circuit, told by somebody who last saw generation `seen` of it.
    async fn apply(&self, service: Service, seen: u64, event: Event, policy: &Policy) -> Result<Answer, StoreUnavailable>;

    /// Looks at several circuits; nothing for those that nothing is known of.
    async fn peek(&self, services: &[Service], policy: &Policy) -> Result<Vec<Option<Snapshot>>, StoreUnavailable>;

    /// Services whose circuit is not closed, in the order of their texts, after `after`, at most `limit`.
    async fn not_closed(&self, after: Option<Service>, limit: usize) -> Result<Vec<Service>, StoreUnavailable>;
}
