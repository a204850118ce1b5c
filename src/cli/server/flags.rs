//! The flags of `agentapi server`, as they are written.
//!
//! Values are read in `settings.rs`, for each may come from the environment as well, where lists are written otherwise.

use clap::Args;

/// Each flag has a variable, `AGENTAPI_` and its name (--state-file: `AGENTAPI_STATE_FILE`); the flag wins over the variable.
#[derive(Debug, Default, Args)]
#[command(after_help = "Write -- before the agent's program, so that its flags are not taken for the server's.")]
pub(in crate::cli) struct Flags {
    /// Which agent it is: claude, goose, aider, codex, gemini, copilot, amp, cursor, auggie, amazonq, opencode or custom; found
    /// out from the program's name unless told
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub(super) agent_type: Option<String>,
    /// Address to listen on; this machine only (127.0.0.1 and `::1`) unless told otherwise. 0.0.0.0 or :: for all
    #[arg(long, value_name = "ADDRESS")]
    pub(super) host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 3284]
    #[arg(long, short = 'p', value_name = "PORT")]
    pub(super) port: Option<String>,
    /// Print the OpenAPI document (3.0.3) and exit
    #[arg(long, short = 'P', num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) print_openapi: Option<String>,
    /// Path of the chat page, for reverse proxies that serve it elsewhere [default: /chat]
    #[arg(long, short = 'c', value_name = "PATH")]
    pub(super) chat_base_path: Option<String>,
    /// Columns of the agent's terminal, 10 to 1000 [default: 80]
    #[arg(long, short = 'W', value_name = "COLUMNS")]
    pub(super) term_width: Option<String>,
    /// Rows of the agent's terminal, 10 to 1000 [default: 1000]
    #[arg(long, short = 'H', value_name = "ROWS")]
    pub(super) term_height: Option<String>,
    /// Hosts that requests may name, separated by commas, or the flag several times; * for any. In the variable, separated by
    /// white space [default: `localhost,127.0.0.1,[::1]`]
    #[arg(long, short = 'a', value_name = "HOSTS")]
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// Origins whose pages may call, written as --allowed-hosts [default:
    /// http://localhost:3284,http://localhost:3000,http://localhost:3001]
    #[arg(long, short = 'o', value_name = "ORIGINS")]
    pub(super) allowed_origins: Option<Vec<String>>,
    /// First message for the agent, sent once it is ready; else what is piped to standard input
    #[arg(long, short = 'I', value_name = "TEXT")]
    pub(super) initial_prompt: Option<String>,
    /// File that keeps the conversation
    #[arg(long, short = 's', value_name = "FILE")]
    pub(super) state_file: Option<String>,
    /// Go on with the conversation in the state file [default: if there is one]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) load_state: Option<String>,
    /// Keep the conversation in the state file [default: if there is one]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) save_state: Option<String>,
    /// File that holds the process id while the server runs
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<String>,
    /// Speak the Agent Client Protocol with the program, which needs no terminal then
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) experimental_acp: Option<String>,
    /// Check the flags and exit
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) exit: Option<String>,
    /// The agent's program and its arguments
    #[arg(value_name = "AGENT")]
    pub(super) command: Vec<String>,
}
