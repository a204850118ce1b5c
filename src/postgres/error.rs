//! What can go wrong between the server and Postgres.

/// A failed database call.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Postgres cannot be reached, or cannot serve now. Trying again later may help.
    #[error("Postgres is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// A row of this constraint is already there, or is missing.
    #[error("constraint {0} is violated")]
    Conflict(String),
    /// A stored value is not one that this version knows.
    #[error("{0} holds a value that this version does not know")]
    Corrupt(&'static str),
    /// A migration failed.
    #[error("a migration failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Anything else, which is a fault of ours.
    #[error("the database call failed")]
    Unexpected(#[source] sqlx::Error),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Self::Unavailable(error),
            E::Database(database) => {
                // Classes by PostgreSQL's appendix A: 08 connection, 53 resources, 57 operator intervention, 23 integrity.
                match database.code().as_deref().and_then(|code| code.get(..2)) {
                    Some("08" | "53" | "57") => Self::Unavailable(error),
                    Some("23") => Self::Conflict(database.constraint().unwrap_or_default().to_owned()),
                    _ => Self::Unexpected(error),
                }
            }
            _ => Self::Unexpected(error),
        }
    }
}
