//! Wrong requests, and what is said of them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, ECHO, ServerBuilder, SingleBuilder, TestDatabase};

async fn operator() -> (crate::support::Server, Client) {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    (server, client)
}

async fn field_error(client: &Client, body: Value) -> (String, String) {
    let answer = client.post("/v1/agents", body).await;
    assert_eq!(answer.problem(422), "validation_failed");
    let error = answer.json()["errors"][0].clone();
    (error["location"].as_str().expect("a location").to_owned(), error["message"].as_str().expect("a message").to_owned())
}

#[tokio::test]
async fn a_wrong_field_is_named_with_what_was_expected() {
    let (_server, client) = operator().await;
    let command = json!(["cat"]);
    for (body, location, message) in [
        (json!({}), "body", "missing field `type`"),
        (json!({"type": "hal9000"}), "body.type", "unknown variant `hal9000`, expected one of `claude`"),
        (json!({"type": 7}), "body.type", "invalid type"),
        (json!({"type": "custom"}), "body.command", "expected program and arguments"),
        (json!({"type": "custom", "command": []}), "body.command", "expected a program"),
        (json!({"type": "custom", "command": ["no-such-program"]}), "body.command", "\"no-such-program\" was not found"),
        (json!({"type": "custom", "command": ["/etc/passwd"]}), "body.command", "not executable"),
        (json!({"type": "custom", "command": command, "transport": "carrier-pigeon"}), "body.transport", "unknown variant"),
        (json!({"type": "custom", "command": command, "colour": "red"}), "body.colour", "unknown field `colour`"),
        (
            json!({"type": "custom", "command": command, "terminal": {"width": 9, "height": 20}}),
            "body.terminal",
            "from 10 to 1000",
        ),
        (json!({"type": "custom", "command": command, "terminal": {"width": 80}}), "body.terminal", "missing field `height`"),
        (json!({"type": "custom", "command": command, "env": {"A=B": "x"}}), "body.env.A=B", "expected a name"),
        (json!({"type": "custom", "command": command, "env": {"A": "x\0y"}}), "body.env.A", "none of them NUL"),
        (json!({"type": "custom", "command": command, "name": ""}), "body.name", "1 to 200 characters"),
        (json!({"type": "custom", "command": command, "name": "  "}), "body.name", "1 to 200 characters"),
        (json!({"type": "custom", "command": command, "name": "a\u{0}b"}), "body.name", "none of them a control character"),
        (json!({"type": "custom", "command": command, "name": "a\u{1b}[31mb"}), "body.name", "none of them a control character"),
        (json!({"type": "custom", "command": command, "name": "a\nb"}), "body.name", "none of them a control character"),
        (json!({"type": "custom", "command": command, "name": "a\u{202e}b"}), "body.name", "none of them a control character"),
        (
            json!({"type": "custom", "command": command, "initial_prompt": "x".repeat(65537)}),
            "body.initial_prompt",
            "at most 65536",
        ),
    ] {
        let (actual_location, actual_message) = field_error(&client, body.clone()).await;
        assert_eq!(actual_location, location, "{body}: {actual_message}");
        assert!(actual_message.contains(message), "{body}: {actual_message}");
    }
    // Nothing was half applied.
    assert_eq!(client.get("/v1/agents").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_as_a_problem() {
    let (_server, client) = operator().await;
    let send = |method: Method, path: &'static str, kind: &'static str, body: String| {
        client.send(client.request(method, path).header("content-type", kind).body(body))
    };
    let json = "application/json";
    let login = "/v1/auth/login";
    for (method, path, kind, body, status, code) in [
        (Method::POST, login, json, "{".to_owned(), 400, "invalid_request"),
        (Method::POST, login, json, "{} {}".to_owned(), 400, "invalid_request"),
        (Method::POST, login, json, String::new(), 400, "invalid_request"),
        (Method::POST, login, "text/plain", "{}".to_owned(), 415, "unsupported_media_type"),
        (Method::POST, login, json, " ".repeat(1024 * 1024 + 1), 413, "payload_too_large"),
        (Method::PUT, login, json, "{}".to_owned(), 405, "method_not_allowed"),
        (Method::GET, "/v1/nothing", json, String::new(), 404, "not_found"),
        (Method::GET, "/", json, String::new(), 404, "not_found"),
        (Method::GET, "/v1/agents?limit=0", json, String::new(), 422, "validation_failed"),
        (Method::GET, "/v1/agents?limit=many", json, String::new(), 422, "validation_failed"),
        (Method::GET, "/v1/agents?after=x", json, String::new(), 422, "validation_failed"),
        (Method::GET, "/v1/agents?colour=red", json, String::new(), 422, "validation_failed"),
    ] {
        let answer = send(method.clone(), path, kind, body).await;
        assert_eq!(answer.problem(status), code, "{method} {path}");
    }
    assert_eq!(send(Method::PUT, login, json, String::new()).await.header("allow"), "POST");
}

#[tokio::test]
async fn commands_are_refused_where_the_server_does_not_allow_them() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).env("AGENT_ALLOW_CUSTOM_COMMANDS", "false").start().await;
    let client = server.operator().await;
    for (body, location) in [
        (json!({"type": "custom", "command": ["cat"]}), "body.type"),
        (json!({"type": "claude", "command": ["cat"]}), "body.command"),
        (json!({"type": "claude", "env": {"PATH": "/tmp"}}), "body.env.PATH"),
        (json!({"type": "claude", "env": {"LD_PRELOAD": "/tmp/x.so"}}), "body.env.LD_PRELOAD"),
        (json!({"type": "claude", "env": {"HOME": "/root"}}), "body.env.HOME"),
    ] {
        let (actual, message) = field_error(&client, body).await;
        assert_eq!(actual, location);
        assert!(message.contains("AGENT_ALLOW_CUSTOM_COMMANDS"), "{message}");
    }
}

#[tokio::test]
async fn only_our_hosts_and_our_pages_may_call() {
    let (server, client) = operator().await;
    let from = |host: &'static str, path| client.send(client.request(Method::GET, path).header("host", host));
    assert_eq!(from("evil.example", "/v1/agents").await.problem(400), "invalid_host");
    assert_eq!(from("localhost:1", "/v1/agents").await.status, 200);
    assert_eq!(from("evil.example", "/livez").await.status, 200, "other servers and probes know it by other names");
    let preflight = |origin: &'static str| {
        let request = server.anonymous().request(Method::OPTIONS, "/v1/agents");
        client.send(request.header("origin", origin).header("access-control-request-method", "POST"))
    };
    assert_eq!(preflight("http://localhost:3000").await.header("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(preflight("http://evil.example").await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn file_name_with_a_control_character_is_refused() {
    let (_server, client) = operator().await;
    let agent = client.start_agent(&["cat"]).await;
    for (name, status) in [("a\u{202e}b", 422), ("a\tb", 422), ("ünïcödé.txt", 200)] {
        let body = format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\nhi\r\n--x--\r\n");
        let request = client.request(Method::POST, &format!("{agent}/upload"));
        let answer = client.send(request.header("content-type", "multipart/form-data; boundary=x").body(body)).await;
        assert_eq!(answer.status.as_u16(), status, "{name:?}: {}", answer.text);
        if status == 422 {
            assert_eq!(answer.json()["errors"][0]["location"], "body.file", "{name:?}");
        }
    }
}

#[tokio::test]
async fn answers_may_not_be_stored() {
    let (server, client) = operator().await;
    let agent = client.start_agent(&["cat"]).await;
    for path in
        ["/v1/agents", "/v1/auth/session", "/v1/nothing", "/status", "/livez", "/metrics", "/openapi.json", "/v1/circuits"]
    {
        assert_eq!(client.get(path).await.header("cache-control"), "no-store", "{path}");
    }
    for path in [agent.clone(), format!("{agent}/messages"), format!("{agent}/status")] {
        assert_eq!(client.get(&path).await.header("cache-control"), "no-store", "{path}");
    }
    assert_eq!(client.delete(&agent).await.header("cache-control"), "no-store");
    assert_eq!(server.anonymous().get("/v1/agents").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn answers_of_a_single_agent_may_not_be_stored() {
    let single = SingleBuilder::new(&ECHO).start().await;
    for path in ["/status", "/messages"] {
        assert_eq!(single.client.get(path).await.header("cache-control"), "no-store", "{path}");
    }
    let refused = single.client.post("/message", json!({"type": "nonsense", "content": ""})).await;
    assert_eq!((refused.status.as_u16(), refused.header("cache-control")), (422, "no-store"));
}

#[tokio::test]
async fn api_page_runs_only_its_own_scripts() {
    let (server, _client) = operator().await;
    let single = SingleBuilder::new(&ECHO).start().await;
    for client in [server.anonymous(), single.client.clone()] {
        for path in ["/docs/", "/docs/swagger-initializer.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"] {
            let answer = client.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            let policy = answer.header("content-security-policy");
            for part in
                ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
            {
                assert!(policy.split("; ").any(|directive| directive == part), "{path}: {part} is not in {policy:?}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert!(
                !answer.header("cache-control").contains("no-store"),
                "{path}: files that change with the version may be kept"
            );
        }
    }
}
