//! The state file: conversations that outlive their server.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{ECHO, Event, SingleBuilder, eventually};

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

fn state(builder: &SingleBuilder) -> Value {
    let text = std::fs::read_to_string(builder.path("deep/er/state.json")).expect("the state file");
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    serde_json::from_str(&text).expect("JSON")
}

fn builder() -> SingleBuilder {
    SingleBuilder::new(&ECHO).flags(&["--state-file", "deep/er/state.json"])
}

fn texts(value: &Value) -> Vec<&str> {
    value["messages"].as_array().expect("messages").iter().map(|message| message["message"].as_str().expect("text")).collect()
}

#[tokio::test]
async fn a_conversation_goes_on_after_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let first = builder();
    let single = first.clone().flags(&["-I", "hello"]).start_stable().await;
    let before = single.client.get("/messages").await.ok();
    assert_eq!(single.stop(Signal::INT).await.code, Some(0));
    let kept = state(&first);
    assert_eq!(texts(&kept), ["", "hello", "you said hello"]);
    assert_eq!(
        (&kept["version"], &kept["initial_prompt"], &kept["initial_prompt_sent"]),
        (&json!(1), &json!("hello"), &json!(true))
    );
    let mut keys: Vec<_> = kept["messages"][0].as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(keys, ["id", "message", "role", "time"]);
    let mode = |name: &str| std::fs::metadata(first.path(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("deep"), mode("deep/er"), mode("deep/er/state.json")), (0o700, 0o700, 0o600));

    for prompt in [&["-I", "hello"][..], &[]] {
        let single = first.clone().flags(prompt).start_stable().await;
        let after = single.client.get("/messages").await.ok();
        assert_eq!(after["messages"], before["messages"], "the same prompt, or none, is not sent again");
        assert_eq!(single.stop(Signal::INT).await.code, Some(0));
        assert_eq!(state(&first), kept, "nothing happened, nothing is written");
    }

    let single = first.clone().flags(&["-I", "something else"]).start_stable().await;
    let five = ["", "hello", "you said hello", "something else", "you said something else"];
    let said: Vec<String> = single.client.conversation("").await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, five);
    assert_eq!(single.stop(Signal::HUP).await.code, Some(0));
    let kept = state(&first);
    assert_eq!((texts(&kept), &kept["initial_prompt"]), (five.to_vec(), &json!("something else")));
}

#[tokio::test]
async fn a_prompt_that_was_not_sent_waits_for_the_next_start() {
    let builder = builder();
    std::fs::create_dir_all(builder.path("deep/er")).expect("made");
    let kept = json!({"version": 1, "messages": [], "initial_prompt": "waiting", "initial_prompt_sent": false});
    std::fs::write(builder.path("deep/er/state.json"), kept.to_string()).expect("written");
    let single = builder.start_stable().await;
    assert_eq!(single.client.conversation("").await[1].1, "waiting");
    single.stop(Signal::TERM).await;
    assert_eq!(state(&builder)["initial_prompt_sent"], true);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_of_and_kept_aside() {
    let message = |id: i64| json!({"id": id, "message": "x", "role": "agent", "time": "2026-04-10T20:30:30Z"});
    let out_of_order = json!({"version": 1, "messages": [message(1), message(0)]}).to_string();
    for (content, expected) in [
        ("", "failed to unmarshal state (corrupted or invalid JSON): "),
        ("{\"version\":1,\"mess", "failed to unmarshal state (corrupted or invalid JSON): "),
        ("[]", "unsupported state file version null (expected 1)"),
        ("{\"version\":9,\"messages\":[]}", "unsupported state file version 9 (expected 1)"),
        ("{\"version\":1,\"messages\":[{\"id\":\"0\"}]}", "failed to unmarshal state (corrupted or invalid JSON): "),
        (&out_of_order, "failed to unmarshal state (corrupted or invalid JSON): the messages are not in order"),
    ] {
        let builder = builder();
        std::fs::create_dir_all(builder.path("deep/er")).expect("made");
        std::fs::write(builder.path("deep/er/state.json"), content).expect("written");
        let single = builder.start().await;
        for _ in 0..2 {
            let mut events = single.client.events("").await;
            let told = events.until("the warning", |event| event.name == "agent_error").await;
            let names: Vec<_> = told.iter().map(|event| event.name.as_str()).collect();
            assert_eq!(names, ["message_update", "status_change", "agent_error"], "{told:?}");
            let warning = &told[2].data;
            assert_eq!(warning["level"], "warning");
            let text = warning["message"].as_str().expect("text");
            assert!(text.starts_with(&format!("Failed to restore previous session: {expected}")), "{content}: {text}");
        }
        let aside = std::fs::read_to_string(builder.path("deep/er/state.json.unreadable")).expect("kept");
        assert_eq!(aside, content);
    }
}

#[tokio::test]
async fn loading_and_saving_can_be_turned_off() {
    let builder = builder();
    std::fs::create_dir_all(builder.path("deep/er")).expect("made");
    // As the reference writes it.
    let kept = "{\"version\":1,\"messages\":[{\"id\":0,\"message\":\"from \\u003cbefore\\u003e\",\"role\":\"agent\",\
                \"time\":\"2026-04-10T15:52:23.426558635-05:00\"}],\"initial_prompt\":\"\",\"initial_prompt_sent\":false}\n";
    std::fs::write(builder.path("deep/er/state.json"), kept).expect("written");
    let single = builder.clone().env("TZ", "UTC").flags(&["--save-state=false"]).start_stable().await;
    single.client.say("", "hello").await;
    let first = single.client.get("/messages").await.ok()["messages"][0].clone();
    assert_eq!((&first["content"], &first["time"]), (&json!("from <before>"), &json!("2026-04-10T20:52:23.426558635Z")));
    single.stop(Signal::TERM).await;
    assert_eq!(std::fs::read_to_string(builder.path("deep/er/state.json")).expect("there"), kept);
    let single = builder.clone().flags(&["--load-state=false"]).start_stable().await;
    assert_eq!(single.client.conversation("").await[0].1, "");
    single.client.say("", "hello").await;
    single.stop(Signal::TERM).await;
    assert_eq!(texts(&state(&builder)), ["", "hello", "you said hello"]);
}

#[tokio::test]
async fn what_was_said_survives_a_crash() {
    let builder = builder();
    let single = builder.start_stable().await;
    single.client.say("", "hello").await;
    assert_eq!(single.stop(Signal::KILL).await.code, None);
    assert_eq!(texts(&state(&builder)), ["", "hello", "you said hello"]);
}

#[tokio::test]
async fn a_signal_keeps_what_is_being_said() {
    // Never quiet for long enough to settle.
    let busy = ["bash", "-c", "read -rp '> ' _; for i in {1..600}; do echo line $i; read -rt 0.1; done"];
    let builder = SingleBuilder::new(&busy).flags(&["--state-file", "deep/er/state.json"]);
    let single = builder.start_stable().await;
    single.client.post("/message", json!({"type": "user", "content": "go"})).await.ok();
    let mut events = single.client.events("").await;
    events.until("some lines", |event| event.data["message"].as_str().is_some_and(|text| text.contains("line 5"))).await;
    single.signal(Signal::USR1);
    eventually("the lines are in the file", || async {
        let text = std::fs::read_to_string(builder.path("deep/er/state.json")).ok()?;
        text.contains("line 5").then_some(())
    })
    .await;
    assert_eq!(single.client.get("/status").await.ok()["status"], "running");
}

#[tokio::test]
async fn what_an_agent_shows_while_it_is_stopped_is_not_kept() {
    let parting =
        "trap 'printf \"\\e[2J\\e[Hgood-bye\"; exit 0' TERM; while read -rp '> ' line; do echo \"you said $line\"; done";
    let builder = SingleBuilder::new(&["bash", "-c", parting]).flags(&["--state-file", "deep/er/state.json"]);
    let single = builder.start_stable().await;
    single.client.say("", "hello").await;
    let mut events = single.client.events("").await;
    events.until("the snapshot", is_stable).await;
    assert_eq!(single.stop(Signal::TERM).await.code, Some(0));
    assert_eq!(texts(&state(&builder)), ["", "hello", "you said hello"]);
}
