//! What a caller of the pool holds: a way to Redis, shared by many callers whose commands are in flight at once.

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

use super::native::NativeLink;
use super::script::Dialect;
use super::upstash::RestLink;

/// A way to Redis. Clones share it, and what is known of its health.
#[derive(Clone)]
pub(super) struct Link {
    wire: Wire,
    dialect: Dialect,
}

/// By which protocol.
#[derive(Clone)]
pub(super) enum Wire {
    Native(NativeLink),
    Rest(RestLink),
}

impl Link {
    pub(super) const fn new(wire: Wire, dialect: Dialect) -> Self {
        Self { wire, dialect }
    }

    /// Which text of a script the server at the other end takes.
    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Marks a connection as not to be used again. Over REST there is nothing to mark: a link is no connection there, and an
    /// HTTP connection that failed is never used again anyway.
    pub(super) fn discard(&self) {
        match &self.wire {
            Wire::Native(native) => native.discard(),
            Wire::Rest(_) => {}
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        match &self.wire {
            Wire::Native(native) => native.is_broken(),
            Wire::Rest(_) => false,
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.wire {
            Wire::Native(native) => native.req_packed_command(cmd),
            Wire::Rest(rest) => rest.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, cmd: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.wire {
            Wire::Native(native) => native.req_packed_commands(cmd, offset, count),
            Wire::Rest(rest) => rest.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.wire {
            Wire::Native(native) => native.get_db(),
            Wire::Rest(rest) => rest.get_db(),
        }
    }
}
