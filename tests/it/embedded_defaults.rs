//! `agentapi serve` with an empty environment.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Server, ServerBuilder, eventually};

/// The first operator, with the password that the server made and said.
async fn operator_as_said(server: &mut Server) -> (Client, String) {
    let said = server.says("    -d ").await;
    let password =
        said.lines().find_map(|line| line.strip_prefix("Its password, shown this once: ")).expect("a password").to_owned();
    assert!(said.contains(&format!("curl -s {}/v1/auth/login", server.url)), "{said}");
    assert!(said.contains(&format!(r#"{{"tenant":"default","email":"admin@localhost","password":"{password}"}}"#)), "{said}");
    (server.anonymous().log_in("default", "admin@localhost", &password).await, password)
}

/// Whether a Postgres runs on the data directory.
fn postgres_runs(data_dir: &Path) -> bool {
    let data = data_dir.join("postgres/data");
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok()).any(|cwd| cwd == data)
}

#[tokio::test]
async fn it_works_says_how_to_log_in_once_and_keeps_what_it_was_told() {
    let builder = ServerBuilder::embedded();
    let mut server = builder.start().await;
    let (client, password) = operator_as_said(&mut server).await;
    let status = server.anonymous().get("/status").await.ok();
    assert_eq!((&status["status"], &status["checks"]["redis"]), (&json!("ok"), &json!({"status": "disabled", "mode": "memory"})));
    assert_eq!(client.post("/v1/agents", json!({"type": "custom", "command": ["cat"]})).await.problem(422), "validation_failed");
    assert_eq!(server.terminate().await, Some(0));
    assert!(!postgres_runs(builder.data_dir()), "Postgres is stopped with its server");

    let server = builder.start().await;
    server.anonymous().log_in("default", "admin@localhost", &password).await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_killed_server_leaves_nothing_that_the_next_start_trips_over() {
    let builder = ServerBuilder::embedded().env("AGENTAPI_ADMIN_PASSWORD", crate::support::PASSWORD);
    let server = builder.start().await;
    server.operator().await;
    server.kill().await;
    // Killed without a word, it left its Postgres running.
    assert!(postgres_runs(builder.data_dir()));
    let server = builder.start().await;
    server.operator().await;
    assert_eq!(server.terminate().await, Some(0));
    assert!(!postgres_runs(builder.data_dir()));
}

#[tokio::test]
async fn postgres_killed_under_the_server_comes_back() {
    let builder = ServerBuilder::embedded().env("AGENTAPI_ADMIN_PASSWORD", crate::support::PASSWORD);
    let server = builder.start().await;
    let client = server.operator().await;
    let pid = std::fs::read_to_string(builder.data_dir().join("postgres/data/postmaster.pid")).expect("a pid file");
    let pid = pid.lines().next().and_then(|line| line.parse().ok()).and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
    eventually("Postgres is back", || async { (client.get("/v1/agents").await.status == 200).then_some(()) }).await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_tools_work_beside_the_first() {
    let builder = ServerBuilder::embedded().env("AGENTAPI_ADMIN_PASSWORD", crate::support::PASSWORD);
    let server = builder.start().await;
    let (code, _, error) = builder.run(&["serve"], "").await;
    assert_eq!(code, Some(1));
    assert!(error.contains("another agentapi server") && error.contains("AGENTAPI_DATA_DIR"), "{error}");
    let (code, listed, error) = builder.run(&["tenant", "list"], "").await;
    assert_eq!((code, listed.split('\t').nth(1)), (Some(0), Some("default")), "{error}");
    server.operator().await.get("/v1/agents").await.ok();
    assert_eq!(server.terminate().await, Some(0));
    let (code, listed, _) = builder.run(&["tenant", "list"], "").await;
    assert_eq!((code, listed.lines().count()), (Some(0), 1), "and without it");
    assert!(!postgres_runs(builder.data_dir()));
}

#[tokio::test]
async fn an_agent_asked_to_stop_with_the_server_is_not_lost() {
    let builder = ServerBuilder::embedded()
        .env("AGENTAPI_ADMIN_PASSWORD", crate::support::PASSWORD)
        .env("AGENT_ALLOW_CUSTOM_COMMANDS", "true");
    let server = builder.start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "hello").await;
    let started = std::time::Instant::now();
    assert_eq!(server.terminate().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let client = builder.start().await;
    let operator = client.operator().await;
    assert_eq!(operator.get(&agent).await.ok()["state"], "stopped");
    assert_eq!(operator.conversation(&agent).await.last(), Some(&("agent".to_owned(), "you said hello".to_owned())));
    assert_eq!(client.terminate().await, Some(0));
}
