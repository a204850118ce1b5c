//! The look-alike of Upstash is itself looked at: by hand, and by Upstash's own clients.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{PATIENCE, TestRedis, Upstash};

/// Longest that installing Upstash's clients may take: two packages, from a registry that may be slow, or not be there.
const INSTALLATION: Duration = Duration::from_secs(120);

async fn send(upstash: &Upstash, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let request = reqwest::Client::new().request(method, format!("{}{path}", upstash.url())).body(body.to_owned());
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let response = request.send().await.expect("an answer");
    assert!(response.headers().contains_key("upstash-sync-token"));
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

async fn post(upstash: &Upstash, path: &str, body: Value) -> (u16, Value) {
    send(upstash, "POST", path, Some(Upstash::TOKEN), &body.to_string()).await
}

#[tokio::test]
async fn paths_tokens_and_errors_are_those_of_the_documentation() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let token = Some(Upstash::TOKEN);
    let denied = (401, json!({"error": "WRONGPASS invalid or missing auth token"}));
    assert_eq!(send(&upstash, "POST", "/", None, r#"["PING"]"#).await, denied);
    assert_eq!(send(&upstash, "POST", "/pipeline", Some("wrong"), r#"[["PING"]]"#).await, denied);
    assert_eq!(send(&upstash, "DELETE", "/get/foo", token, "").await.0, 405);
    assert_eq!(send(&upstash, "GET", "/set/foo/b%20r/EX/100", token, "").await, (200, json!({"result": "OK"})));
    assert_eq!(send(&upstash, "POST", "/set/foo?EX=100", token, "a body").await, (200, json!({"result": "OK"})));
    let path = format!("/get/foo?_token={}", Upstash::TOKEN);
    assert_eq!(send(&upstash, "GET", &path, None, "").await, (200, json!({"result": "a body"})));
    assert_eq!(post(&upstash, "/", json!(["SET", "n", 1, "EX", 100])).await, (200, json!({"result": "OK"})));
    assert_eq!(post(&upstash, "/", json!(["INCR", "n"])).await, (200, json!({"result": 2})));
    let (status, body) = post(&upstash, "/", json!(["GET"])).await;
    assert_eq!((status, body["error"].as_str().expect("an error").starts_with("ERR wrong number")), (400, true), "{body}");
    assert_eq!(post(&upstash, "/", json!(["BLPOP", "k", 0])).await.0, 400);
    assert_eq!(post(&upstash, "/", json!({"not": "an array"})).await.0, 400);
    let (status, body) = post(&upstash, "/pipeline", json!([["GET", "n"], ["INCR", "foo"], ["GET", "none"]])).await;
    assert_eq!((status, &body[0], &body[2]), (200, &json!({"result": "2"}), &json!({"result": null})));
    assert!(body[1]["error"].as_str().expect("an error").starts_with("ERR value is not an integer"), "{body}");
    let (status, body) = post(&upstash, "/multi-exec", json!([["SET", "m", "1"], ["INCR", "m"]])).await;
    assert_eq!((status, body), (200, json!([{"result": "OK"}, {"result": 2}])));
    let (_, body) = post(&upstash, "/multi-exec", json!([["SET", "m", "7"], ["NO-SUCH-COMMAND"]])).await;
    assert!(body["error"].is_string(), "{body}");
    assert_eq!(post(&upstash, "/", json!(["GET", "m"])).await.1, json!({"result": "2"}));
}

#[tokio::test]
async fn limits_are_kept() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let set = |key: usize, value: usize| json!(["SET", "k".repeat(key), "v".repeat(value)]);
    assert_eq!(post(&upstash, "/", set(32 * 1024, 9 * 1024 * 1024)).await.0, 200);
    assert_eq!(post(&upstash, "/", set(32 * 1024 + 1, 1)).await, (400, json!({"error": "ERR max key size exceeded"})));
    let refused = (400, json!({"error": "ERR max request size exceeded"}));
    assert_eq!(post(&upstash, "/", set(1, 10 * 1024 * 1024)).await, refused);
}

#[tokio::test]
async fn a_script_that_promises_its_keys_is_held_to_it() {
    const FLAG: &str = "#!lua flags=allow-key-locking\n";
    const SET_TWO: &str = "redis.call('SET', KEYS[1], '1') redis.call('SET', 'b', '1') return redis.call('TIME')[1] and 7";
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let eval = async |text: &str, keys: &[&str]| {
        let mut command = vec![json!("EVAL"), json!(text), json!(keys.len())];
        command.extend(keys.iter().map(|key| json!(key)));
        post(&upstash, "/", Value::Array(command)).await
    };
    assert_eq!(eval(&format!("{FLAG}{SET_TWO}"), &["a", "b"]).await, (200, json!({"result": 7})));
    let (status, body) = eval(&format!("{FLAG}{SET_TWO}"), &["a"]).await;
    let error = body["error"].as_str().expect("an error");
    assert!(status == 400 && error.starts_with("ERR Dynamic keys are not allowed in Lua scripts"), "{status} {error}");
    let caught = format!("{FLAG}local answer = redis.pcall('GET', 'b') return answer.err and 1 or 0");
    assert_eq!(eval(&caught, &[]).await, (200, json!({"result": 1})));
    // Without the promise the whole database is locked, and all keys may be touched.
    assert_eq!(eval(SET_TWO, &["a"]).await, (200, json!({"result": 7})));
}

/// Run in a folder below Cargo's, so that the clients are installed once and never into the tree.
#[tokio::test]
async fn the_clients_that_upstash_makes_find_nothing_amiss() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/upstash-clients");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("upstash-clients");
    std::fs::create_dir_all(&folder).expect("a folder");
    for file in ["package.json", "package-lock.json", "clients.test.js"] {
        std::fs::copy(sources.join(file), folder.join(file)).expect("copied");
    }
    if let Err(why) = install(&folder).await {
        // Past the test harness, which keeps what a passing test prints to itself.
        writeln!(std::io::stderr(), "skipped: Upstash's own clients against the look-alike: {why}").expect("said");
        return;
    }
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let mut node = Command::new("node");
    node.args(["--test", "clients.test.js"]).current_dir(&folder).kill_on_drop(true);
    node.env("UPSTASH_REDIS_REST_URL", upstash.url()).env("UPSTASH_REDIS_REST_TOKEN", Upstash::TOKEN);
    let output = tokio::time::timeout(PATIENCE, node.output()).await.expect("ends in time").expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("# fail 0") && !said.contains("# pass 0"), "{said}");
}

/// Installs what the lock file names, unless it is there already.
async fn install(folder: &Path) -> Result<(), String> {
    let lock = std::fs::read(folder.join("package-lock.json")).expect("just copied");
    let installed = folder.join("installed-lock.json");
    if std::fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1"]);
    npm.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(INSTALLATION, npm.output()).await;
    let output = output.map_err(|_| format!("npm ci: not within {INSTALLATION:?}"))?;
    let output = output.map_err(|error| format!("npm does not run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("npm ci: {}", said.lines().find(|line| line.contains("error")).unwrap_or("failed")));
    }
    std::fs::write(installed, lock).expect("written");
    Ok(())
}
