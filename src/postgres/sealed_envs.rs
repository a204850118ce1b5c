//! The agents' sealed environments, for changing the key that seals them.

use uuid::Uuid;

use super::{Agents, DatabaseError};
use crate::domain::{AgentId, KeyId};

/// An agent's environment as it is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEnv {
    /// The agent.
    pub agent: AgentId,
    /// Its sealed environment.
    pub sealed: Vec<u8>,
}

impl Agents<'_> {
    /// How many environments another key than `key` sealed.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn count_sealed_by_others(&self, key: KeyId) -> Result<u64, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM agents WHERE tenant_id = $1 AND substring(sealed_env FROM 1 FOR 4) <> $2")
                .bind(self.scope.tenant().as_uuid())
                .bind(key.as_bytes().as_slice())
                .fetch_one(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// At most `limit` environments that another key than `key` sealed, of agents after `after`, in their order.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn sealed_by_others(
        &self,
        key: KeyId,
        after: Option<AgentId>,
        limit: u16,
    ) -> Result<Vec<SealedEnv>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
            "SELECT id, sealed_env FROM agents
             WHERE tenant_id = $1 AND substring(sealed_env FROM 1 FOR 4) <> $2 AND ($3::uuid IS NULL OR id > $3)
             ORDER BY id LIMIT $4",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(key.as_bytes().as_slice())
        .bind(after.map(|id| id.as_uuid()))
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(rows.into_iter().map(|(id, sealed)| SealedEnv { agent: AgentId::from_uuid(id), sealed }).collect())
    }

    /// Replaces environments, each only where it still is what was read: all in one transaction. Returns how many.
    ///
    /// # Errors
    /// If Postgres fails; none is replaced then.
    pub async fn replace_sealed(&self, replacements: &[(SealedEnv, Vec<u8>)]) -> Result<u64, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let mut replaced = 0;
        for (was, sealed) in replacements {
            replaced += sqlx::query("UPDATE agents SET sealed_env = $4 WHERE tenant_id = $1 AND id = $2 AND sealed_env = $3")
                .bind(self.scope.tenant().as_uuid())
                .bind(was.agent.as_uuid())
                .bind(&was.sealed)
                .bind(sealed)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        }
        transaction.commit().await?;
        Ok(replaced)
    }
}
