//! From the start of the program to its readiness, on its embedded database.

use std::time::Duration;

use super::report::{P50, Table, quantile, seconds};
use super::server::Place;
use super::{Effort, Failure};

/// Longest that a start on an existing database should take.
const GOAL: f64 = 1.0;

pub(crate) async fn measure(effort: Effort) -> Result<Table, Failure> {
    effort.tell("startup: the first start makes a database");
    let place = Place::new(&[])?;
    let start = || -> Result<Duration, Failure> {
        let server = place.start()?;
        let took = server.took;
        server.stop()?;
        Ok(took)
    };
    let first = start()?;
    let runs = effort.choose(20, 5);
    effort.tell(&format!("startup: {runs} starts on an existing database"));
    let mut took = Vec::new();
    for _ in 0..runs {
        took.push(start()?);
        // Lets a signal be seen.
        tokio::task::yield_now().await;
    }
    took.sort_unstable();
    let mut table = Table::with_goals("Start to ready, no `DATABASE_URL`");
    table.figure("first start: makes a database with `initdb`", &seconds(first.as_secs_f64()));
    table.goal("later starts, p50", (quantile(&took, P50).as_secs_f64(), GOAL), seconds);
    table.goal("later starts, slowest", (took.last().copied().unwrap_or_default().as_secs_f64(), GOAL), seconds);
    table.note(format!(
        "{runs} later starts, each after an orderly stop; from starting the process to its line “agentapi is ready at …”, start of \
         its Postgres included. Files are in the page cache."
    ));
    Ok(table)
}
