//! What a new agent is asked to be: the body of `POST /v1/agents`, and its rules.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::agent_body::TerminalBody;
use crate::domain::{
    AgentType, ApprovalPolicy, DisplayName, Expected, NewAcp, NewAgent, NewAgentKind, NewProgram, NewRemote, TerminalSize,
    Transport,
};
use crate::http::problem::Problem;

const MAX_COMMAND_WORDS: usize = 256;
const MAX_WORD_BYTES: usize = 32 * 1024;
const MAX_ENV_VARIABLES: usize = 128;
const MAX_PROMPT_BYTES: usize = 64 * 1024;
const MAX_TOKEN_BYTES: usize = 8192;

/// An agent to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAgentRequest {
    /// Which coding agent it is; `custom` for any program.
    #[serde(rename = "type")]
    agent_type: AgentType,
    /// A name for people.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// How it is spoken to.
    #[serde(default = "pty")]
    transport: Transport,
    /// Where a remote agent is: the URL of an AgentAPI server, below which its routes are. Required of one, and of no other.
    #[schema(example = "https://agent.example:3284")]
    url: Option<String>,
    /// What a remote agent's server asks for as a bearer token. Kept sealed, never shown.
    #[schema(value_type = Option<String>, max_length = 8192)]
    token: Option<SecretString>,
    /// Arguments of its program.
    #[serde(default)]
    args: Vec<String>,
    /// Program and arguments, in place of the type's own program; only where the server allows it.
    command: Option<Vec<String>>,
    /// Further environment variables, such as an API key. Kept sealed, never shown.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// A first message, sent once the agent is ready.
    initial_prompt: Option<String>,
    /// What becomes of what an ACP agent asks leave for: it waits for an answer unless told otherwise.
    approval_policy: Option<ApprovalPolicy>,
    /// Size of its terminal; 80 by 1000 unless told otherwise.
    terminal: Option<TerminalBody>,
}

const fn pty() -> Transport {
    Transport::Pty
}

impl CreateAgentRequest {
    /// The agent, if it may be.
    pub(super) fn parse(self, custom_commands: bool) -> Result<NewAgent, Problem> {
        let name: Option<Result<DisplayName, Expected>> = self.name.as_deref().map(str::parse);
        let name = name.transpose().map_err(|expected| Problem::field("body.name", expected.to_string()))?;
        let (name, agent_type) = (name.map(String::from), self.agent_type);
        let kind = match self.transport {
            Transport::Pty => NewAgentKind::Program(self.program(custom_commands)?),
            Transport::Acp => NewAgentKind::Acp(self.acp(custom_commands)?),
            Transport::Remote => NewAgentKind::Remote(self.remote()?),
        };
        Ok(NewAgent { name, agent_type, kind })
    }

    fn program(self, custom_commands: bool) -> Result<NewProgram, Problem> {
        if self.approval_policy.is_some() {
            return Err(Problem::field("body.approval_policy", "this is for ACP agents only (\"transport\": \"acp\")"));
        }
        self.check_program(custom_commands)?;
        let terminal = match self.terminal {
            Some(TerminalBody { width, height }) => {
                TerminalSize::new(width, height).map_err(|expected| Problem::field("body.terminal", expected.to_string()))?
            }
            None => TerminalSize::default(),
        };
        let own = self.agent_type.program().map(|program| vec![program.to_owned()]);
        Ok(NewProgram {
            command: command(self.agent_type, own, self.command, self.args, custom_commands)?,
            env: self.env,
            initial_prompt: self.initial_prompt,
            terminal,
        })
    }

    fn acp(self, custom_commands: bool) -> Result<NewAcp, Problem> {
        if self.terminal.is_some() {
            return Err(Problem::field("body.terminal", "an ACP agent has no terminal"));
        }
        self.check_program(custom_commands)?;
        let own = self.agent_type.acp_command();
        let own = own.map(|words| words.iter().map(|&word| word.to_owned()).collect());
        Ok(NewAcp {
            command: command(self.agent_type, own, self.command, self.args, custom_commands)?,
            env: self.env,
            initial_prompt: self.initial_prompt,
            approval_policy: self.approval_policy.unwrap_or_default(),
        })
    }

    fn remote(self) -> Result<NewRemote, Problem> {
        for (location, is_given) in [
            ("body.command", self.command.is_some()),
            ("body.args", !self.args.is_empty()),
            ("body.env", !self.env.is_empty()),
            ("body.initial_prompt", self.initial_prompt.is_some()),
            ("body.terminal", self.terminal.is_some()),
            ("body.approval_policy", self.approval_policy.is_some()),
        ] {
            if is_given {
                return Err(Problem::field(location, "a remote agent runs already: this is its server's to choose"));
            }
        }
        let url = self.url.ok_or_else(|| Problem::field("body.url", "expected a URL, since the transport is remote"))?;
        let url = url.parse().map_err(|expected: Expected| Problem::field("body.url", expected.to_string()))?;
        let fits = |token: &SecretString| {
            let token = token.expose_secret();
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.token.as_ref().is_none_or(fits) {
            return Err(Problem::field("body.token", "expected 1 to 8192 visible ASCII characters"));
        }
        Ok(NewRemote { url, token: self.token })
    }

    /// What is asked of a program of this server, whatever it speaks.
    fn check_program(&self, custom_commands: bool) -> Result<(), Problem> {
        for (location, is_given) in [("body.url", self.url.is_some()), ("body.token", self.token.is_some())] {
            if is_given {
                return Err(Problem::field(location, "this is for remote agents only (\"transport\": \"remote\")"));
            }
        }
        if self.initial_prompt.as_ref().is_some_and(|prompt| prompt.len() > MAX_PROMPT_BYTES) {
            return Err(Problem::field("body.initial_prompt", "expected at most 65536 bytes"));
        }
        self.check_env(custom_commands)
    }

    fn check_env(&self, custom_commands: bool) -> Result<(), Problem> {
        if self.env.len() > MAX_ENV_VARIABLES {
            return Err(Problem::field("body.env", "expected at most 128 variables"));
        }
        for (name, value) in &self.env {
            let location = || format!("body.env.{name}");
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(letter) || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(Problem::field(location(), "expected a name of letters, digits and underscores"));
            }
            if value.len() > MAX_WORD_BYTES || value.contains('\0') {
                return Err(Problem::field(location(), "expected a value of at most 32768 bytes, none of them NUL"));
            }
            // These choose what code runs: as much as a command of one's own.
            if !custom_commands
                && (matches!(name.as_str(), "PATH" | "HOME") || name.starts_with("LD_") || name.starts_with("DYLD_"))
            {
                return Err(Problem::field(
                    location(),
                    "this server lets nobody choose what programs run (AGENT_ALLOW_CUSTOM_COMMANDS)",
                ));
            }
        }
        Ok(())
    }
}

/// Program and arguments: those asked for, or the type's own.
fn command(
    agent_type: AgentType,
    own: Option<Vec<String>>,
    command: Option<Vec<String>>,
    args: Vec<String>,
    custom_commands: bool,
) -> Result<Vec<String>, Problem> {
    let mut words = match (command, own) {
        (Some(_), _) | (None, None) if !custom_commands => {
            let message = "this server runs no commands of its users (AGENT_ALLOW_CUSTOM_COMMANDS)";
            return Err(Problem::field(if agent_type == AgentType::Custom { "body.type" } else { "body.command" }, message));
        }
        (Some(words), _) => words,
        (None, Some(own)) => own,
        (None, None) => {
            let message = "expected program and arguments: there are none for this type and transport";
            return Err(Problem::field("body.command", message));
        }
    };
    words.extend(args);
    let fits = |word: &String| word.len() <= MAX_WORD_BYTES && !word.contains('\0');
    if words.first().is_none_or(String::is_empty) || words.len() > MAX_COMMAND_WORDS || !words.iter().all(fits) {
        let message = "expected a program and at most 255 arguments, each of at most 32768 bytes, none of them NUL";
        return Err(Problem::field("body.command", message));
    }
    Ok(words)
}
