//! `agentapi server --experimental-acp`: one agent that speaks the Agent Client Protocol.

use rustix::process::Signal;
use serde_json::json;

use crate::support::SingleBuilder;

/// The scripted agent, begun in this way.
fn scripted(mode: &str) -> SingleBuilder {
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/acp-agent.sh");
    SingleBuilder::new(&["bash", agent, mode]).flags(&["--experimental-acp", "--type", "claude"])
}

#[tokio::test]
async fn an_agent_without_a_terminal_is_spoken_to_by_the_same_protocol() {
    let single = scripted("plain").start_stable().await;
    let status = single.client.get("/status").await.ok();
    assert_eq!((&status["status"], &status["agent_type"]), (&json!("stable"), &json!("claude")));
    assert_eq!(status["transport"], "acp");
    for _ in 0..2 {
        single.client.say("", "say one ;say two").await;
        let said = single.client.conversation("").await;
        assert_eq!(
            said[said.len() - 2..],
            [("user", "say one ;say two"), ("agent", "one two")].map(|(a, b)| (a.into(), b.into()))
        );
    }
    assert_eq!(single.client.get("/internal/screen").await.status, 500);
    let keys = single.client.post("/message", json!({"type": "raw", "content": "x"})).await;
    assert!(keys.status == 500 && keys.text.contains("takes no keystrokes"), "{}", keys.text);
    assert_eq!(single.stop(Signal::TERM).await.code, Some(0));
}

#[tokio::test]
async fn what_it_asks_leave_for_is_granted_and_files_are_those_of_its_directory() {
    let builder = scripted("plain");
    let file = builder.path("note").display().to_string();
    let single = builder.start_stable().await;
    single.client.say("", &format!("permission this;say  and ;write {file} text;say  ;read {file}")).await;
    assert_eq!(single.client.conversation("").await.last().expect("messages").1, "yes and ok text");
    assert_eq!(std::fs::read_to_string(builder.path("note")).expect("written"), "text");
    let outside = "read /etc/hostname";
    single.client.say("", outside).await;
    assert!(single.client.conversation("").await.last().expect("messages").1.starts_with("refused"));
}

#[tokio::test]
async fn escape_cancels_what_it_works_on() {
    let single = scripted("plain").start_stable().await;
    single.client.post("/message", json!({"type": "user", "content": "say begun ;until-cancelled"})).await.ok();
    single.client.post("/message", json!({"type": "raw", "content": "\u{1b}"})).await.ok();
    single.client.stable("").await;
    assert_eq!(single.client.conversation("").await.last().expect("messages").1, "begun");
}

#[tokio::test]
async fn it_ends_as_its_agent_ends_and_at_once_if_that_cannot_be_spoken_to() {
    let single = scripted("plain").start_stable().await;
    single.client.post("/message", json!({"type": "user", "content": "exit 7"})).await.ok();
    let end = single.end().await;
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(end.stderr.contains("agent exited with error: ACP process exited: 7"), "{}", end.stderr);
    for (mode, expected) in
        [("dies", "its last words were: no licence found"), ("noise", "does not speak"), ("auth", "signed in")]
    {
        let end = scripted(mode).run().await;
        assert_eq!(end.code, Some(1), "{mode}: {}", end.stderr);
        assert!(end.stderr.contains("Error starting process: ") && end.stderr.contains(expected), "{mode}: {}", end.stderr);
    }
}

#[tokio::test]
async fn a_prompt_is_said_first() {
    let single = scripted("plain").flags(&["--initial-prompt", "say hello"]).start_stable().await;
    assert_eq!(
        single.client.conversation("").await,
        [("user", "say hello"), ("agent", "hello")].map(|(a, b)| (a.into(), b.into()))
    );
}
