//! What agents cost while nothing happens.

use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::process::{Memory, children, cpu, memory, own_cpu};
use super::report::{Table, mb, megabytes, percent};
use super::server::{Place, Server};
use super::{Effort, Failure};

/// Agents at once, one measurement each.
const AGENTS: [u32; 3] = [1, 50, 200];
/// Most memory for an agent, in MB.
const MEMORY_GOAL: f64 = 4.0;
/// Most of a core for an agent, and for the most agents together, in percent.
const CPU_GOALS: [f64; 2] = [0.05, 5.0];
/// Until what has just happened has calmed down: an agent is idle after two seconds, and unused threads end after ten.
const CALM: Duration = Duration::from_secs(12);
/// Agents that are started at the same time.
const AT_ONCE: u32 = 25;

/// A server with so many agents.
struct Idle {
    agents: u32,
    memory: Memory,
    /// In percent of a core.
    server: f64,
    /// The same of the agents' own processes.
    programs: f64,
}

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    let place = Place::new(&[("AGENT_MAX_RUNNING", "200")])?;
    let server = place.start()?;
    let client = server.operator().await;
    let mut measured = vec![idle(&server, 0, effort).await?];
    for agents in AGENTS {
        let running = measured.last().map_or(0, |last| last.agents);
        for begun in (running..agents).step_by(AT_ONCE as usize) {
            join_all((begun..agents.min(begun + AT_ONCE)).map(|_| async {
                let agent = client.start_agent(&["cat"]).await;
                client.stable(&agent).await;
            }))
            .await;
        }
        measured.push(idle(&server, agents, effort).await?);
    }
    server.stop()?;
    let nothing = tokio::task::spawn_blocking(move || wake_for_nothing(window(effort))).await??;

    let Some((none, some)) = measured.split_first() else { return Ok(Vec::new()) };
    let met = |met: bool| if met { "yes" } else { "**no**" };
    let mut costs = Table::new(
        "Idle agents: processor time, of one core",
        &["agents", "server", "for each agent", "goal", "met", "the agents' own processes"],
    );
    costs.row(&["0", &percent(none.server), "", "", "", ""]);
    for idle in some {
        let each = idle.server / f64::from(idle.agents);
        let last = Some(&idle.agents) == AGENTS.last();
        let goals = [each <= CPU_GOALS[0], !last || idle.server <= CPU_GOALS[1]];
        let together = if last { format!(", ≤ {} together", percent(CPU_GOALS[1])) } else { String::new() };
        costs.row(&[
            &idle.agents.to_string(),
            &percent(idle.server),
            &percent(each),
            &format!("≤ {} each{together}", percent(CPU_GOALS[0])),
            met(goals == [true; 2]),
            &percent(idle.programs),
        ]);
    }
    costs.row(&["1, coder/agentapi 0.12.1", "", "8.5 %", "", "", ""]);
    costs.note(format!(
        "Over {} s in which nothing happens, once it has been quiet for {} s; from `/proc/<pid>/task/*/schedstat`; the embedded \
         Postgres apart. “for each agent” counts what the server costs without any.",
        window(effort).as_secs(),
        CALM.as_secs()
    ));
    costs.note(format!(
        "To compare, in the same run: a thread that wakes once a second and does nothing took {}.",
        percent(nothing)
    ));
    costs.note("The figure of coder/agentapi was measured elsewhere, not in this run.");

    let mut memories =
        Table::new("Idle agents: memory of the server", &["agents", "RSS", "PSS", "for each agent", "goal", "met"]);
    memories.row(&["0", &megabytes(mb(none.memory.rss)), &megabytes(mb(none.memory.pss)), "", "", ""]);
    for idle in some {
        let each = mb(idle.memory.rss.saturating_sub(none.memory.rss)) / f64::from(idle.agents);
        memories.row(&[
            &idle.agents.to_string(),
            &megabytes(mb(idle.memory.rss)),
            &megabytes(mb(idle.memory.pss)),
            &megabytes(each),
            &format!("≤ {}", megabytes(MEMORY_GOAL)),
            met(each <= MEMORY_GOAL),
        ]);
    }
    memories.row(&["1, coder/agentapi 0.12.1", "31 MB", "", "31 MB", "", ""]);
    memories.note("An agent is `cat`, type `custom`, in a terminal of the default size (80 × 1000). 1 MB is 10⁶ bytes. “for each agent” is what RSS is more than without any. The first brings in what the next need no more: code of the server, and 2 MB that the making of a terminal needs for a moment.");
    memories.note("coder/agentapi is a process an agent; its figure was measured elsewhere, not in this run.");
    Ok(vec![costs, memories])
}

fn window(effort: Effort) -> Duration {
    effort.choose(Duration::from_secs(20), Duration::from_secs(5))
}

/// What a thread costs that wakes once a second and does nothing, in percent of a core: what waking costs here.
fn wake_for_nothing(window: Duration) -> Result<f64, Failure> {
    let (before, began) = (own_cpu()?, Instant::now());
    while began.elapsed() < window {
        thread::sleep(Duration::from_secs(1));
    }
    let (after, took) = (own_cpu()?, began.elapsed());
    Ok(100.0 * after.saturating_sub(before).as_secs_f64() / took.as_secs_f64())
}

async fn idle(server: &Server, agents: u32, effort: Effort) -> Result<Idle, Failure> {
    effort.tell(&format!("idle: {agents} agents"));
    sleep(CALM).await;
    let programs = children(server.pid())?.into_iter().filter(|(_, name)| name != "postgres").map(|(pid, _)| pid);
    let programs: Vec<u32> = programs.collect();
    if programs.len() != agents as usize {
        return Err(format!("{} agents run in place of {agents}", programs.len()).into());
    }
    let used = || -> Result<(Duration, Duration), Failure> {
        let own = programs.iter().try_fold(Duration::ZERO, |sum, &pid| cpu(pid).map(|time| sum + time))?;
        Ok((cpu(server.pid())?, own))
    };
    let (server_before, programs_before) = used()?;
    let began = Instant::now();
    sleep(window(effort)).await;
    let (server_after, programs_after) = used()?;
    let took = began.elapsed().as_secs_f64();
    let share = |before: Duration, after: Duration| 100.0 * after.saturating_sub(before).as_secs_f64() / took;
    Ok(Idle {
        agents,
        memory: memory(server.pid())?,
        server: share(server_before, server_after),
        programs: share(programs_before, programs_after),
    })
}
