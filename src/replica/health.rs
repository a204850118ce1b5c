//! Health checks of other servers.

use std::time::Duration;

use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::Replicas;
use super::address::Address;
use crate::domain::{ReplicaId, Service};
use crate::outbound::Body;
use crate::postgres::{DatabaseError, RegisteredReplica, Replica};

/// Longest time to the answer, which a healthy server has at once.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Replicas {
    /// Checks the health of a server whose lease is missing. If it does not answer, deregisters it, which marks its agents as lost.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn confirm(&self, suspect: &RegisteredReplica) -> Result<(), DatabaseError> {
        let answers = self.is_healthy(&suspect.replica).await;
        // It may have renewed its lease in the meantime, or have started again.
        if !self.lock().has_failed(suspect, answers) {
            return Ok(());
        }
        if let Some(agents) = self.parts().database.replicas().deregister(suspect).await? {
            tracing::warn!(replica.id = %suspect.replica.id, agents, "a server died: its agents are lost");
            self.forget(suspect.replica.id);
        }
        Ok(())
    }

    /// If the circuit of a server is not closed, checks its health, at most once a second, and closes the circuit if it answers.
    pub async fn check_open_circuit(&self, id: ReplicaId) {
        let (outbound, service) = (&self.parts().outbound, Service::Replica(id));
        if !outbound.is_circuit_open(service) {
            return;
        }
        let Some(registered) = self.lock().begin_check(id, Instant::now()) else { return };
        if self.is_healthy(&registered.replica).await {
            outbound.close_circuit(service);
        }
    }

    /// Whether the server answers at its URL. Another server at that URL has another id, and answers 404. A row that is not authentic names
    /// no URL that could be asked.
    async fn is_healthy(&self, replica: &Replica) -> bool {
        let id = replica.id;
        let Some(Address { url, .. }) = Address::of_row(&self.parts().keys, replica) else { return false };
        let Ok(request) = Request::get(format!("{url}/livez?replica={id}")).body(Body::empty()) else {
            tracing::warn!(replica.id = %id, "the health of a server cannot be checked: its URL is invalid");
            return false;
        };
        match self.parts().outbound.check_health(id, request, TIMEOUT).await {
            Ok(answer) => answer.status() == StatusCode::OK,
            Err(error) => {
                tracing::debug!(replica.id = %id, %error, "a server does not answer a health check");
                false
            }
        }
    }
}
