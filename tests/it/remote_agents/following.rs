//! What becomes of a conversation with a remote agent.

use super::*;

#[tokio::test]
async fn a_conversation_passes_through_and_is_kept() {
    let (stub, (_server, client)) = (Stub::start().await, start().await);
    let answer = try_attach(&client, &format!("{}/", stub.url())).await;
    let agent = answer.header("location").to_owned();
    let body = answer.ok();
    let expected =
        json!({"type": "claude", "transport": "remote", "url": stub.url(), "command": [], "terminal": null, "state": "running"});
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&body[field], value, "{field}");
    }
    let mut events = client.events(&agent).await;
    assert_eq!(told(&events.until("the snapshot", is_stable).await), [(0, "ready".to_owned())]);
    let status = client.get(&format!("{agent}/status")).await.ok();
    assert_eq!(status, json!({"status": "stable", "agent_type": "claude", "transport": "remote"}));
    // The message is in the conversation once it was taken.
    client.post(&format!("{agent}/message"), json!({"type": "user", "content": " hello\n"})).await.ok();
    assert!(client.conversation(&agent).await.contains(&("user".to_owned(), "hello".to_owned())));
    let news = events.until("the answer", is_stable).await;
    assert_eq!(news[0].data["status"], "running");
    assert_eq!(told(&news).last(), Some(&(2, "you said hello".to_owned())));
    let whole = said(&[("agent", "ready"), ("user", "hello"), ("agent", "you said hello")]);
    assert_eq!(client.conversation(&agent).await, whole);
    client.delete(&agent).await.ok();
    assert_eq!(client.conversation(&agent).await, whole, "from Postgres");
}

#[tokio::test]
async fn keys_files_and_screens_pass_through() {
    let (stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    client.post(&format!("{agent}/message"), json!({"type": "raw", "content": "\u{1b}[A"})).await.ok();
    assert_eq!(stub.raw(), "\u{1b}[A");
    let part = reqwest::multipart::Part::bytes(vec![7; 1_000_000]).file_name("../a \"b\".bin");
    let request = client.request(reqwest::Method::POST, &format!("{agent}/upload"));
    let answer = client.send(request.multipart(reqwest::multipart::Form::new().part("file", part))).await.ok();
    assert!(answer["filePath"].as_str().expect("text").starts_with("/tmp/agentapi-uploads-1/"), "{answer}");
    let uploads = stub.uploads();
    assert_eq!(uploads.len(), 1);
    assert!(uploads[0].0.starts_with("a ") && uploads[0].1 == vec![7; 1_000_000], "{}", uploads[0].0);
    let mut screens = EventStream::open(client.request(reqwest::Method::GET, &format!("{agent}/internal/screen"))).await;
    screens.until("the newest screen", |event| event.name == "screen" && event.data["screen"] == "two").await;
}

#[tokio::test]
async fn what_the_remote_refuses_is_told_as_by_an_agent_of_ours() {
    let (stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    let say = |content: &'static str| {
        let (client, path) = (client.clone(), format!("{agent}/message"));
        async move { client.post(&path, json!({"type": "user", "content": content})).await }
    };
    assert_eq!(say(" \n").await.problem(422), "validation_failed");
    stub.becomes("running");
    // However often it is asked: a busy agent is no broken server.
    for _ in 0..12 {
        assert_eq!(say("hi").await.problem(409), "agent_busy");
    }
    stub.becomes("stable");
    assert_eq!(say("die").await.problem(504), "agent_unresponsive");
}

#[tokio::test]
async fn a_remote_that_dies_is_missed_and_followed_on_without_loss_or_repetition() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    client.say(&agent, "one").await;
    let mut events = client.events(&agent).await;
    let mut all = events.until("the snapshot", is_stable).await;
    stub.faults.refuse().await;
    let answer = missed(&client, &agent).await;
    assert!(["agent_unreachable", "circuit_open"].contains(&answer.problem(503).as_str()));
    assert!(answer.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    let sent = client.post(&format!("{agent}/message"), json!({"type": "user", "content": "hello?"})).await;
    assert!([502, 503].contains(&sent.status.as_u16()), "{}", sent.text);
    let whole = said(&[("agent", "ready"), ("user", "one"), ("agent", "you said one")]);
    assert_eq!(client.conversation(&agent).await, whole);
    assert_eq!(client.get(&agent).await.ok()["state"], "running");
    // Meanwhile the agent goes on, and somebody else talks to it.
    stub.says("you said one, and more");
    stub.is_told("two");
    stub.faults.become_(Mode::Pass).await;
    let is_two = |event: &Event| event.data["message"].as_str().is_some_and(|text| text.trim() == "you said two");
    all.extend(events.until("what was missed", is_two).await);
    let answers = ["ready", "one", "you said one", "you said one, and more", "two", "you said two"];
    assert_eq!(told(&all).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), answers);
    reached(&client, &agent).await;
    client.say(&agent, "three").await;
    assert_eq!(client.conversation(&agent).await.len(), 7);
}

#[tokio::test]
async fn what_is_queued_for_a_remote_that_is_away_is_said_once_when_it_is_back() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    client.stable(&agent).await;
    stub.faults.refuse().await;
    missed(&client, &agent).await;
    let body = json!({"type": "user", "content": "wait for it"});
    let answer = client.post(&format!("{agent}/message?queue=true"), body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    stub.faults.become_(Mode::Pass).await;
    let whole = said(&[("agent", "ready"), ("user", "wait for it"), ("agent", "you said wait for it")]);
    eventually("it is said", || async { (client.conversation(&agent).await == whole).then_some(()) }).await;
    eventually("nothing waits", || async {
        let queue = client.get(&format!("{agent}/queue")).await.ok();
        (queue["items"] == json!([])).then_some(())
    })
    .await;
    client.say(&agent, "and more").await;
    assert_eq!(client.conversation(&agent).await.len(), 5);
}

#[tokio::test]
async fn streams_that_are_cut_again_and_again_lose_and_repeat_nothing() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    let mut events = client.events(&agent).await;
    let mut all = events.until("the snapshot", is_stable).await;
    for round in 0..5 {
        let text = format!("round {round}");
        stub.is_told(&text);
        stub.faults.become_(Mode::Pass).await;
        let answer = format!("you said {text}");
        let is_answer = |event: &Event| event.data["message"].as_str().is_some_and(|text| text.trim() == answer);
        all.extend(events.until("the round", is_answer).await);
    }
    assert_eq!(told(&all).len(), 11);
    // Who comes back with the id of an event lacks what followed it, and nothing else.
    let request = client.request(reqwest::Method::GET, &format!("{agent}/events")).header("last-event-id", &all[4].id);
    let rest = EventStream::open(request).await.until("the end", |event| event.id == all.last().expect("events").id).await;
    assert_eq!(told(&rest), told(&all[5..]));
}

#[tokio::test]
async fn a_remote_that_begins_anew_does_not_overwrite_what_was_said() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    client.say(&agent, "hello").await;
    stub.faults.refuse().await;
    stub.begins_anew();
    missed(&client, &agent).await;
    stub.faults.become_(Mode::Pass).await;
    reached(&client, &agent).await;
    // Word for word as before.
    client.say(&agent, "hello").await;
    let once = said(&[("agent", "ready"), ("user", "hello"), ("agent", "you said hello")]);
    let twice = [once.clone(), once].concat();
    assert_eq!(client.conversation(&agent).await, twice);
    client.delete(&agent).await.ok();
    assert_eq!(client.conversation(&agent).await, twice, "from Postgres");
    // Attached again it goes on where it was.
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.say(&agent, "bye").await;
    assert_eq!(client.conversation(&agent).await, [twice, said(&[("user", "bye"), ("agent", "you said bye")])].concat());
}

#[tokio::test]
async fn a_server_of_ours_that_comes_back_attaches_again_and_repeats_nothing() {
    let stub = Stub::start().await;
    let builder = builder().await;
    let server = builder.start().await;
    let client = server.operator().await;
    let agent = attach(&client, &stub.url()).await;
    client.say(&agent, "one").await;
    let seen = client.events(&agent).await.until("the first life", is_stable).await;
    assert_eq!(server.terminate().await, Some(0));
    stub.is_told("two");
    let server = builder.start().await;
    let client = server.operator().await;
    assert_eq!(client.get(&agent).await.ok()["state"], "stopped");
    assert_eq!(client.get(&format!("{agent}/status")).await.problem(409), "agent_not_running");
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    reached(&client, &agent).await;
    assert_eq!(client.conversation(&agent).await.len(), 5);
    let last = &seen.last().expect("an event").id;
    let request = client.request(reqwest::Method::GET, &format!("{agent}/events")).header("last-event-id", last);
    let rest = EventStream::open(request).await.until("the second life", is_stable).await;
    // The last message of the first life is told again: it may have changed after it was last told.
    assert_eq!(told(&rest), [(2, "you said one".to_owned()), (3, "two".to_owned()), (4, "you said two".to_owned())]);
}

#[tokio::test]
async fn what_is_no_event_of_the_protocol_is_passed_over() {
    let (stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    let mut events = client.events(&agent).await;
    events.until("the snapshot", is_stable).await;
    stub.sends(": a comment\n\nretry: 1\n\nevent: tomorrow\ndata: {}\n\nevent: message_update\ndata: {no json\n\n");
    stub.sends("event: message_update\ndata: {\"id\":-1,\"role\":\"user\",\"message\":\"x\",\"time\":\"now\"}\n\n");
    stub.sends("event: status_change\ndata: {\"status\":\"confused\"}\n\n");
    stub.sends(&format!("event: message_update\ndata: {}\n\n", "x".repeat(5_000_000)));
    stub.is_told("still there?");
    let news = events.until("the next message", |event| event.data["role"] == "agent").await;
    assert_eq!(told(&news), [(1, "still there?".to_owned()), (2, "you said still there?".to_owned())]);
    assert_eq!(client.get(&format!("{agent}/status")).await.ok()["status"], "stable");
}

#[tokio::test]
async fn circuit_of_a_remote_closes_by_its_event_stream() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    let agent = attach(&client, &stub.url()).await;
    let circuits = || async { client.get("/v1/circuits").await.ok()["items"].clone() };
    for _ in 0..2 {
        stub.faults.refuse().await;
        eventually("its circuit opens", || async {
            // The follower retries ever more seldom, so messages have to fail, too.
            client.post(&format!("{agent}/message"), json!({"type": "user", "content": "hello?"})).await;
            let circuits = circuits().await;
            (circuits[0]["service"].as_str()? == format!("agent:{}", agent.rsplit_once('/')?.1)).then_some(circuits)
        })
        .await;
        stub.faults.become_(Mode::Pass).await;
        reached(&client, &agent).await;
        // The stream is the only call.
        eventually("its circuit is closed", || async { (circuits().await == json!([])).then_some(()) }).await;
    }
}
