//! An agent that writes more than anybody reads.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::audience::Audience;
use super::process::{Memory, children, cpu, memory, written};
use super::programs::{LINE, flooding};
use super::report::{P99, Table, mb, megabytes, millis, percent, quantile, thousands};
use super::sending::{STATUS_GOAL, status};
use super::server::{Place, Server};
use super::support::Client;
use super::viewers::source;
use super::{Effort, Failure};

/// Lines a second, as in the measurement of coder/agentapi.
const RATE: u32 = 4500;
/// Most of a core for such a flood, in percent: a third of the lower figure of coder/agentapi.
const GOAL: f64 = 57.0 / 3.0;
/// Until the terminal is full: from there on all of it moves with each line.
const FULL: Duration = Duration::from_secs(2);
/// What is measured: lines a second, 0 for as many as are read, and the stream that a viewer watches, if there is one.
const FLOODS: [(u32, Option<&str>); 5] =
    [(RATE, None), (RATE, Some("events")), (RATE, Some("screen")), (0, None), (0, Some("events"))];

/// What came of a flood.
struct Flood {
    took: Duration,
    /// Processor time of the server.
    server: Duration,
    /// That of the agent's own process.
    own: Duration,
    /// MB that the agent wrote.
    written: f64,
    memory: Memory,
    status: Vec<Duration>,
}

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    let place = Place::new(&[])?;
    let server = place.start()?;
    let client = server.operator().await;
    let columns =
        ["lines a second", "watched by", "server CPU", "goal", "met", "for a MB", "the agent's own CPU", "RSS", "status p99"];
    let mut table = Table::new("A flood of output", &columns);
    let mut goals = Table::with_goals("A flood of output: the status meanwhile");
    for (rate, watched) in FLOODS {
        let watched_by = watched.map_or("nobody".to_owned(), |what| format!("a viewer of the {what}"));
        let asked_for = if rate == 0 { "as many lines as are read".to_owned() } else { format!("{rate} lines a second") };
        effort.tell(&format!("flood: {asked_for}, watched by {watched_by}"));
        let flood = flood(&server, &client, rate, watched, effort).await?;
        let part = |time: Duration| 100.0 * time.as_secs_f64() / flood.took.as_secs_f64();
        let (goal, met) = match rate {
            0 => (String::new(), ""),
            _ if part(flood.server) <= GOAL => (format!("≤ {}", percent(GOAL)), "yes"),
            _ => (format!("≤ {}", percent(GOAL)), "**no**"),
        };
        let p99 = quantile(&flood.status, P99);
        table.row(&[
            &thousands(flood.written / mb(LINE) / flood.took.as_secs_f64()),
            &watched_by,
            &percent(part(flood.server)),
            &goal,
            met,
            &millis(flood.server.div_f64(flood.written)),
            &percent(part(flood.own)),
            &megabytes(mb(flood.memory.rss)),
            &millis(p99),
        ]);
        let what = format!("{asked_for}, watched by {watched_by}: status, p99");
        goals.goal(&what, (p99.as_secs_f64(), STATUS_GOAL), |seconds| millis(Duration::from_secs_f64(seconds)));
    }
    server.stop()?;
    table.row(&["4 500, coder/agentapi 0.12.1", "nobody", "57–64 %", "", "", "", "", "29–35 MB", ""]);
    table.note(format!(
        "An agent in a terminal of the default size (80 × 1000) that writes lines of {} characters, over {} s; where there is no goal, \
         as fast as it is read. The goal is a third of the lower figure of coder/agentapi.",
        LINE - 1,
        span(effort).as_secs()
    ));
    table.note("“server CPU” is without the agent's own processor time. The status is asked for afterwards, for as long again, 200 times a second.");
    table.note("The figure of coder/agentapi was measured elsewhere, not in this run; its RSS is of the process of one agent.");
    Ok(vec![table, goals])
}

fn span(effort: Effort) -> Duration {
    effort.choose(Duration::from_secs(15), Duration::from_secs(4))
}

async fn flood(server: &Server, client: &Client, rate: u32, watched: Option<&str>, effort: Effort) -> Result<Flood, Failure> {
    let agent = start(client, rate).await?;
    let audience = match watched {
        Some(what) => Some(Audience::gather(&source(server, client, &agent, what)?, 1).await?),
        None => None,
    };
    sleep(FULL).await;
    let program = children(server.pid())?.into_iter().find(|(_, name)| name != "postgres").ok_or("no agent runs")?.0;
    let (began, server_before, own_before, written_before) =
        (Instant::now(), cpu(server.pid())?, cpu(program)?, written(program)?);
    sleep(span(effort)).await;
    let flood = Flood {
        took: began.elapsed(),
        server: cpu(server.pid())?.saturating_sub(server_before),
        own: cpu(program)?.saturating_sub(own_before),
        written: mb(written(program)? - written_before),
        memory: memory(server.pid())?,
        status: Vec::new(),
    };
    let asking = status(server, client, &agent)?.ask_steadily();
    sleep(span(effort)).await;
    let status = asking.end()?;
    drop(audience);
    client.delete(&agent).await;
    Ok(Flood { status, ..flood })
}

/// Starts an agent that writes so many lines a second, and waits until it does.
async fn start(client: &Client, rate: u32) -> Result<String, Failure> {
    let agent = client.start_agent(&flooding(rate)?.each_ref().map(String::as_str)).await;
    let mut events = client.events(&agent).await;
    events.until("a line", |event| event.data["message"].as_str().is_some_and(|text| text.contains("fox"))).await;
    Ok(agent)
}
