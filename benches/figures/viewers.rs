//! From an agent's byte to its viewers, few and many.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::audience::{Audience, Source};
use super::process::cpu;
use super::programs::{self, ticking};
use super::report::{P50, P99, Table, millis, percent, quantile};
use super::sending::{STATUS_GOAL, status};
use super::server::{Place, Server};
use super::support::Client;
use super::{Effort, Failure};

/// Most that it should take from a byte to an event, at the median, in seconds.
const GOAL: f64 = 0.03;
const MANY: usize = 1000;
/// Between what an agent shows, so that each is a frame of its own, and so that several are one.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(5)];

/// A measurement: of what, and what came of it.
struct Measured {
    viewers: usize,
    what: &'static str,
    interval: Duration,
    /// From each stamp to each viewer, sorted.
    latencies: Vec<Duration>,
    took: Duration,
    server: Duration,
    status: Vec<Duration>,
}

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    let place = Place::new(&[])?;
    let server = place.start()?;
    let client = server.operator().await;
    let mut measured = Vec::new();
    for interval in INTERVALS {
        let agent = start(&client, interval).await?;
        for (viewers, what) in [(1, "events"), (1, "screen"), (MANY, "events"), (MANY, "screen")] {
            if viewers == 1 || interval == INTERVALS[0] {
                effort.tell(&format!("viewers: {viewers} of the {what}, with something new every {} ms", interval.as_millis()));
                measured.push(watch(&server, &client, &agent, (viewers, what, interval), effort).await?);
            }
        }
        client.delete(&agent).await;
    }
    server.stop()?;

    let columns = [
        "viewers",
        "of the",
        "something new every",
        "p50",
        "p99",
        "server CPU",
        "for each event and viewer",
        "status p50",
        "status p99",
    ];
    let mut table = Table::new("From an agent's byte to its viewers' events", &columns);
    let mut goals = Table::with_goals("Viewers: goals");
    for measured in &measured {
        let Measured { viewers, what, interval, latencies, took, server, status } = measured;
        // With few viewers it is the emulator's and not theirs.
        let each = match *viewers {
            1 => String::new(),
            _ => format!("{:.1} µs", (*server / u32::try_from(latencies.len())?.max(1)).as_secs_f64() * 1e6),
        };
        table.row(&[
            &viewers.to_string(),
            what,
            &format!("{} ms", interval.as_millis()),
            &millis(quantile(latencies, P50)),
            &millis(quantile(latencies, P99)),
            &percent(100.0 * server.as_secs_f64() / took.as_secs_f64()),
            &each,
            &millis(quantile(status, P50)),
            &millis(quantile(status, P99)),
        ]);
        let name = format!("{viewers} of the {what}, something new every {} ms", interval.as_millis());
        let show = |seconds: f64| millis(Duration::from_secs_f64(seconds));
        if *viewers == 1 {
            goals.goal(&format!("{name}: byte to event, p50"), (quantile(latencies, P50).as_secs_f64(), GOAL), show);
        }
        goals.goal(&format!("{name}: status, p99"), (quantile(status, P99).as_secs_f64(), STATUS_GOAL), show);
    }
    table.note(format!(
        "From just before the agent writes to its terminal until the viewer has read the event that shows it, over {} s. The agent \
         redraws a small screen. After a pause, a frame is shown 16 ms after its first byte, and the next no sooner than 40 ms after it.",
        window(effort).as_secs()
    ));
    table.note("All viewers are one thread, which shares the cores with the server and gives way to it (nice 19): those of a server are elsewhere. The status is asked for afterwards, for as long again, 200 times a second.");
    Ok(vec![table, goals])
}

fn window(effort: Effort) -> Duration {
    effort.choose(Duration::from_secs(20), Duration::from_secs(4))
}

/// Starts an agent that shows something new at each interval, and waits until it does.
async fn start(client: &Client, interval: Duration) -> Result<String, Failure> {
    let agent = client.start_agent(&ticking(interval)?.each_ref().map(String::as_str)).await;
    let mut events = client.events(&agent).await;
    events.until("a stamp", |event| event.data["message"].as_str().is_some_and(|text| text.contains('@'))).await;
    Ok(agent)
}

async fn watch(
    server: &Server,
    client: &Client,
    agent: &str,
    (viewers, what, interval): (usize, &'static str, Duration),
    effort: Effort,
) -> Result<Measured, Failure> {
    let source = source(server, client, agent, what)?;
    let audience = Audience::gather(&source, viewers).await?;
    // Whoever comes is told everything at once.
    sleep(10 * INTERVALS[0]).await;
    let (began, before, from) = (Instant::now(), cpu(server.pid())?, programs::now());
    sleep(window(effort)).await;
    let (took, after, to) = (began.elapsed(), cpu(server.pid())?, programs::now());
    let asking = status(server, client, agent)?.ask_steadily();
    sleep(window(effort)).await;
    let status = asking.end()?;
    let latencies = audience.disperse(&(from..to))?;
    Ok(Measured { viewers, what, interval, latencies, took, server: after.saturating_sub(before), status })
}

/// A stream of an agent.
pub(crate) fn source(server: &Server, client: &Client, agent: &str, what: &str) -> Result<Source, Failure> {
    let path = if what == "screen" { format!("{agent}/internal/screen") } else { format!("{agent}/events") };
    let token = client.token.clone().ok_or("not logged in")?;
    Ok(Source { address: server.url.trim_start_matches("http://").parse()?, path, token })
}
