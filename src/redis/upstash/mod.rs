//! Upstash's REST API, as a connection: commands and pipelines written for `redis` run over it unchanged.
//!
//! ```text
//! command, pipeline -> encoding (to JSON) -> batch (what is waiting travels together) -> client (one HTTP request)
//!                                                                                     -> connection (TCP, TLS, kept alive)
//! ```

mod batch;
mod client;
mod connection;
mod encoding;
mod failure;

use std::sync::Arc;

use futures_util::FutureExt;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use secrecy::SecretString;

use self::batch::{Batcher, Kind};
use self::client::Client;
use super::config;
use crate::config::SecretUrl;

/// A handle on the REST client. Clones share its queue and its HTTP connections.
#[derive(Clone)]
pub(super) struct RestLink(Arc<Batcher>);

impl RestLink {
    pub(super) fn new(url: &SecretUrl, token: &SecretString, settings: &config::Redis) -> RedisResult<Self> {
        let client = Client::new(url, token, settings)?;
        Ok(Self(Arc::new(Batcher::new(client, settings.max_pool_size))))
    }

    /// Closes the HTTP connections that nobody uses.
    pub(super) fn discard_idle(&self) {
        self.0.discard_idle();
    }
}

impl ConnectionLike for RestLink {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            let mut answers = self.0.ask(vec![encoding::command(cmd)?], Kind::Commands).await?;
            answers.pop().unwrap_or(Value::Nil).extract_error()
        }
        .boxed()
    }

    /// `offset` and `count` are how `redis` asks for the answer to `EXEC` alone; `/multi-exec` gives nothing else.
    fn req_packed_commands<'a>(&'a mut self, cmd: &'a Pipeline, _: usize, _: usize) -> RedisFuture<'a, Vec<Value>> {
        async move {
            let commands = cmd.cmd_iter().map(encoding::command).collect::<RedisResult<Vec<_>>>()?;
            if cmd.is_transaction() {
                Ok(vec![Value::Array(self.0.ask(commands, Kind::Transaction).await?)])
            } else {
                Ok(self.0.ask(commands, Kind::Commands).await?)
            }
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}

#[cfg(test)]
mod tests;
