//! One connection, shared: requests of many callers are in flight on it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, Value};

/// A handle on a connection. Clones share the connection, and what is known of its health.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    broken: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, broken: Arc::default() }
    }

    /// Marks the connection as not to be used again.
    pub(super) fn discard(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(&'a mut self, cmd: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
