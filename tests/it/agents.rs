//! Agents: starting, talking to, watching and stopping them.

use reqwest::{Method, multipart};
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use crate::support::{Client, Event, EventStream, Server, ServerBuilder, TestDatabase, eventually};

async fn operator() -> (ServerBuilder, Server, Client) {
    let builder = ServerBuilder::new(&TestDatabase::create().await);
    let server = builder.start().await;
    let client = server.operator().await;
    (builder, server, client)
}

fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts.iter().map(|&(role, text)| (role.to_owned(), text.to_owned())).collect()
}

#[tokio::test]
async fn a_user_talks_to_an_agent_and_reads_its_answers() {
    let (_, _server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    let status = client.get(&format!("{agent}/status")).await.ok();
    assert_eq!(status, json!({"status": "stable", "asks": false, "agent_type": "custom", "transport": "pty"}));
    client.say(&agent, "hello").await;
    client.say(&agent, "hello").await;
    let said = ("agent", "you said hello");
    assert_eq!(client.conversation(&agent).await, pairs(&[("agent", ""), ("user", "hello"), said, ("user", "hello"), said]));
}

#[tokio::test]
async fn a_watcher_is_told_everything_in_order() {
    let (_, _server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    let mut events = client.events(&agent).await;
    let is_status = |event: &Event, status: &str| event.name == "status_change" && event.data["status"] == status;
    let snapshot = events.until("the snapshot", |event| is_status(event, "stable")).await;
    assert_eq!((snapshot.len(), snapshot[0].name.as_str(), &snapshot[0].data["id"]), (2, "message_update", &json!(0)));
    client.post(&format!("{agent}/message"), json!({"type": "user", "content": "hello"})).await.ok();
    let told = events.until("stable again", |event| is_status(event, "stable")).await;
    assert!(is_status(&told[0], "running"), "{told:?}");
    assert_eq!((&told[1].data["role"], &told[1].data["message"]), (&json!("user"), &json!("hello")));
    let last = &told[told.len() - 2];
    assert_eq!((&last.data["id"], last.data["message"].as_str().map(str::trim)), (&json!(2), Some("you said hello")));
    let keys: std::collections::BTreeSet<_> = last.data.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "message", "role", "time"].into());
    client.delete(&agent).await.ok();
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn the_screen_can_be_watched_and_raw_keys_are_passed_on() {
    let (_, _server, client) = operator().await;
    let agent = client.start_agent(&["bash", "-c", "read -rsn1 key; echo \"key $key\"; sleep 60"]).await;
    let mut screens = EventStream::open(client.request(Method::GET, &format!("{agent}/internal/screen"))).await;
    client.post(&format!("{agent}/message"), json!({"type": "raw", "content": "q"})).await.ok();
    let shown = |event: &Event| event.name == "screen" && event.data["screen"].as_str().is_some_and(|s| s.contains("key q"));
    screens.until("the key's echo", shown).await;
}

#[tokio::test]
async fn a_busy_or_ended_agent_takes_no_message() {
    let (_, _server, client) = operator().await;
    let agent = client.start_agent(&["bash", "-c", "read -rp '> ' line; echo working; sleep 600"]).await;
    client.stable(&agent).await;
    let message = json!({"type": "user", "content": "go"});
    let path = format!("{agent}/message");
    client.post(&path, message.clone()).await.ok();
    assert_eq!(client.post(&path, message.clone()).await.problem(409), "agent_busy");
    let empty = client.post(&path, json!({"type": "user", "content": " \n"})).await;
    assert_eq!(
        (empty.problem(422).as_str(), &empty.json()["errors"][0]["location"]),
        ("validation_failed", &json!("body.content"))
    );
    let stopped = client.delete(&agent).await.ok();
    assert_eq!((&stopped["state"], stopped["ended_at"].is_string()), (&json!("stopped"), true));
    assert_eq!(client.delete(&agent).await.ok()["state"], "stopped");
    for path in ["status", "internal/screen"] {
        assert_eq!(client.get(&format!("{agent}/{path}")).await.problem(409), "agent_not_running", "{path}");
    }
    assert_eq!(client.post(&path, message).await.problem(409), "agent_not_running");
    assert_eq!(client.conversation(&agent).await[1], ("user".to_owned(), "go".to_owned()));
}

/// Asks for leave before each answer, as Claude Code draws it.
const ASKS: &str = r#"printf '> '; while IFS= read -r said; do
    printf '\033[2J\033[HDo you want to proceed?\n \342\235\257 1. Yes\n   2. No\n\nEsc to cancel\n'; IFS= read -r answer
    printf '\033[2J\033[Hanswered %s\n> ' "$answer"
done"#;

#[tokio::test]
async fn an_agent_that_asks_takes_an_answer_in_keys_before_any_message() {
    let (_, _server, client) = operator().await;
    let body = json!({"type": "claude", "command": ["bash", "-c", ASKS]});
    let started = client.post("/v1/agents", body).await;
    let agent = started.header("location").to_owned();
    started.ok();
    client.stable(&agent).await;
    let (path, status) = (format!("{agent}/message"), format!("{agent}/status"));
    client.say(&agent, "it").await;
    let asks = client.get(&status).await.ok();
    assert_eq!((&asks["status"], &asks["asks"]), (&json!("stable"), &json!(true)));
    assert!(client.conversation(&agent).await.last().expect("messages").1.contains("Do you want to proceed?"));
    // Typed and handed in, it would choose “Yes”.
    let no = json!({"type": "user", "content": "no, do not"});
    assert_eq!(client.post(&path, no).await.problem(409), "agent_asks");
    let queued = client.post(&format!("{path}?queue=true"), json!({"type": "user", "content": "next"})).await;
    assert_eq!(queued.status, 202);
    client.post(&path, json!({"type": "raw", "content": "2\r"})).await.ok();
    let (user, agent_says) = (("user".to_owned(), "next".to_owned()), ("agent".to_owned(), "answered 2".to_owned()));
    let said = eventually("the queued message is said once the question is answered", || async {
        let said = client.conversation(&agent).await;
        said.contains(&user).then_some(said)
    })
    .await;
    let place = said.iter().position(|message| *message == user).expect("it was said");
    assert_eq!(said[place - 1], agent_says);
}

#[tokio::test]
async fn an_answer_longer_than_the_screen_is_whole_and_its_events_are_bounded() {
    let (_, _server, client) = operator().await;
    let script = "read -rp '> ' _; for i in {1..2500}; do printf '%079d\\n' $i; done; read -rp '> ' _";
    let agent = client.start_agent(&["bash", "-c", script]).await;
    client.stable(&agent).await;
    client.say(&agent, "go").await;
    let expected: Vec<String> = (1..=2500).map(|number| format!("{number:079}")).collect();
    let (_, answer) = client.conversation(&agent).await.pop().expect("messages");
    assert_eq!(answer, expected.join("\n"));
    let is_stable = |event: &Event| event.name == "status_change" && event.data["status"] == "stable";
    let told = client.events(&agent).await.until("the snapshot", is_stable).await;
    let shown = told[2].data["message"].as_str().expect("text");
    assert!(shown.len() < 128 * 1024 && shown.ends_with(&expected[2499]) && shown.contains("GET messages"));
    let mut events = EventStream::open(client.request(Method::GET, &format!("{agent}/events?resume=true"))).await;
    let told = events.until("the snapshot", is_stable).await;
    assert_eq!(told[2].data["message"], answer.as_str());
}

#[tokio::test]
async fn an_agent_that_exits_is_told_with_its_code() {
    let (_, _server, client) = operator().await;
    let agent = client.start_agent(&["bash", "-c", "echo bye; exit 7"]).await;
    let ended = client.in_state(&agent, "exited").await;
    assert_eq!(ended["exit_code"], 7);
    assert_eq!(client.conversation(&agent).await, pairs(&[("agent", "bye")]));
}

#[tokio::test]
async fn a_restarted_agent_goes_on_where_it_was() {
    let (_, _server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "one").await;
    for _ in 0..2 {
        let restarted = client.post_nothing(&format!("{agent}/restart")).await.ok();
        assert_eq!(restarted["state"], "running");
    }
    client.stable(&agent).await;
    client.say(&agent, "two").await;
    let conversation = client.conversation(&agent).await;
    assert_eq!(conversation[..3], pairs(&[("agent", ""), ("user", "one"), ("agent", "you said one")]));
    assert_eq!(conversation[conversation.len() - 2..], pairs(&[("user", "two"), ("agent", "you said two")]));
    let listed = client.get("/v1/agents").await.ok();
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);
}

#[tokio::test]
async fn a_conversation_is_read_page_by_page_alive_and_ended() {
    let (_, _server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "one").await;
    client.say(&agent, "two").await;
    for is_over in [false, true] {
        let whole = client.get(&format!("{agent}/messages")).await.ok();
        let all = whole["messages"].as_array().expect("messages");
        for (query, part, next) in [
            ("limit=2", 0..2, json!(1)),
            ("after=1&limit=2", 2..4, json!(3)),
            ("after=3&limit=2", 4..5, Value::Null),
            ("after=1", 2..5, Value::Null),
            ("after=-5&limit=5", 0..5, Value::Null),
            ("after=4", 5..5, Value::Null),
            ("after=9223372036854775807", 5..5, Value::Null),
        ] {
            let page = client.get(&format!("{agent}/messages?{query}")).await.ok();
            assert_eq!(page, json!({"messages": all[part], "next": next}), "{query}, {is_over}");
        }
        for wrong in ["limit=0", "limit=101", "limit=all", "limit="] {
            let answer = client.get(&format!("{agent}/messages?{wrong}")).await;
            assert_eq!(answer.problem(422), "validation_failed", "{wrong}");
            let error = &answer.json()["errors"][0];
            assert_eq!(
                (&error["location"], &error["message"]),
                (&json!("query.limit"), &json!("expected a whole number from 1 to 100"))
            );
        }
        assert_eq!(client.get(&format!("{agent}/messages?after=first")).await.problem(422), "validation_failed");
        client.delete(&agent).await.ok();
    }
}

#[tokio::test]
async fn a_killed_server_loses_no_settled_message_and_its_agents_are_lost() {
    let (builder, server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "remember me").await;
    let told = client.conversation(&agent).await;
    server.kill().await;
    let server = builder.start().await;
    let client = server.operator().await;
    assert_eq!(client.get(&agent).await.ok()["state"], "lost");
    assert_eq!(client.conversation(&agent).await, told);
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.stable(&agent).await;
    client.say(&agent, "again").await;
    assert_eq!(client.conversation(&agent).await.last(), Some(&("agent".to_owned(), "you said again".to_owned())));
}

#[tokio::test]
async fn a_user_message_is_safe_once_it_is_answered() {
    let (builder, server, client) = operator().await;
    let agent = client.start_agent(&["bash", "-c", "while read -rp '> ' line; do echo busy; sleep 600; done"]).await;
    client.stable(&agent).await;
    client.post(&format!("{agent}/message"), json!({"type": "user", "content": "now"})).await.ok();
    server.kill().await;
    let server = builder.start().await;
    assert_eq!(server.operator().await.conversation(&agent).await[1], ("user".to_owned(), "now".to_owned()));
}

#[tokio::test]
async fn a_stopping_server_takes_its_agents_along_and_ends_streams() {
    let (builder, server, client) = operator().await;
    let agent = client.start_agent(&["bash", "-c", "trap '' TERM HUP; sleep 600 & echo pid $! end; wait"]).await;
    let pid = eventually("the agent's child is known", || async {
        let (_, text) = client.conversation(&agent).await.into_iter().next()?;
        text.strip_prefix("pid ")?.strip_suffix(" end")?.parse::<i32>().ok()
    })
    .await;
    let mut events = client.events(&agent).await;
    events.next().await.expect("an event");
    let started = std::time::Instant::now();
    assert_eq!(server.terminate().await, Some(0));
    assert!(started.elapsed() < std::time::Duration::from_secs(12), "{:?}", started.elapsed());
    while events.next().await.is_some() {}
    let pid = Pid::from_raw(pid).expect("a pid");
    eventually("the agent's child is gone", || async { test_kill_process(pid).is_err().then_some(()) }).await;
    let server = builder.start().await;
    assert_eq!(server.operator().await.get(&agent).await.ok()["state"], "stopped");
}

#[tokio::test]
async fn an_agent_gets_nothing_of_the_servers_secrets() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database)
        .env("TOKEN_ENCRYPTION_KEY", &"e".repeat(64))
        .env("PASSED_ON", "yes")
        .env("NOT_PASSED_ON", "no")
        .env("AGENT_ENV_PASSTHROUGH", "PASSED_ON,DATABASE_URL,TOKEN_ENCRYPTION_KEY")
        .start()
        .await;
    let client = server.operator().await;
    let body = json!({"type": "custom", "command": ["bash", "-c", "env | cut -d= -f1 | sort; echo done; sleep 600"], "env": {"OWN": "1"}});
    let answer = client.post("/v1/agents", body).await;
    let agent = answer.header("location").to_owned();
    assert!(!answer.text.contains("OWN"), "the environment is not shown: {}", answer.text);
    client.stable(&agent).await;
    let (_, text) = client.conversation(&agent).await.remove(0);
    let names: Vec<&str> = text.lines().map(str::trim).filter(|name| !matches!(*name, "_" | "PWD" | "SHLVL" | "done")).collect();
    assert_eq!(names, ["AGENTAPI_AGENT", "HOME", "OWN", "PASSED_ON", "PATH", "TERM"]);
}

#[tokio::test]
async fn an_initial_prompt_is_said_once_the_agent_is_ready() {
    let (_, _server, client) = operator().await;
    let command = json!(["bash", "-c", "while read -rp '> ' line; do echo \"you said $line\"; done"]);
    let body = json!({"type": "custom", "command": command, "initial_prompt": "first things first"});
    let agent = client.post("/v1/agents", body).await.header("location").to_owned();
    eventually("the prompt is answered", || async {
        client.conversation(&agent).await.contains(&("agent".to_owned(), "you said first things first".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn agents_are_listed_page_by_page_newest_first() {
    let (_, _server, client) = operator().await;
    let mut created = Vec::new();
    for _ in 0..5 {
        created.insert(0, client.start_agent(&["cat"]).await);
    }
    let (mut listed, mut next) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/agents?limit=2{next}")).await.ok();
        let ids = page["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id").to_owned());
        listed.extend(ids.map(|id| format!("/v1/agents/{id}")));
        match page["next"].as_str() {
            Some(after) => next = format!("&after={after}"),
            None => break,
        }
    }
    assert_eq!(listed, created);
}

#[tokio::test]
async fn a_server_runs_no_more_agents_than_it_may() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).env("AGENT_MAX_RUNNING", "1").start().await;
    let client = server.operator().await;
    let first = client.start_agent(&["cat"]).await;
    let body = json!({"type": "custom", "command": ["cat"]});
    assert_eq!(client.post("/v1/agents", body.clone()).await.problem(503), "agent_limit_reached");
    client.delete(&first).await.ok();
    client.post("/v1/agents", body).await.ok();
    assert_eq!(client.post_nothing(&format!("{first}/restart")).await.problem(503), "agent_limit_reached");
}

#[tokio::test]
async fn files_are_uploaded_where_the_agent_can_read_them() {
    let (_, _server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    let upload = |parts: Vec<(&'static str, &'static str, usize)>| {
        let form = parts.into_iter().fold(multipart::Form::new(), |form, (part, name, bytes)| {
            form.part(part, multipart::Part::bytes(vec![b'x'; bytes]).file_name(name))
        });
        client.send(client.request(Method::POST, &format!("{agent}/upload")).multipart(form))
    };
    let answer = upload(vec![("file", "../../notes.txt", 5)]).await.ok();
    let path = std::path::PathBuf::from(answer["filePath"].as_str().expect("a path"));
    assert_eq!(path.file_name().and_then(|name| name.to_str()), Some("notes.txt"));
    assert_eq!(std::fs::read(&path).expect("the file"), b"xxxxx");
    let id = agent.rsplit('/').next().expect("an id");
    assert!(path.components().any(|component| component.as_os_str() == id), "{}", path.display());
    upload(vec![("file", "large", 10 * 1024 * 1024)]).await.ok();
    assert_eq!(upload(vec![("file", "larger", 10 * 1024 * 1024 + 1)]).await.problem(413), "payload_too_large");
    assert_eq!(upload(vec![]).await.problem(422), "validation_failed");
    assert_eq!(upload(vec![("other", "name", 1)]).await.problem(422), "validation_failed");
    assert_eq!(upload(vec![("file", "a", 1), ("file", "b", 1)]).await.problem(422), "validation_failed");
}
