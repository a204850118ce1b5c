//! API keys: for machines, which cannot log in.

mod access;
mod fleet;
mod limits;
mod making;
mod secrecy;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Client, Server, ServerBuilder};

const PASSWORD: &str = "hunter2 hunter2";

/// A key that was made.
struct Key {
    path: String,
    text: String,
}

impl Key {
    async fn make(client: &Client) -> Self {
        Self::make_as(client, json!({"name": "nightly build"})).await
    }

    async fn make_as(client: &Client, body: Value) -> Self {
        let answer = client.post("/v1/api-keys", body).await;
        let path = answer.header("location").to_owned();
        let body = answer.ok();
        Self { path, text: body["key"].as_str().expect("a key").to_owned() }
    }

    /// A client that shows it.
    fn at(&self, server: &Server) -> Client {
        server.anonymous().with_token(&self.text)
    }

    /// The same with some of its 64 bytes changed.
    fn forged(&self, bytes: std::ops::Range<usize>) -> String {
        let mut body = URL_SAFE_NO_PAD.decode(&self.text[4..]).expect("base64url");
        for byte in &mut body[bytes] {
            *byte ^= 0x55;
        }
        format!("agk_{}", URL_SAFE_NO_PAD.encode(body))
    }

    /// The same, saying that it is of another's tenant.
    fn as_of(&self, other: &Self) -> String {
        let bytes = |key: &Self| URL_SAFE_NO_PAD.decode(&key.text[4..]).expect("base64url");
        format!("agk_{}", URL_SAFE_NO_PAD.encode([&bytes(other)[..16], &bytes(self)[16..]].concat()))
    }

    /// The same with a secret that somebody invented, and where the number is odd with an id that nobody has.
    fn invented(&self, number: u64) -> String {
        let mut body = URL_SAFE_NO_PAD.decode(&self.text[4..]).expect("base64url");
        body[56..].copy_from_slice(&number.to_be_bytes());
        if !number.is_multiple_of(2) {
            body[24..32].copy_from_slice(&number.to_be_bytes());
        }
        format!("agk_{}", URL_SAFE_NO_PAD.encode(body))
    }
}

async fn run(builder: &ServerBuilder, args: &[&str]) {
    builder.done(args, &format!("{PASSWORD}\n")).await;
}

/// Makes a user of the tenant `default`, and logs it in.
async fn user(builder: &ServerBuilder, server: &Server, name: &str, role: &str) -> Client {
    let email = format!("{name}@localhost");
    run(builder, &["user", "create", "default", &email, "--role", role]).await;
    server.anonymous().log_in("default", &email, PASSWORD).await
}

/// How often what keys are checked against was asked for otherwise than from memory.
async fn look_ups(server: &Server) -> u64 {
    let metrics = server.anonymous().get("/metrics").await.text;
    let of_keys = |line: &&str| {
        line.starts_with("agentapi_cache_requests_total{")
            && ["api_key", "user_access", "tenant_access"].iter().any(|kind| line.contains(&format!("kind=\"{kind}\"")))
            && !line.contains("outcome=\"near\"")
    };
    let count = |line: &str| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok()).expect("a number");
    metrics.lines().filter(of_keys).map(count).sum()
}
