//! The command line: one file a command.

mod attach;
mod config;
mod end_sessions;
mod identity;
mod keys;
mod migrate;
mod open;
mod openapi;
mod operator;
mod serve;
mod server;
mod tenant;
mod tenant_limits;
mod user;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};

/// One HTTP API for a whole organisation's coding agents.
#[derive(Debug, Parser)]
#[command(name = "agentapi", version = concat!("version ", env!("CARGO_PKG_VERSION")))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one agent, without log-in, as coder/agentapi does: `agentapi server -- claude`
    Server(Box<server::Flags>),
    /// Show an agent's terminal in this one; Ctrl-C detaches
    Attach(attach::Flags),
    /// Serve the API. Settings come from the environment and from .env; `agentapi config` shows them
    Serve,
    /// Bring the database's tables up to date, as `serve` does at its start
    Migrate,
    /// Show the effective settings, secrets masked
    Config,
    /// Print the OpenAPI document
    Openapi,
    /// Manage tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Manage users
    #[command(subcommand)]
    User(user::Command),
    /// Make and change the keys that seal
    #[command(subcommand)]
    Keys(keys::Command),
}

/// What a command fails with: told to the user, then exit code 1.
type Failure = Box<dyn Error + Send + Sync>;

/// Runs the command that the command line names.
pub async fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // TLS has several providers of cryptography in reach; without a choice the first connection would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("agentapi: another provider of cryptography is installed already");
        return ExitCode::FAILURE;
    }
    match dispatch(cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agentapi: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Tells what is wrong with the command line, or the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.print().is_err() {
        return ExitCode::FAILURE;
    }
    // Scripts know these two commands by coder/agentapi, which fails with 1.
    let compatible = std::env::args_os().nth(1).is_some_and(|command| command == "server" || command == "attach");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if compatible => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Server(flags) => server::run(*flags).await,
        Command::Attach(flags) => attach::run(flags).await,
        Command::Serve => serve::run(settings()?).await,
        Command::Migrate => migrate::run(&settings()?).await,
        Command::Config => config::run(&settings()?),
        Command::Openapi => openapi::run(),
        Command::Tenant(command) => tenant::run(command, &settings()?).await,
        Command::User(command) => user::run(command, &settings()?).await,
        Command::Keys(command) => keys::run(command, || Ok(settings()?)).await,
    }
}

fn settings() -> Result<Config, ConfigError> {
    Config::from_env()
}

/// An error with all its causes, a line each.
fn chain(error: &dyn Error) -> String {
    let mut lines = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        lines.push(error.to_string());
        cause = error.source();
    }
    lines.dedup();
    lines.join("\n  because: ")
}
