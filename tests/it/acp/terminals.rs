//! Commands that an agent has run for it.

use rustix::process::test_kill_process;
use serde_json::json;

use super::{operator, say, start};
use crate::support::eventually;

#[tokio::test]
async fn an_agent_has_commands_run_in_its_workspace() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({"env": {"COLOUR": "green"}})).await;
    let work = say(&client, &agent, "where").await;
    assert_eq!(say(&client, &agent, "terminal printf $COLOUR && pwd").await, format!("green{work}"));
    assert_eq!(say(&client, &agent, "terminals 20").await, "refused: there are 16 terminals: release one first");
    assert_eq!(say(&client, &agent, "unknown terminal/resize").await, "refused: Method not found");
}

#[tokio::test]
async fn whatever_an_agent_started_ends_with_it() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let work = say(&client, &agent, "where").await;
    say(&client, &agent, "start 4242").await;
    say(&client, &agent, &format!("terminal setsid sleep 4243 >/dev/null 2>&1 & echo $! > {work}/pid")).await;
    say(&client, &agent, "terminals 2").await;
    let started = eventually("what was started", || async {
        let found = processes(&work);
        (found.len() >= 4).then_some(found)
    })
    .await;
    client.delete(&agent).await.ok();
    eventually("all are gone", || async {
        started.iter().all(|process| test_kill_process(*process).is_err() || is_zombie(*process)).then_some(())
    })
    .await;
}

/// Processes whose working directory is `folder`.
fn processes(folder: &str) -> Vec<rustix::process::Pid> {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(rustix::process::Pid::from_raw));
    pids.filter(|pid| {
        let cwd = std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
        cwd.is_ok_and(|cwd| cwd.to_str() == Some(folder))
    })
    .collect()
}

fn is_zombie(process: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}
