//! How agents end.

use std::fs;

use super::{
    Duration, LiveAgent, SendError, SpawnError, Store, TaskTracker, options, script, stable, start, start_with, until_screen,
    until_stable, within,
};
use crate::domain::AgentState;

/// Whether a process lives; one that waits to be reaped by its parent does not.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !matches!(fields.trim_start().chars().next(), Some('Z' | 'X')))
}

/// Process ids that the program printed, one a line behind `pid `.
fn pids(agent: &LiveAgent) -> Vec<String> {
    agent.screen().lines().filter_map(|line| line.strip_prefix("pid ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_program_that_exits_ends_the_agent_with_its_code_and_last_words() {
    let store = Store::default();
    let (agent, mut events) = start_with(script("echo bye; exit 7"), store.clone());
    let ended = within(agent.wait_ended()).await;
    assert_eq!((ended.stopped, ended.exit_code, ended.signal, ended.state()), (false, Some(7), None, AgentState::Exited));
    assert_eq!(agent.ended(), Some(ended));
    assert_eq!(&*agent.screen(), "bye");
    assert_eq!(store.contents(), ["bye"]);
    while within(events.next()).await.is_some() {}
    assert_eq!(within(events.next()).await, None);
    let mut late = agent.subscribe(None);
    assert!(within(late.next()).await.is_some() && within(late.next()).await.is_some());
    assert_eq!(within(late.next()).await, None);
    assert_eq!(agent.send_user("hi").await, Err(SendError::Ended));
    assert_eq!(agent.send_raw("hi").await, Err(SendError::Ended));
    assert_eq!(within(agent.stop(Duration::ZERO)).await, ended, "it had ended already");
}

#[tokio::test]
async fn a_program_sees_the_environment_it_was_given_and_nothing_else() {
    let (agent, _events) = start(options("env", &[]));
    within(agent.wait_ended()).await;
    let screen = agent.screen();
    let mut names: Vec<_> = screen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    names.retain(|name| !matches!(*name, "LANG" | "LC_ALL" | "TZ"));
    assert_eq!(names, ["AGENTAPI_AGENT", "HOME", "PATH", "TERM"], "{screen}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the server has more than that");
}

#[tokio::test]
async fn a_program_that_is_killed_ends_the_agent_with_the_signal() {
    let (agent, _events) = start(script("kill -9 $$"));
    let ended = within(agent.wait_ended()).await;
    assert_eq!((ended.stopped, ended.exit_code, ended.signal), (false, None, Some(9)));
}

#[tokio::test]
async fn a_polite_program_is_stopped_at_once() {
    let (agent, _events) = start(script("trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.02; done"));
    until_screen(&agent, |screen| screen == "up").await;
    let ended = within(agent.stop(Duration::from_secs(60))).await;
    assert_eq!((ended.stopped, ended.exit_code, ended.state()), (true, Some(3), AgentState::Stopped));
    assert!(agent.screen().contains("asked"));
}

#[tokio::test]
async fn a_program_that_ignores_being_asked_is_killed_with_all_it_started() {
    // A child in the group, and one in a group of its own, as a shell with job control starts them.
    let stubborn = "trap '' TERM HUP; sh -c 'echo pid $$; exec sleep 1000' & \
         bash -c 'set -m; sh -c \"echo pid \\$\\$; exec sleep 1000\" & wait' & echo pid $$; wait; sleep 1000";
    let (agent, _events) = start(script(stubborn));
    until_screen(&agent, |screen| screen.matches("pid ").count() == 3).await;
    let pids = pids(&agent);
    assert!(pids.iter().all(|pid| lives(pid)), "{pids:?}");
    let (first, second) =
        within(async { tokio::join!(agent.stop(Duration::from_secs(50)), agent.stop(Duration::from_millis(100))) }).await;
    assert_eq!(first, second, "stopping twice is stopping once, with the shorter grace");
    assert_eq!((first.stopped, first.signal), (true, Some(9)));
    until_dead(&pids).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_killed_when_it_exits() {
    let (agent, _events) = start(script("trap '' HUP; sh -c 'trap \"\" HUP; echo pid $$; exec sleep 1000' & sleep 0.1; exit 0"));
    let ended = within(agent.wait_ended()).await;
    assert_eq!(ended.exit_code, Some(0));
    let pids = pids(&agent);
    assert_eq!(pids.len(), 1, "{:?}", agent.screen());
    until_dead(&pids).await;
}

#[tokio::test]
async fn a_daemon_that_left_the_session_is_killed_with_the_agent() {
    let daemon = "setsid sh -c 'trap \"\" HUP TERM; echo pid $$; exec sleep 1000' & wait; sleep 1000";
    let (agent, _events) = start(script(daemon));
    until_screen(&agent, |screen| screen.contains("pid ")).await;
    let pids = pids(&agent);
    assert!(lives(&pids[0]));
    within(agent.stop(Duration::from_secs(5))).await;
    until_dead(&pids).await;
}

#[tokio::test]
async fn an_agent_that_nobody_holds_is_stopped() {
    let tasks = TaskTracker::new();
    let agent = LiveAgent::spawn(script("echo pid $$; exec cat"), Store::default(), &tasks).unwrap();
    until_screen(&agent, |screen| screen.contains("pid ")).await;
    let pids = pids(&agent);
    drop(agent);
    tasks.close();
    within(tasks.wait()).await;
    assert!(!lives(&pids[0]));
}

#[test]
fn an_agent_does_not_outlive_its_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (agent, pids) = runtime.block_on(async {
        let (agent, _events) = start(script("trap '' TERM HUP; sh -c 'echo pid $$; exec sleep 1000' & echo pid $$; wait"));
        until_screen(&agent, |screen| screen.matches("pid ").count() == 2).await;
        let pids = pids(&agent);
        (agent, pids)
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert!(within(agent.wait_ended()).await.stopped);
        until_dead(&pids).await;
    });
}

#[tokio::test]
async fn a_message_on_its_way_ends_with_the_agent() {
    let (agent, mut events) = stable(script("stty -echo; exec sleep 1000")).await;
    let (sent, _) = within(async {
        tokio::join!(agent.send_user("hi"), async {
            // The claim shows before the end is asked for.
            events.next().await.unwrap();
            agent.stop(Duration::from_secs(5)).await
        })
    })
    .await;
    assert_eq!(sent, Err(SendError::Ended));
}

#[tokio::test]
async fn a_store_that_never_works_does_not_keep_an_agent_from_ending() {
    let (agent, mut events) = start_with(options("cat", &[]), Store::failing(u32::MAX));
    until_stable(&mut events).await;
    within(agent.stop(Duration::from_secs(5))).await;
}

#[tokio::test]
async fn programs_that_cannot_be_started_are_told_apart() {
    let spawn = |program: &str| LiveAgent::spawn(options(program, &[]), Store::default(), &TaskTracker::new()).map(drop);
    for missing in ["no-such-program", "/no/such/program", "./no-such-program"] {
        assert!(matches!(spawn(missing), Err(SpawnError::NotFound { program }) if program == missing));
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    fs::write(&data, "data").unwrap();
    assert!(matches!(spawn(&data), Err(SpawnError::NotExecutable { program }) if program == data));
    assert!(matches!(spawn("/tmp"), Err(SpawnError::NotExecutable { .. })));
    assert!(matches!(spawn(""), Err(SpawnError::Invalid(_))));

    let mut astray = options("cat", &[]);
    astray.launch.directory = folder.path().join("missing");
    let result = LiveAgent::spawn(astray, Store::default(), &TaskTracker::new()).map(drop);
    assert!(matches!(result, Err(SpawnError::Io(_))), "{result:?}");
}

/// Waits for the kernel to finish killing: polls, since other people's children send us no signal.
async fn until_dead(pids: &[String]) {
    within(async {
        while pids.iter().any(|pid| lives(pid)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
