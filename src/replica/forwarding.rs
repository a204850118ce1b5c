//! Writing and reading grants: which server signs, and whether a signature is of a server of this deployment.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::Replicas;
use super::grant::{ForwardedCredential, ForwardingGrant, GrantRefused, UnverifiedGrant};
use crate::domain::{PublicKey, ReplicaId, TenantId};

/// Shortest time between two look-ups of servers for the sake of a grant: anybody can send grants of servers that there are not.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

impl Replicas {
    /// Whether there may be other servers: without a shared Redis this one is alone, and no grant can be valid.
    #[must_use]
    pub fn can_have_peers(&self) -> bool {
        self.parts().redis.is_some()
    }

    /// Writes the grant of a request to the server `to`.
    #[must_use]
    pub fn grant(
        &self,
        to: ReplicaId,
        (tenant, credential): (TenantId, ForwardedCredential),
        request_id: Uuid,
        (method, path): (&str, &str),
        now: DateTime<Utc>,
    ) -> String {
        let grant = ForwardingGrant { from: self.id(), to, request_id, tenant, credential };
        grant.write(&self.parts().signing_key, method, path, now)
    }

    /// Reads the grant of a request to this server. Asks Postgres only about a server that is not known, or has another key than it
    /// had: it may have joined, or been restarted, since the last heartbeat.
    ///
    /// # Errors
    /// [`GrantRefused`].
    pub async fn read_grant(
        &self,
        text: &str,
        (method, path): (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<ForwardingGrant, GrantRefused> {
        let grant = UnverifiedGrant::read(text)?;
        let is_signed = |key: PublicKey| grant.is_signed_by(&key, method, path);
        if !self.public_key(grant.from()).is_some_and(is_signed) {
            self.look_up_servers().await?;
            let key = self.public_key(grant.from()).ok_or(GrantRefused::UnknownServer)?;
            if !is_signed(key) {
                return Err(GrantRefused::Signature);
            }
        }
        grant.checked(self.id(), now)
    }

    /// Reads which servers there are, unless that was done a moment ago.
    async fn look_up_servers(&self) -> Result<(), GrantRefused> {
        let mut last = self.last_look_up().lock().await;
        if last.is_some_and(|last: Instant| last.elapsed() < LOOK_UP_INTERVAL) {
            return Ok(());
        }
        let looked = self.look_for_servers().await;
        *last = Some(Instant::now());
        looked.map_err(|error| {
            tracing::debug!(%error, "the servers of this deployment cannot be read");
            GrantRefused::Unavailable
        })
    }
}
