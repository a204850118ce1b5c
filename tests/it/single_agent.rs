//! One agent at the root: what is said to it and what comes back.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Client, ECHO, Event, SingleBuilder};

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
}

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

async fn post(client: &Client, content: &str) -> crate::support::Answer {
    client.post("/message", json!({"type": "user", "content": content})).await
}

#[tokio::test]
async fn a_greeting_a_message_and_its_answer_are_three_messages() {
    let single = SingleBuilder::scripted("|0|Hello! How can I help?\nhello there|0|Hi, I am an agent.\n").start_stable().await;
    single.client.say("", "hello there").await;
    let expected = said(&[("agent", "Hello! How can I help?"), ("user", "hello there"), ("agent", "Hi, I am an agent.")]);
    assert_eq!(single.client.conversation("").await, expected);
}

#[tokio::test]
async fn an_agent_that_thinks_is_running_until_it_has_answered() {
    let script = "|0|Ready.\nwork on it|3000|First line.\\nSecond line.\n";
    let single = SingleBuilder::scripted(script).start_stable().await;
    let mut events = single.client.events("").await;
    events.until("the greeting", is_stable).await;
    post(&single.client, "work on it").await.ok();
    assert_eq!(single.client.get("/status").await.ok()["status"], "running");
    let busy = post(&single.client, "more").await;
    assert_eq!(busy.status, 500);
    assert_eq!(busy.json()["detail"], "unexpected error occurred");
    let expected = "failed to send message: message can only be sent when the agent is waiting for user input";
    assert_eq!(busy.json()["errors"], json!([{"message": expected}]));
    events.until("the answer", is_stable).await;
    let expected = said(&[("agent", "Ready."), ("user", "work on it"), ("agent", "First line.\nSecond line.")]);
    assert_eq!(single.client.conversation("").await, expected);
}

#[tokio::test]
async fn the_same_question_gets_a_full_answer_each_time() {
    let script = "|0|Ready.\n".to_owned() + &"again|0|The same answer.\n".repeat(4);
    let single = SingleBuilder::scripted(&script).start_stable().await;
    for _ in 0..4 {
        single.client.say("", "again").await;
    }
    let exchange = [("user", "again"), ("agent", "The same answer.")];
    let expected = [&[("agent", "Ready.")][..], &exchange.repeat(4)].concat();
    // An agent that draws its whole screen anew shows the answers before as well.
    let conversation = single.client.conversation("").await;
    assert_eq!(conversation.len(), expected.len(), "{conversation:?}");
    for ((role, text), (expected_role, expected_text)) in conversation.iter().zip(&expected) {
        assert_eq!(role, expected_role);
        assert!(text.ends_with(expected_text), "{conversation:?}");
    }
}

#[tokio::test]
async fn what_is_piped_in_is_the_first_message() {
    let single = SingleBuilder::new(&ECHO).stdin("hello agent\n").start().await;
    let mut events = single.client.events("").await;
    let told = events.until("the answer", is_stable).await;
    assert!(told.iter().any(|event| event.data["message"] == "hello agent"), "not stable before the prompt was sent: {told:?}");
    let expected = said(&[("agent", ""), ("user", "hello agent"), ("agent", "you said hello agent")]);
    assert_eq!(single.client.conversation("").await, expected);
}

#[tokio::test]
async fn a_prompt_of_a_flag_leaves_standard_input_alone() {
    let single = SingleBuilder::new(&ECHO).flags(&["-I", "  from the flag\n"]).stdin("piped").start_stable().await;
    let expected = said(&[("agent", ""), ("user", "from the flag"), ("agent", "you said from the flag")]);
    assert_eq!(single.client.conversation("").await, expected);
}

#[tokio::test]
async fn a_pipe_that_stays_open_keeps_nobody_waiting_and_is_sent_once_it_closes() {
    let mut single = SingleBuilder::new(&ECHO).open_stdin().start_stable().await;
    single.client.say("", "first").await;
    let mut events = single.client.events("").await;
    events.until("the snapshot", is_stable).await;
    let mut stdin = single.stdin.take().expect("open");
    stdin.write_all(b"late prompt\n").await.expect("it reads");
    drop(stdin);
    events.until("the late answer", is_stable).await;
    let conversation = single.client.conversation("").await;
    assert_eq!(conversation[3..], said(&[("user", "late prompt"), ("agent", "you said late prompt")]));
}

#[tokio::test]
async fn an_open_pipe_does_not_keep_a_server_from_stopping() {
    let single = SingleBuilder::new(&ECHO).open_stdin().start_stable().await;
    assert_eq!(single.stop(rustix::process::Signal::TERM).await.code, Some(0));
}

#[tokio::test]
async fn messages_are_trimmed_and_keys_are_passed_on_as_they_are() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    for blank in ["", " \t\r\n\x0b\x0c"] {
        let answer = post(&single.client, blank).await;
        assert_eq!(answer.status, 500, "{blank:?}");
        assert_eq!(answer.json()["errors"], json!([{"message": "failed to send message: message must not be empty"}]));
    }
    single.client.say("", " \n trimmed \t").await;
    let mut events = single.client.events("").await;
    events.until("the snapshot", is_stable).await;
    let raw = json!({"type": "raw", "content": "keys\r", "$schema": "https://example.com/x.json"});
    assert_eq!(single.client.post("/message", raw).await.ok()["ok"], true);
    events.until("what the keys did", is_stable).await;
    let conversation = single.client.conversation("").await;
    assert_eq!(conversation[1], ("user".to_owned(), "trimmed".to_owned()));
    assert_eq!(conversation.len(), 3, "keys are not recorded: {conversation:?}");
    assert!(conversation[2].1.ends_with("you said keys"), "{conversation:?}");
    assert_eq!(single.client.post("/message", json!({"type": "raw", "content": ""})).await.ok()["ok"], true);
}

#[tokio::test]
async fn an_agent_that_does_not_react_is_a_failure_in_the_words_of_the_reference() {
    let silent = ["bash", "-c", "stty -echo; printf '> '; while read -r _; do :; done"];
    let single = SingleBuilder::new(&silent).start_stable().await;
    let answer = post(&single.client, "is anybody there?").await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    let expected =
        "failed to send message: failed to send message: failed to wait for processing to start: timeout waiting for condition";
    assert_eq!(answer.json()["errors"], json!([{"message": expected}]));
    assert_eq!(single.client.conversation("").await.len(), 1, "it is not in the conversation");
}

#[tokio::test]
async fn reads_do_not_wait_for_a_message_on_its_way() {
    let silent = ["bash", "-c", "stty -echo; printf '> '; while read -r _; do :; done"];
    let single = SingleBuilder::new(&silent).start_stable().await;
    let mut sending = std::pin::pin!(post(&single.client, "nobody answers this"));
    let mut events = single.client.events("").await;
    let running = events.until("that it is being sent", |event| event.data["status"] == "running");
    tokio::select! {
        answer = &mut sending => panic!("{}", answer.text),
        _ = running => {}
    }
    let reads = async {
        for path in ["/status", "/messages"] {
            single.client.get(path).await.ok();
        }
        single.client.post("/message", json!({"type": "raw", "content": "x"})).await.ok();
    };
    tokio::select! {
        answer = &mut sending => panic!("the reads waited: {}", answer.text),
        () = reads => {}
    }
}

#[tokio::test]
async fn files_are_uploaded_by_the_rules_of_the_reference() {
    use reqwest::multipart::{Form, Part};
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let upload = |form: Form| single.client.send(single.client.request(Method::POST, "/upload").multipart(form));
    let file = |name: &'static str, bytes: Vec<u8>| Part::bytes(bytes).file_name(name);
    let answer = upload(Form::new().part("file", file("../../a b.txt", b"hello\n".to_vec()))).await.ok();
    let path = answer["filePath"].as_str().expect("a path").to_owned();
    assert!(path.starts_with("/tmp/agentapi-uploads-") && path.ends_with("/5891b5b522d5df08/a b.txt"), "{path}");
    assert_eq!(std::fs::read(&path).expect("the file"), b"hello\n");
    let again = upload(Form::new().part("file", file("a b.txt", b"hello\n".to_vec()))).await.ok();
    assert_eq!(again["filePath"], path.as_str());
    for (name, expected) in [("größe.txt", "/größe.txt"), ("empty", "/empty")] {
        let answer = upload(Form::new().part("file", file(name, Vec::new()))).await.ok();
        assert!(answer["filePath"].as_str().is_some_and(|path| path.ends_with(expected)), "{answer}");
    }
    let most = 10 * 1024 * 1024;
    upload(Form::new().part("file", file("most", vec![b'x'; most]))).await.ok();
    for over in [most + 1, most + 1024 * 1024] {
        let answer = upload(Form::new().part("file", file("more", vec![b'x'; over]))).await;
        assert_eq!((answer.status.as_u16(), answer.json()["detail"].as_str()), (400, Some("file size exceeds 10MB limit")));
    }
    let several = Form::new().part("file", file("a", vec![1])).part("file", file("b", vec![2]));
    for (form, message) in [
        (Form::new().part("other", file("a", vec![1])), "File required"),
        (Form::new().text("file", "no file"), "File required"),
        (several, "Multiple files received but only one was expected"),
    ] {
        let answer = upload(form).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert_eq!(answer.json()["detail"], "validation failed");
        assert_eq!(answer.json()["errors"], json!([{"message": message, "location": "file"}]));
    }
    let no_form = single.client.post("/upload", json!({})).await;
    let expected = "cannot read multipart form: request Content-Type isn't multipart/form-data";
    assert_eq!(no_form.status, 422);
    assert_eq!(no_form.json()["errors"], json!([{"message": expected, "location": "body"}]));
    let folder = std::path::Path::new(&path).parent().and_then(std::path::Path::parent).expect("a folder").to_owned();
    assert_eq!(single.stop(rustix::process::Signal::TERM).await.code, Some(0));
    assert!(!folder.exists(), "uploads are gone with the server");
}

#[tokio::test]
async fn message_bodies_are_validated_as_the_reference_does() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let post = |content_type: Option<&'static str>, body: String| {
        let request = single.client.request(Method::POST, "/message").body(body);
        single.client.send(content_type.into_iter().fold(request, |request, value| request.header("content-type", value)))
    };
    let whole = json!({"content": "x"});
    let wrong: [(&str, u16, &str, Value); 9] = [
        (
            r#"{"content":"x"}"#,
            422,
            "validation failed",
            json!([{"message": "expected required property type to be present", "location": "body", "value": whole}]),
        ),
        (r#"{"content":"x","type":"bogus"}"#, 422, "validation failed", json!([{"location": "body.type", "value": "bogus"}])),
        (r#"{"content":"x","type":"User"}"#, 422, "validation failed", json!([{"location": "body.type", "value": "User"}])),
        (
            r#"{"content":7,"type":"raw"}"#,
            422,
            "validation failed",
            json!([{"message": "expected string", "location": "body.content", "value": 7}]),
        ),
        (
            r#"{"content":"","type":"raw","no":1}"#,
            422,
            "validation failed",
            json!([{"message": "unexpected property", "location": "body.no", "value": {"content": "", "type": "raw", "no": 1}}]),
        ),
        ("[1]", 422, "validation failed", json!([{"message": "expected object", "location": "body", "value": [1]}])),
        ("7", 422, "validation failed", json!([{"message": "expected object", "location": "body", "value": 7}])),
        ("", 400, "request body is required", Value::Null),
        (
            "{",
            400,
            "validation failed",
            json!([{"message": "EOF while parsing an object at line 1 column 1", "location": "body", "value": "{"}]),
        ),
    ];
    for (body, status, detail, errors) in wrong {
        let answer = post(None, body.to_owned()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!((&problem["detail"], &problem["errors"]), (&json!(detail), &errors), "{body}");
        assert_eq!(problem["status"], status);
        assert!(problem["$schema"].as_str().is_some_and(|schema| schema.ends_with("/schemas/ErrorModel.json")), "{problem}");
    }
    let raw = r#"{"Content":"","TYPE":"raw"}"#;
    for good in [None, Some("application/json"), Some("application/json; charset=utf-8"), Some("json"), Some("a/b+json")] {
        assert_eq!(post(good, raw.to_owned()).await.ok()["ok"], true, "{good:?}");
    }
    let unknown = post(Some("text/plain"), raw.to_owned()).await;
    assert_eq!(unknown.status, 415);
    let expected = json!([{"message": "unknown content type: text/plain", "location": "body", "value": raw}]);
    assert_eq!(unknown.json()["errors"], expected);
    let twice = post(None, r#"{"content":7,"content":"","type":"raw"}"#.to_owned()).await;
    assert_eq!(twice.ok()["ok"], true, "the last of two counts");
    let frame = r#"{"type":"raw","content":""}"#.len();
    let body = |length: usize| format!(r#"{{"type":"raw","content":"{}"}}"#, " ".repeat(length - frame));
    let too_large = post(None, body(1_048_576)).await;
    assert_eq!((too_large.status.as_u16(), too_large.json()["title"].as_str()), (413, Some("Request Entity Too Large")));
    assert_eq!(too_large.json()["detail"], "request body is too large limit=1048576 bytes");
    assert_eq!(post(None, body(1_048_575)).await.status, 500, "an agent is given no more than 64 KiB at once");
}
