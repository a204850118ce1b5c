//! The scripts, one file each, and how they are called: by digest, and by text only where the server does not know the digest
//! (yet, or any more), so that a restarted Redis heals itself. `SCRIPT LOAD` is not used: over REST the digest may then be
//! asked of a replica that has not loaded the text.
//!
//! Upstash runs a script under a lock of the whole database unless its first line promises that it touches its declared keys
//! only, and Redis refuses that line: so each script has two texts, from one file.

use std::sync::LazyLock;

use redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use super::link::Link;
use crate::config::{self, Endpoint, ScriptDialect};

/// Opens a session.
pub(super) static SESSION_CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/session_create_v2.lua")));

/// Replaces a session's record.
pub(super) static SESSION_REPLACE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/session_replace_v1.lua")));

/// Counts requests in windows that begin with the first of them.
pub(super) static FIXED_WINDOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/fixed_window_v3.lua")));

/// Counts requests in windows that slide.
pub(super) static SLIDING_WINDOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/sliding_window_v2.lua")));

/// Takes tokens from buckets.
pub(super) static TOKEN_BUCKET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/token_bucket_v2.lua")));

/// What stands before a script of rate limits that counts an attempt to log in.
macro_rules! before_login {
    ($script:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("lua/login_bucket_v1.lua"), include_str!($script))))
    };
}

/// [`FIXED_WINDOW`] for attempts to log in.
pub(super) static FIXED_WINDOW_LOGIN: LazyLock<Script> = before_login!("lua/fixed_window_v3.lua");

/// [`SLIDING_WINDOW`] for attempts to log in.
pub(super) static SLIDING_WINDOW_LOGIN: LazyLock<Script> = before_login!("lua/sliding_window_v2.lua");

/// [`TOKEN_BUCKET`] for attempts to log in.
pub(super) static TOKEN_BUCKET_LOGIN: LazyLock<Script> = before_login!("lua/token_bucket_v2.lua");

/// Remembers a network that an account was signed in from.
pub(super) static LOGIN_KNOWN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/login_known_v1.lua")));

/// Replaces the value of a circuit.
pub(super) static CIRCUIT_SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/circuit_swap_v1.lua")));

/// The line that lets Upstash lock the declared keys instead of the whole database.
const KEY_LOCKING: &str = "#!lua flags=allow-key-locking\n";

/// Which text of a script a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Redis,
    Upstash,
}

impl Dialect {
    /// As told, or by the endpoint: REST is Upstash's, and a host of Upstash speaks its dialect by the native protocol too.
    pub(super) fn of(settings: &config::Redis) -> Self {
        match (settings.script_dialect, settings.endpoint()) {
            (ScriptDialect::Upstash, _) | (ScriptDialect::Auto, Some(Endpoint::Rest { .. })) => Self::Upstash,
            (ScriptDialect::Auto, Some(Endpoint::Native { url, .. })) if is_upstash(url.host()) => Self::Upstash,
            (ScriptDialect::Redis | ScriptDialect::Auto, _) => Self::Redis,
        }
    }
}

/// Names are the same in any case; one may end in the root's dot.
fn is_upstash(host: &str) -> bool {
    host.to_ascii_lowercase().trim_end_matches('.').ends_with(".upstash.io")
}

/// Room that most calls do with: keys, arguments, bytes of a key.
const KEYS: usize = 2;
const ARGS: usize = 6;
const BYTES: usize = 64;

/// A script in both dialects.
pub(super) struct Script {
    redis: Text,
    upstash: Text,
}

struct Text {
    code: String,
    digest: String,
}

impl Text {
    fn new(code: String) -> Self {
        let digest = redis::Script::new(&code).get_hash().to_owned();
        Self { code, digest }
    }
}

impl Script {
    pub(super) fn new(code: &str) -> Self {
        Self { redis: Text::new(code.to_owned()), upstash: Text::new(format!("{KEY_LOCKING}{code}")) }
    }

    /// Begins a call.
    pub(super) fn prepare_invoke(&self) -> Invocation<'_> {
        Invocation {
            script: self,
            keys: Cmd::with_capacity(KEYS, KEYS * BYTES),
            args: Cmd::with_capacity(ARGS, ARGS * BYTES / 4),
        }
    }

    const fn text(&self, dialect: Dialect) -> &Text {
        match dialect {
            Dialect::Redis => &self.redis,
            Dialect::Upstash => &self.upstash,
        }
    }
}

/// A call of a script. Its keys and arguments are commands without a name: the client's way to keep many texts in one buffer.
pub(super) struct Invocation<'a> {
    script: &'a Script,
    keys: Cmd,
    args: Cmd,
}

impl Invocation<'_> {
    /// Adds a key. Every key that the script touches is added here: Upstash refuses others.
    pub(super) fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        self.keys.arg(key);
        self
    }

    /// Adds an argument.
    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.args.arg(arg);
        self
    }

    /// Calls the script: one round trip, and a second where the server does not know it.
    pub(super) async fn invoke_async<T: FromRedisValue>(&self, link: &mut Link) -> RedisResult<T> {
        let text = self.script.text(link.dialect());
        let answer = self.command("EVALSHA", &text.digest).query_async(link).await;
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", &text.code).query_async(link).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let texts = || texts(&self.keys).chain(texts(&self.args));
        let bytes = name.len() + script.len() + BYTES + texts().map(<[u8]>::len).sum::<usize>();
        let mut command = Cmd::with_capacity(3 + texts().count(), bytes);
        command.arg(name).arg(script).arg(self.keys.args_iter().len());
        for text in texts() {
            command.arg(text);
        }
        command
    }
}

/// What a command without a name keeps.
fn texts(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    command.args_iter().filter_map(|arg| match arg {
        Arg::Simple(text) => Some(text),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn dialect(pairs: &[(&str, &str)]) -> Dialect {
        let variables: BTreeMap<_, _> = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Dialect::of(&config::Config::from_variables(&variables).expect("valid").redis)
    }

    #[test]
    fn the_dialect_follows_the_endpoint_unless_it_is_told() {
        const REST: [(&str, &str); 3] =
            [("REDIS_PROTOCOL", "rest"), ("UPSTASH_REDIS_REST_URL", "https://eu.upstash.io"), ("UPSTASH_REDIS_REST_TOKEN", "t")];
        let upstash = ("UPSTASH_REDIS_URL", "rediss://default:p@eu.upstash.io:6379");
        assert_eq!(dialect(&REST), Dialect::Upstash);
        assert_eq!(dialect(&[upstash]), Dialect::Upstash);
        assert_eq!(dialect(&[("REDIS_URL", "rediss://EU.Upstash.IO.:6379")]), Dialect::Upstash);
        assert_eq!(dialect(&[("REDIS_URL", "redis://upstash.io.example.org")]), Dialect::Redis);
        assert_eq!(dialect(&[upstash, ("REDIS_SCRIPT_DIALECT", "redis")]), Dialect::Redis);
        assert_eq!(dialect(&[("REDIS_URL", "redis://h"), ("REDIS_SCRIPT_DIALECT", "upstash")]), Dialect::Upstash);
    }

    #[test]
    fn the_dialects_differ_in_one_line_and_in_their_digest() {
        let script = Script::new("return 1");
        assert_eq!(script.text(Dialect::Redis).code, "return 1");
        assert_eq!(script.text(Dialect::Upstash).code, "#!lua flags=allow-key-locking\nreturn 1");
        assert_eq!(script.text(Dialect::Redis).digest, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_ne!(script.text(Dialect::Redis).digest, script.text(Dialect::Upstash).digest);
    }
}
