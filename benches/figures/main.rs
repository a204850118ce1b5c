//! The figures of docs/PERFORMANCE.md, measured on the real program: `make bench`.
//!
//! Standard output gets the tables, in Markdown; standard error tells how far it is. Everything that is started here (servers with
//! their Postgres, a Redis, a bare server to compare with) is stopped again, also on failure or Ctrl-C.

mod audience;
mod bare;
mod child;
mod compare;
mod flood;
mod floods;
mod gate;
mod idle;
mod load;
mod look_alike;
mod machine;
mod memory;
mod outbound;
mod process;
mod programs;
mod replicas;
mod report;
mod requests;
mod sending;
mod server;
mod startup;
#[expect(dead_code, unused_imports, reason = "the tests' support; the figures need its client and what stands for Redis")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod viewers;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::report::Table;

/// What a measurement fails with.
type Failure = Box<dyn Error + Send + Sync>;

/// Measures what docs/PERFORMANCE.md tells.
#[derive(Debug, Parser)]
#[command(name = "figures")]
struct Options {
    /// What to measure; everything if nothing is named
    sections: Vec<Section>,
    /// Fewer and shorter rounds: for a look, not for the record
    #[arg(long)]
    quick: bool,
    /// Print nothing but the Markdown
    #[arg(long)]
    markdown: bool,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare server, which answers with this body
    #[arg(long, hide = true, value_name = "BODY")]
    bare: Option<String>,
    /// Be the look-alike of Upstash before this Redis
    #[arg(long, hide = true, value_name = "URL")]
    look_alike: Option<String>,
    /// Be a program that shows something new at each interval
    #[arg(long, hide = true, value_name = "MILLISECONDS")]
    tick: Option<u64>,
    /// Be a program that writes so many lines a second
    #[arg(long, hide = true, value_name = "LINES")]
    flood: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    Startup,
    Memory,
    Idle,
    Flood,
    Floods,
    Viewers,
    Sending,
    Requests,
    Gate,
    Replicas,
    Outbound,
}

/// How thoroughly to measure, and whether to tell of it.
#[derive(Debug, Clone, Copy)]
struct Effort {
    quick: bool,
    silent: bool,
}

impl Effort {
    /// One of two amounts.
    fn choose<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Says what is going on.
    fn tell(self, what: &str) {
        if !self.silent {
            eprintln!("{what}");
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options {
        Options { bare: Some(body), .. } => bare::serve(body),
        Options { look_alike: Some(url), .. } => look_alike::serve(url),
        Options { tick: Some(millis), .. } => programs::tick(*millis),
        Options { flood: Some(lines), .. } => programs::flood(*lines),
        _ => measure(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Failure> {
    // One thread: the servers, which are processes of their own, need the cores more than their client.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            result = figures(options) => result,
            // What runs is dropped, and with it stopped.
            _ = interrupt.recv() => Err("interrupted".into()),
            _ = terminate.recv() => Err("terminated".into()),
        }
    })
}

async fn figures(options: &Options) -> Result<(), Failure> {
    let effort = Effort { quick: options.quick, silent: options.markdown };
    let sections = if options.sections.is_empty() { Section::value_variants() } else { &options.sections };
    let mut text = machine::describe()?;
    for section in sections {
        let tables: Vec<Table> = match section {
            Section::Startup => vec![startup::measure(effort).await?],
            Section::Memory => vec![memory::measure(effort).await?],
            Section::Idle => idle::measure(effort).await?,
            Section::Flood => flood::measure(effort).await?,
            Section::Floods => vec![floods::measure(effort).await?],
            Section::Viewers => viewers::measure(effort).await?,
            Section::Sending => vec![sending::measure(effort).await?],
            Section::Requests => requests::measure(effort).await?,
            Section::Gate => gate::measure(effort).await?,
            Section::Replicas => replicas::measure(effort).await?,
            Section::Outbound => vec![outbound::measure(effort).await?],
        };
        for table in tables {
            text.push('\n');
            text.push_str(&table.to_string());
        }
    }
    print!("{text}");
    Ok(())
}
