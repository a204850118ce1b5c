//! What may be attached to, and how long it takes to know that something cannot be.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::*;

async fn nothing_is_left(client: &Client) {
    assert_eq!(client.get("/v1/agents").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn fields_that_do_not_fit_are_named() {
    let (_server, client) = start().await;
    let remote = |more: Value| {
        let mut body = json!({"type": "claude", "transport": "remote", "url": "http://127.0.0.1:3284", "token": "s3cret"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    for (body, location) in [
        (json!({"type": "claude", "transport": "remote"}), "body.url"),
        (json!({"type": "custom", "command": ["cat"], "url": "http://127.0.0.1:3284"}), "body.url"),
        (json!({"type": "custom", "command": ["cat"], "token": "s3cret"}), "body.token"),
        (remote(json!({"command": ["cat"]})), "body.command"),
        (remote(json!({"args": ["-v"]})), "body.args"),
        (remote(json!({"env": {"A": "b"}})), "body.env"),
        (remote(json!({"initial_prompt": "hi"})), "body.initial_prompt"),
        (remote(json!({"terminal": {"width": 80, "height": 24}})), "body.terminal"),
        (remote(json!({"url": "ftp://127.0.0.1:3284"})), "body.url"),
        (remote(json!({"url": "http://user:s3cret@127.0.0.1:3284"})), "body.url"),
        (remote(json!({"url": "http://127.0.0.1:3284/?token=s3cret"})), "body.url"),
        (remote(json!({"url": "http://127.0.0.1:3284/#s3cret"})), "body.url"),
        (remote(json!({"token": ""})), "body.token"),
        (remote(json!({"token": "s3cret\r\nx-evil: 1"})), "body.token"),
        (remote(json!({"name": ""})), "body.name"),
    ] {
        let answer = client.post("/v1/agents", body.clone()).await;
        assert_eq!(answer.problem(422), "validation_failed", "{body}");
        assert_eq!(answer.json()["errors"][0]["location"], location, "{}", answer.text);
        assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    }
    nothing_is_left(&client).await;
}

#[tokio::test]
async fn what_is_not_on_the_public_internet_is_refused_unless_its_network_is_named() {
    let stub = Stub::start().await;
    let port = stub.faults.address.port();
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let answer = try_attach(&client, &format!("http://{host}:{port}")).await;
        assert_eq!(answer.problem(422), "validation_failed", "{host}");
        assert_eq!(answer.json()["errors"][0]["location"], "body.url", "{host}");
        assert!(answer.text.contains("AGENT_REMOTE_ALLOWED_NETWORKS"), "{}", answer.text);
    }
    // A public address, but a port of another service: nothing is sent there.
    let answer = try_attach(&client, "http://1.1.1.1:25").await;
    assert_eq!(
        (answer.problem(422).as_str(), &answer.json()["errors"][0]["location"]),
        ("validation_failed", &json!("body.url"))
    );
    nothing_is_left(&client).await;
    // Named is 127.0.0.0/8: not what else leads here.
    let (_server, client) = start().await;
    for host in ["[::1]", "10.0.0.1", "169.254.169.254", "0.0.0.0"] {
        assert_eq!(try_attach(&client, &format!("http://{host}:{port}")).await.problem(422), "validation_failed", "{host}");
    }
    attach(&client, &format!("http://127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn unknown_name_is_answered_as_a_forbidden_one() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let mut answers = Vec::new();
    for host in ["localhost", "127.0.0.1", "no-such-host.invalid", "10.0.0.1"] {
        let answer = try_attach(&client, &format!("http://{host}:3284")).await;
        assert_eq!(answer.problem(422), "validation_failed", "{host}");
        let mut body = answer.json();
        body["request_id"].take();
        answers.push(body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    nothing_is_left(&client).await;
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_not_followed() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    stub.faults.become_(Mode::Answer("302 Found\r\nlocation: http://169.254.169.254/latest/meta-data/")).await;
    let answer = try_attach(&client, &stub.url()).await;
    assert_eq!(answer.problem(502), "upstream_failed");
    assert!(answer.text.contains("redirects are not followed"), "{}", answer.text);
    nothing_is_left(&client).await;
    // Nor later, and not by any other request.
    stub.faults.become_(Mode::Pass).await;
    let agent = attach(&client, &stub.url()).await;
    stub.faults.become_(Mode::Answer("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/message")).await;
    let answer = client.post(&format!("{agent}/message"), json!({"type": "user", "content": "hi"})).await;
    assert_eq!(answer.problem(502), "upstream_failed");
}

#[tokio::test]
async fn remote_agents_take_places_too() {
    let stub = Stub::start().await;
    let server = builder().await.env("AGENT_MAX_RUNNING", "1").start().await;
    let client = server.operator().await;
    let agent = attach(&client, &stub.url()).await;
    assert_eq!(try_attach(&client, &stub.url()).await.problem(503), "agent_limit_reached");
    client.delete(&agent).await.ok();
    attach(&client, &stub.url()).await;
}

#[tokio::test]
async fn a_token_survives_a_change_of_keys_and_a_wrong_one_is_told() {
    let stub = Stub::start_with(Some("the-t0ken")).await;
    let (old, new) = ("a".repeat(64), "b".repeat(64));
    let builder = builder().await;
    let server = builder.clone().env("TOKEN_ENCRYPTION_KEY", &old).start().await;
    let client = server.operator().await;
    assert_eq!(try_attach(&client, &stub.url()).await.problem(502), "upstream_failed");
    let body = json!({"type": "claude", "transport": "remote", "url": stub.url(), "token": "the-t0ken"});
    let answer = client.post("/v1/agents", body).await;
    let agent = answer.header("location").to_owned();
    answer.ok();
    assert_eq!(server.terminate().await, Some(0));
    let rotating = builder.clone().env("TOKEN_ENCRYPTION_KEY", &new).env("TOKEN_ENCRYPTION_KEYS_PREVIOUS", &old);
    let out = rotating.done(&["keys", "rotate"], "").await;
    assert!(out.contains("1 agents"), "{out}");
    let server = builder.env("TOKEN_ENCRYPTION_KEY", &new).start().await;
    let client = server.operator().await;
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    reached(&client, &agent).await;
    client.say(&agent, "hello").await;
}

/// What goes wrong with a remote that is attached to, how long until that is told, and until it is followed again once it is well.
#[tokio::test]
async fn time_to_fail_and_time_to_recover() {
    let mut table = String::from("fault: answer to attaching, after; status 503 after; followed again after\n");
    for (name, mode, code) in [
        ("refuses connections", None, "upstream_failed"),
        ("resets", Some(Mode::Reset), "upstream_failed"),
        ("answers with garbage", Some(Mode::Garbage), "upstream_failed"),
        ("hangs", Some(Mode::Hang), "deadline_exceeded"),
        ("is too slow", Some(Mode::Slow(Duration::from_secs(7))), "deadline_exceeded"),
        ("500", Some(Mode::Answer("500 Oh")), "upstream_failed"),
        ("503", Some(Mode::Answer("503 Oh")), "upstream_failed"),
        ("404", Some(Mode::Answer("404 Oh")), "upstream_failed"),
        ("200 that is no stream", Some(Mode::Answer("200 OK")), "upstream_failed"),
        ("a stream of garbage", Some(Mode::GarbledStream), "upstream_failed"),
    ] {
        let (mut stub, (_server, client)) = (Stub::start().await, start().await);
        let agent = attach(&client, &stub.url()).await;
        match mode {
            Some(mode) => stub.faults.become_(mode).await,
            None => stub.faults.refuse().await,
        }
        let fault = Instant::now();
        let answer = missed(&client, &agent).await;
        let failed = fault.elapsed();
        assert!(["agent_unreachable", "circuit_open"].contains(&answer.problem(503).as_str()), "{name}");
        let asked = Instant::now();
        let answer = try_attach(&client, &stub.url()).await;
        let refused = asked.elapsed();
        assert_eq!(answer.json()["code"], code, "{name}: {}", answer.text);
        stub.faults.become_(Mode::Pass).await;
        let well = Instant::now();
        reached(&client, &agent).await;
        let again = well.elapsed();
        client.say(&agent, "well again").await;
        // A broken connection is noticed at once; an attempt takes 5 s at most, and comes within a few openings of the circuit.
        assert!(failed < Duration::from_secs(5), "{name}: {failed:?}");
        assert!(refused < Duration::from_secs(12), "{name}: {refused:?}");
        assert!(again < Duration::from_secs(25), "{name}: {again:?}");
        writeln!(table, "{name}: {code}, {refused:.1?}; {failed:.1?}; {again:.1?}").expect("text");
    }
    println!("{table}");
}

#[tokio::test]
async fn a_remote_that_answers_in_time_is_not_given_up() {
    let (mut stub, (_server, client)) = (Stub::start().await, start().await);
    stub.faults.become_(Mode::Slow(Duration::from_secs(2))).await;
    let agent = attach(&client, &stub.url()).await;
    client.say(&agent, "take your time").await;
}
