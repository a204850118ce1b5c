//! Memory at rest, and after what needs much of it for a moment.

use std::time::Duration;

use tokio::time::sleep;

use super::process::{Memory, children, memory};
use super::report::{Table, mb, megabytes};
use super::server::{Place, Server};
use super::{Effort, Failure};

/// Most memory that the server should have at rest, in MB.
const GOAL: f64 = 40.0;
/// Until what has just happened has calmed down: unused threads end after ten seconds.
const CALM: Duration = Duration::from_secs(12);
/// Log-ins at once, each of which needs 19 MiB for a moment.
const LOG_INS: usize = 8;

pub(crate) async fn measure(effort: Effort) -> Result<Table, Failure> {
    let place = Place::new(&[])?;
    let server = place.start()?;
    effort.tell("memory: at rest");
    sleep(CALM).await;
    let at_rest = memory(server.pid())?;
    server.operator().await;
    sleep(CALM).await;
    let logged_in = memory(server.pid())?;
    effort.tell(&format!("memory: after {LOG_INS} log-ins at once"));
    for _ in 0..effort.choose(4, 1) {
        futures_util::future::join_all((0..LOG_INS).map(|_| server.operator())).await;
    }
    sleep(CALM).await;
    let many_log_ins = memory(server.pid())?;
    let postgres = postgres(&server)?;
    server.stop()?;

    let mut table = Table::new("Memory of the server, without its Postgres", &["figure", "goal", "RSS", "PSS", "met"]);
    let mut row = |what: &str, memory: Memory| {
        let met = if mb(memory.rss) <= GOAL { "yes" } else { "**no**" };
        let goal = format!("≤ {}", megabytes(GOAL));
        table.row(&[what, &goal, &megabytes(mb(memory.rss)), &megabytes(mb(memory.pss)), met]);
    };
    row("at rest, after its start", at_rest);
    row("at rest, after a log-in", logged_in);
    row(&format!("at rest, after rounds of {LOG_INS} log-ins at once"), many_log_ins);
    table.note("1 MB is 10⁶ bytes.");
    table.note(format!("Its embedded Postgres, all processes together: {} PSS.", megabytes(mb(postgres))));
    Ok(table)
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
