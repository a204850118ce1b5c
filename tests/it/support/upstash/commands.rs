//! Commands: out of requests, into Redis.

use redis::aio::ConnectionLike as _;
use redis::{Cmd, RedisError, Value};
use serde_json::Value as Json;

use super::{Server, lock};

/// Largest key.
const MAX_KEY_BYTES: usize = 32 * 1024;

/// What makes no sense without a connection of one's own.
const NOT_OVER_REST: &[&str] = &[
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MULTI",
    "PSUBSCRIBE",
    "SELECT",
    "SUBSCRIBE",
    "UNWATCH",
    "WATCH",
];

/// A command's name and arguments.
#[derive(Debug, Clone)]
pub(super) struct Command(pub(super) Vec<Vec<u8>>);

impl Command {
    pub(super) fn name(&self) -> String {
        self.0.first().map(|name| String::from_utf8_lossy(name).to_uppercase()).unwrap_or_default()
    }

    pub(super) fn text(&self) -> Vec<String> {
        self.0.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    /// The keys of a script's call, or what is most often the key of another command.
    fn keys(&self) -> &[Vec<u8>] {
        if !self.name().starts_with("EVAL") {
            return self.0.get(1..2).unwrap_or_default();
        }
        let count = self.0.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok()).unwrap_or_default();
        self.0.get(3..count.saturating_add(3)).unwrap_or_default()
    }

    fn refusal(&self) -> Option<Value> {
        let name = self.name();
        if NOT_OVER_REST.contains(&name.as_str()) {
            return Some(error(&format!("ERR Command is not available: '{name}'")));
        }
        self.keys().iter().any(|key| key.len() > MAX_KEY_BYTES).then(|| error("ERR max key size exceeded"))
    }
}

/// `["SET", "k", 1]`
pub(super) fn array(body: &[u8]) -> Result<Command, &'static str> {
    command(serde_json::from_slice(body).map_err(|_| "ERR failed to parse command")?)
}

/// `[["SET", "k", 1], ["GET", "k"]]`
pub(super) fn arrays(body: &[u8]) -> Result<Vec<Command>, &'static str> {
    let items: Vec<Json> = serde_json::from_slice(body).map_err(|_| "ERR failed to parse pipeline request")?;
    if items.is_empty() {
        return Err("ERR empty pipeline request");
    }
    items.into_iter().map(command).collect()
}

/// `/set/k?EX=10` with a body that is the last argument before the query.
pub(super) fn path(path: &str, query: &[(String, String)], body: &[u8]) -> Command {
    let mut args: Vec<Vec<u8>> =
        path.trim_matches('/').split('/').map(|arg| percent_encoding::percent_decode_str(arg).collect()).collect();
    if !body.is_empty() {
        args.push(body.to_vec());
    }
    for (name, value) in query.iter().filter(|(name, _)| name != "_token") {
        args.push(name.clone().into_bytes());
        if !value.is_empty() {
            args.push(value.clone().into_bytes());
        }
    }
    Command(args)
}

fn command(json: Json) -> Result<Command, &'static str> {
    let Json::Array(args) = json else { return Err("ERR failed to parse command") };
    let arg = |arg| match arg {
        Json::String(text) => Ok(text.into_bytes()),
        Json::Number(number) => Ok(number.to_string().into_bytes()),
        Json::Bool(truth) => Ok(truth.to_string().into_bytes()),
        _ => Err("ERR failed to parse command"),
    };
    let args: Vec<Vec<u8>> = args.into_iter().map(arg).collect::<Result<_, _>>()?;
    if args.is_empty() { Err("ERR empty command") } else { Ok(Command(args)) }
}

pub(super) fn error(line: &str) -> Value {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error line")
}

fn of_error(error: &RedisError) -> String {
    format!("{} {}", error.code().unwrap_or("ERR"), error.detail().unwrap_or_default())
}

impl Server {
    /// Runs commands in order, in one go.
    pub(super) async fn run(&self, commands: Vec<Command>) -> Vec<Value> {
        let mut pipeline = redis::pipe();
        let ready: Vec<Option<Value>> = commands.into_iter().map(|command| self.prepare(command, &mut pipeline)).collect();
        let count = pipeline.len();
        let values = match count {
            0 => Vec::new(),
            _ => self.redis.clone().req_packed_commands(&pipeline, 0, count).await.expect("the Redis behind answers"),
        };
        let mut values = values.into_iter();
        ready.into_iter().map(|ready| ready.unwrap_or_else(|| values.next().expect("an answer a command"))).collect()
    }

    /// Runs commands as one transaction.
    pub(super) async fn transact(&self, commands: Vec<Command>) -> Result<Vec<Value>, String> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for command in commands {
            if let Some(refused) = self.prepare(command, &mut pipeline) {
                return Err(of_error(&refused.extract_error().expect_err("an error")));
            }
        }
        let count = pipeline.len();
        let answer = self.redis.clone().req_packed_commands(&pipeline, count + 1, 1).await;
        match answer.map_err(|error| of_error(&error))?.pop() {
            Some(Value::Array(values)) => Ok(values),
            Some(Value::ServerError(error)) => Err(format!("{} {}", error.code(), error.details().unwrap_or_default())),
            other => panic!("EXEC answered {other:?}"),
        }
    }

    /// Adds a command, as Redis takes it, to `pipeline`; or answers it at once.
    fn prepare(&self, command: Command, pipeline: &mut redis::Pipeline) -> Option<Value> {
        if let Some(refused) = command.refusal() {
            return Some(refused);
        }
        match lock(&self.scripts).translate(command) {
            Ok(Command(args)) => {
                let mut cmd = Cmd::new();
                for arg in args {
                    cmd.arg(arg);
                }
                pipeline.add_command(cmd);
                None
            }
            Err(refused) => Some(refused),
        }
    }
}
