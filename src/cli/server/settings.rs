//! What `agentapi server` is told: by flags, by `AGENTAPI_*` variables, by defaults, in this order.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::flags::Flags;
use crate::cli::Failure;
use crate::domain::{AgentType, TerminalSize};
use crate::http::single::{AllowedHosts, AllowedOrigins};

const DEFAULT_PORT: u16 = 3284;
const DEFAULT_CHAT_BASE_PATH: &str = "/chat";
const DEFAULT_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
const DEFAULT_ORIGINS: [&str; 3] = ["http://localhost:3284", "http://localhost:3000", "http://localhost:3001"];
/// Widest and highest terminal: the bounds of [`TerminalSize`], told side by side as the reference does.
const MAX_SIDE: u16 = 1000;
const MIN_SIDE: u16 = 10;

/// Valid settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) agent_type: AgentType,
    /// Whether the program speaks the Agent Client Protocol.
    pub(super) acp: bool,
    pub(super) program: String,
    pub(super) args: Vec<String>,
    /// Loopback addresses if none was named.
    pub(super) host: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) size: TerminalSize,
    pub(super) hosts: AllowedHosts,
    pub(super) origins: AllowedOrigins,
    pub(super) chat_base_path: String,
    pub(super) initial_prompt: Option<String>,
    pub(super) load_state: Option<PathBuf>,
    pub(super) save_state: Option<PathBuf>,
    pub(super) pid_file: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    PrintOpenapi,
    Nothing,
    Serve(Box<Settings>),
}

/// Reads `flags`, and `variable` for those that are not given.
pub(super) fn read(flags: Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Task, Failure> {
    let given = Given { variable };
    if given.switch("print-openapi", flags.print_openapi)?.unwrap_or(false) {
        return Ok(Task::PrintOpenapi);
    }
    let mut command = flags.command.into_iter();
    let Some(program) = command.next() else {
        return Err(
            "requires at least 1 arg(s), only received 0: name the agent's program, as in agentapi server -- claude".into()
        );
    };
    let agent_type = agent_type(given.text("type", flags.agent_type), &program)?;
    let width = given.number("term-width", flags.term_width)?.unwrap_or_else(|| TerminalSize::default().width());
    let height = given.number("term-height", flags.term_height)?.unwrap_or_else(|| TerminalSize::default().height());
    let hosts = AllowedHosts::parse(&given.list("allowed-hosts", flags.allowed_hosts, &DEFAULT_HOSTS))
        .map_err(|error| format!("failed to create server: failed to parse allowed hosts: {error}"))?;
    let origins = AllowedOrigins::parse(&given.list("allowed-origins", flags.allowed_origins, &DEFAULT_ORIGINS))
        .map_err(|error| format!("failed to create server: failed to parse allowed origins: {error}"))?;
    let state_file = given.text("state-file", flags.state_file).map(PathBuf::from);
    let state = |name, flag| -> Result<Option<PathBuf>, Failure> {
        match (given.switch(name, flag)?, &state_file) {
            (Some(true), None) => Err(format!("--{name} requires --state-file to be set").into()),
            (Some(false), _) => Ok(None),
            (Some(true) | None, file) => Ok(file.clone()),
        }
    };
    let (load_state, save_state) = (state("load-state", flags.load_state)?, state("save-state", flags.save_state)?);
    let acp = given.switch("experimental-acp", flags.experimental_acp)?.unwrap_or(false);
    if acp && (load_state.is_some() || save_state.is_some()) {
        return Err("ACP mode doesn't support state persistence: leave out --state-file".into());
    }
    let settings = Settings {
        acp,
        agent_type,
        program,
        args: command.collect(),
        host: given.parsed("host", flags.host, "an IP address such as 127.0.0.1, 0.0.0.0 or ::")?,
        port: given.number("port", flags.port)?.unwrap_or(DEFAULT_PORT),
        size: terminal(width, height)?,
        hosts,
        origins,
        chat_base_path: chat_base_path(given.text("chat-base-path", flags.chat_base_path))?,
        initial_prompt: given.text("initial-prompt", flags.initial_prompt),
        load_state,
        save_state,
        pid_file: given.text("pid-file", flags.pid_file).map(PathBuf::from),
    };
    let exit = given.switch("exit", flags.exit)?.unwrap_or(false);
    Ok(if exit { Task::Nothing } else { Task::Serve(Box::new(settings)) })
}

/// Flags, and the variables behind them.
struct Given<V> {
    variable: V,
}

impl<V: Fn(&str) -> Option<String>> Given<V> {
    /// The value of a flag or its variable; empty ones count as not given.
    fn text(&self, name: &str, flag: Option<String>) -> Option<String> {
        flag.or_else(|| self.variable(name)).filter(|value| !value.is_empty())
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, flag: Option<String>, expected: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name, flag) else { return Ok(None) };
        let wrong = || format!("invalid value {text:?} for --{name} ({}): expected {expected}", variable_of(name)).into();
        text.parse().map(Some).map_err(|_| wrong())
    }

    fn number(&self, name: &str, flag: Option<String>) -> Result<Option<u16>, Failure> {
        self.parsed(name, flag, "a whole number from 0 to 65535")
    }

    fn switch(&self, name: &str, flag: Option<String>) -> Result<Option<bool>, Failure> {
        Ok(self.parsed(name, flag, "true or false")?.map(|Switch(on)| on))
    }

    /// A list: of flags, separated by commas; of the variable, by white space.
    fn list(&self, name: &str, flags: Option<Vec<String>>, default: &[&str]) -> Vec<String> {
        let owned = |items: &mut dyn Iterator<Item = &str>| items.map(str::to_owned).collect::<Vec<_>>();
        match (flags, self.variable(name)) {
            (Some(flags), _) => owned(&mut flags.iter().filter(|flag| !flag.is_empty()).flat_map(|flag| flag.split(','))),
            (None, Some(value)) => owned(&mut value.split_whitespace()),
            (None, None) => owned(&mut default.iter().copied()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(&variable_of(name)).filter(|value| !value.is_empty())
    }
}

/// The variable behind a flag.
fn variable_of(flag: &str) -> String {
    format!("AGENTAPI_{}", flag.to_uppercase().replace('-', "_"))
}

/// On or off, in the words of Go's command lines.
struct Switch(bool);

impl std::str::FromStr for Switch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Self(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}

/// The type that was named, or that of the program by its file name, or custom.
fn agent_type(named: Option<String>, program: &str) -> Result<AgentType, Failure> {
    if let Some(name) = named {
        return name.parse().map_err(|_| format!("failed to parse agent type: invalid agent type: {name}").into());
    }
    let file = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(file.parse().unwrap_or(AgentType::Custom))
}

fn terminal(width: u16, height: u16) -> Result<TerminalSize, Failure> {
    for (side, length) in [("width", width), ("height", height)] {
        if length < MIN_SIDE {
            return Err(format!("term {side} must be at least {MIN_SIDE}").into());
        }
        if length > MAX_SIDE {
            return Err(format!("term {side} must be at most {MAX_SIDE}").into());
        }
    }
    Ok(TerminalSize::new(width, height)?)
}

/// It goes into a header.
fn chat_base_path(given: Option<String>) -> Result<String, Failure> {
    let path = given.unwrap_or_else(|| DEFAULT_CHAT_BASE_PATH.to_owned());
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(path)
    } else {
        Err(format!("invalid value {path:?} for --chat-base-path (AGENTAPI_CHAT_BASE_PATH): expected a path of printable ASCII")
            .into())
    }
}

#[cfg(test)]
mod tests;
