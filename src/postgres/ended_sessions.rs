//! The table `ended_sessions`: which sessions were ended one by one within the longest life of a session.

use std::time::Duration;

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::announcements::announce;
use super::session_endings::note_sessions_ended;
use super::{Action, Announcement, AuditEntry, DatabaseError, Users, audit};
use crate::domain::{EndedSession, SessionId, UserId};

/// Sessions of one tenant that are read at most.
const MAX_READ: i64 = 1_000_000;

type Row = (Uuid, Uuid, f64);

impl Users<'_> {
    /// Writes that sessions of a user were ended, and tells every server. Entries older than `longest_life` are deleted: those sessions are
    /// past their absolute end.
    ///
    /// # Errors
    /// If Postgres fails; then nothing is written.
    pub async fn record_ended_sessions(
        &self,
        user: UserId,
        sessions: &[SessionId],
        longest_life: Duration,
    ) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        note_sessions_ended(&mut transaction, self.scope).await?;
        let ids: Vec<Uuid> = sessions.iter().map(|session| Uuid::from_bytes(*session.as_bytes())).collect();
        sqlx::query(
            "INSERT INTO ended_sessions (tenant_id, user_id, session_id) SELECT $1, $2, unnest($3)
             ON CONFLICT (tenant_id, session_id) DO NOTHING",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(user.as_uuid())
        .bind(ids)
        .execute(&mut *transaction)
        .await?;
        self.delete_past(&mut transaction, longest_life).await?;
        for session in sessions {
            let entry = AuditEntry::by(user, Action::SessionEnd, session.to_string());
            audit::insert(&mut transaction, self.scope, &entry).await?;
            announce(&mut transaction, Announcement::SessionEnded(self.scope.tenant(), *session)).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn delete_past(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        longest_life: Duration,
    ) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM ended_sessions WHERE tenant_id = $1 AND ended_at < now() - make_interval(secs => $2)")
            .bind(self.scope.tenant().as_uuid())
            .bind(longest_life.as_secs_f64())
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }

    /// Returns the entry of this session, if it was ended by itself.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn ended_session(&self, session: SessionId) -> Result<Option<EndedSession>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<Row> = sqlx::query_as(
            "SELECT session_id, user_id, extract(epoch FROM now() - ended_at)::float8 FROM ended_sessions
             WHERE tenant_id = $1 AND session_id = $2",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(Uuid::from_bytes(*session.as_bytes()))
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(row.map(|row| self.ended(row)))
    }

    /// Returns the sessions of the tenant that were ended one by one within this time, the last first.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn ended_sessions(&self, within: Duration) -> Result<Vec<EndedSession>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT session_id, user_id, extract(epoch FROM now() - ended_at)::float8 FROM ended_sessions
             WHERE tenant_id = $1 AND ended_at > now() - make_interval(secs => $2) ORDER BY ended_at DESC LIMIT $3",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(within.as_secs_f64())
        .bind(MAX_READ)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(rows.into_iter().map(|row| self.ended(row)).collect())
    }

    fn ended(&self, (session, user, age): Row) -> EndedSession {
        EndedSession {
            tenant: self.scope.tenant(),
            user: UserId::from_uuid(user),
            session: SessionId::from_bytes(session.into_bytes()),
            age: Duration::try_from_secs_f64(age).unwrap_or_default(),
        }
    }
}
