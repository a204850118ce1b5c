//! Memory at rest and with idle agents, and what these cost the processor.

use std::time::Duration;

use tokio::time::sleep;

use super::process::{Memory, children, cpu, memory};
use super::report::{Table, mb, megabytes, percent};
use super::server::{Place, Server};
use super::{Effort, Failure};

const AGENTS: u32 = 10;
/// Most memory that the server should have at rest, in MB.
const MEMORY_GOAL: f64 = 40.0;
/// Most of a core that idle agents should cost the server together, in percent.
const CPU_GOAL: f64 = 0.1;
/// Until what has just happened has calmed down: an agent is idle after two seconds, and unused threads end after ten.
const CALM: Duration = Duration::from_secs(12);
/// Log-ins at once, each of which needs 19 MiB for a moment.
const LOG_INS: usize = 8;

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    let place = Place::new(&[])?;
    let server = place.start()?;
    effort.tell("memory: at rest");
    sleep(CALM).await;
    let at_rest = memory(server.pid())?;
    let resting = idle(&server, effort).await?;
    let client = server.operator().await;
    sleep(CALM).await;
    let logged_in = memory(server.pid())?;
    effort.tell(&format!("memory: with {AGENTS} idle agents"));
    for _ in 0..AGENTS {
        let agent = client.start_agent(&["cat"]).await;
        client.stable(&agent).await;
    }
    sleep(CALM).await;
    let with_agents = memory(server.pid())?;
    let idling = idle(&server, effort).await?;
    effort.tell(&format!("memory: after {LOG_INS} log-ins at once"));
    for _ in 0..effort.choose(4, 1) {
        futures_util::future::join_all((0..LOG_INS).map(|_| server.operator())).await;
    }
    sleep(CALM).await;
    let many_log_ins = memory(server.pid())?;
    let postgres = postgres(&server)?;
    server.stop()?;

    let mut table = Table::new("Memory of the server, without its Postgres", &["figure", "goal", "RSS", "PSS", "met"]);
    let met = |memory: Memory| if mb(memory.rss) <= MEMORY_GOAL { "yes" } else { "**no**" };
    let mut row = |what: &str, goal: &str, memory: Memory, met: &str| {
        table.row(&[what, goal, &megabytes(mb(memory.rss)), &megabytes(mb(memory.pss)), met]);
    };
    row("at rest, after its start", &format!("≤ {}", megabytes(MEMORY_GOAL)), at_rest, met(at_rest));
    row("at rest, after a log-in", &format!("≤ {}", megabytes(MEMORY_GOAL)), logged_in, met(logged_in));
    row(&format!("with {AGENTS} idle agents"), "", with_agents, "");
    let per_agent = |of: fn(Memory) -> u64| of(with_agents).saturating_sub(of(logged_in)) / u64::from(AGENTS);
    row("for each of these agents", "", Memory { rss: per_agent(|memory| memory.rss), pss: per_agent(|memory| memory.pss) }, "");
    row(&format!("with these agents, after rounds of {LOG_INS} log-ins at once"), "", many_log_ins, "");
    table.note("1 MB is 10⁶ bytes. An agent is `cat`, type `custom`, in a terminal of the default size (80 × 1000).");
    table.note(format!("Its embedded Postgres, all processes together: {} PSS.", megabytes(mb(postgres))));

    let mut costs = Table::with_goals("Processor time while nothing happens, of one core");
    costs.figure("server without agents", &percent(resting.server));
    costs.goal(&format!("server with {AGENTS} idle agents"), (idling.server, CPU_GOAL), percent);
    costs.figure(&format!("the {AGENTS} agents' own processes"), &percent(idling.agents));
    costs.note(format!("Over {} s, from `/proc/<pid>/task/*/schedstat`; the embedded Postgres apart.", window(effort).as_secs()));
    Ok(vec![table, costs])
}

fn window(effort: Effort) -> Duration {
    effort.choose(Duration::from_secs(20), Duration::from_secs(5))
}

/// Processor time of a window, in percent of a core.
struct Idle {
    server: f64,
    agents: f64,
}

async fn idle(server: &Server, effort: Effort) -> Result<Idle, Failure> {
    let agents = children(server.pid())?.into_iter().filter(|(_, name)| name != "postgres").map(|(pid, _)| pid);
    let agents: Vec<u32> = agents.collect();
    let used = || -> Result<(Duration, Duration), Failure> {
        let own = agents.iter().try_fold(Duration::ZERO, |sum, &pid| cpu(pid).map(|time| sum + time))?;
        Ok((cpu(server.pid())?, own))
    };
    let (server_before, agents_before) = used()?;
    let began = std::time::Instant::now();
    sleep(window(effort)).await;
    let (server_after, agents_after) = used()?;
    let share =
        |before: Duration, after: Duration| 100.0 * after.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    Ok(Idle { server: share(server_before, server_after), agents: share(agents_before, agents_after) })
}

/// PSS of the server's Postgres: the postmaster and its children.
fn postgres(server: &Server) -> Result<u64, Failure> {
    let mut sum = 0;
    for (postmaster, _) in children(server.pid())?.into_iter().filter(|(_, name)| name == "postgres") {
        sum += memory(postmaster)?.pss;
        for (child, _) in children(postmaster)? {
            sum += memory(child).map_or(0, |memory| memory.pss);
        }
    }
    Ok(sum)
}
