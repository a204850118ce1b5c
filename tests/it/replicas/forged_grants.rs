//! Attacks on requests between servers: forged grants, and changed rows of servers.

use std::time::Duration;

use agentapi::domain::{ApiKeyId, KeyRing, Purpose, ReplicaId, SecretDigest, SessionId, SigningKey, TenantId};
use agentapi::outbound::{Outbound, Resolvers};
use agentapi::postgres::Database;
use agentapi::replica::{ForwardedCredential, ForwardingGrant, Replicas, ReplicasParts};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{TimeDelta, Utc};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::json;
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::Fleet;
use crate::support::{Answer, Client, Server, eventually};

/// The fleet's `TOKEN_ENCRYPTION_KEY`, which the attacker has.
const KEY: [u8; 32] = [0x77; 32];

/// A user of another tenant, as an attacker who has seen the database's ids knows it.
struct Victim {
    tenant: Uuid,
    user: Uuid,
}

impl Victim {
    /// Returns an administrator of the tenant `acme`, and its client.
    async fn create(fleet: &Fleet, server: &Server) -> (Self, Client) {
        fleet.builders[0].done(&["tenant", "create", "acme"], "").await;
        let user = ["user", "create", "acme", "ada@acme.example", "--role", "admin"];
        fleet.builders[0].done(&user, "a password of ada\n").await;
        let client = server.anonymous().log_in("acme", "ada@acme.example", "a password of ada").await;
        let session = client.get("/v1/auth/session").await.ok();
        let id = |of: &str| session[of]["id"].as_str().expect("an id").parse().expect("a UUID");
        (Self { tenant: id("tenant"), user: id("user") }, client)
    }
}

/// Returns a session token that the key seals for a session that there is not, and the session's id.
fn forged_token(victim: &Victim) -> (String, [u8; 16]) {
    let session = *Uuid::new_v4().as_bytes();
    let issued_at = Utc::now().timestamp_millis().to_be_bytes();
    let claims = [&session[..], victim.tenant.as_bytes(), victim.user.as_bytes(), &issued_at].concat();
    let sealed = KeyRing::new(&KEY).seal(Purpose::SessionToken, b"v1", &claims);
    (format!("v1.{}.{}", sealed.key_id, URL_SAFE_NO_PAD.encode(sealed.body)), session)
}

/// Returns a grant as servers wrote it when `TOKEN_ENCRYPTION_KEY` signed it.
fn grant_by_encryption_key(to: Uuid, session: [u8; 16], method: &str, path: &str) -> String {
    let now = Utc::now().timestamp_millis().to_be_bytes();
    let administrator = [1];
    let body = [to.as_bytes(), &session[..], Uuid::now_v7().as_bytes(), &now, &administrator].concat();
    let mut signing_key = [0; 32];
    let hkdf = Hkdf::<Sha256>::new(None, &KEY);
    hkdf.expand_multi_info(&[b"agentapi v1 ", b"signature"], &mut signing_key).expect("short");
    let signed = [b"v1\n", method.as_bytes(), b"\n", path.as_bytes(), b"\n", &body].concat();
    let signature = Hmac::<Sha256>::new_from_slice(&signing_key).expect("any length").chain_update(signed).finalize();
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("v1.{}.{}.{}", KeyRing::new(&KEY).current(), encoded(&body), encoded(&signature.into_bytes()))
}

/// Sends a request with a forged token and a forged grant. Returns its status.
async fn attack(server: &Server, fleet: &Fleet, victim: &Victim, method: Method, path: &str) -> u16 {
    let mut statuses = Vec::new();
    for to in fleet.members().await {
        for header in ["x-agentapi-passed-on", "x-agentapi-forwarded"] {
            let (token, session) = forged_token(victim);
            let client = server.anonymous().with_token(&token);
            let grant = grant_by_encryption_key(to, session, method.as_str(), path);
            let request = client.request(method.clone(), path).header(header, grant);
            let request = if method == Method::POST { request.json(&json!({"name": "x"})) } else { request };
            statuses.push(client.send(request).await.status.as_u16());
        }
    }
    statuses.iter().copied().find(|status| *status < 300).unwrap_or(statuses[0])
}

#[tokio::test]
async fn grant_signed_by_encryption_key_is_refused() {
    let (fleet, [a, _b, _c]) = Fleet::started().await;
    let (victim, ada) = Victim::create(&fleet, &a).await;
    let agent = ada.start_echo_agent().await;
    assert_eq!(attack(&a, &fleet, &victim, Method::GET, &format!("{agent}/messages")).await, 401);
    assert_eq!(attack(&a, &fleet, &victim, Method::POST, "/v1/api-keys").await, 401);
    let keys = ada.get("/v1/api-keys").await.ok();
    assert_eq!(keys["items"], json!([]));
}

/// Returns the credential of a client's session, as a server that was shown its token knows it.
async fn session_of(client: &Client) -> (TenantId, ForwardedCredential) {
    let body = client.get("/v1/auth/session").await.ok();
    let text = |of: &str, name: &str| body[of][name].as_str().expect("text").to_owned();
    let credential = ForwardedCredential::Session {
        id: text("session", "id").parse().expect("an id"),
        user: text("user", "id").parse().expect("a UUID"),
        issued_at: text("session", "created_at").parse().expect("a time"),
    };
    (text("tenant", "id").parse().expect("a UUID"), credential)
}

/// Sends `GET path` with this grant and no credential.
async fn get_with_grant(server: &Server, path: &str, grant: &str) -> Answer {
    let client = server.anonymous();
    client.send(client.request(Method::GET, path).header("x-agentapi-forwarded", grant)).await
}

async fn member(fleet: &Fleet) -> ReplicaId {
    let members = fleet.members().await;
    let [id] = members.as_slice() else { panic!("there is one server, and not {members:?}") };
    ReplicaId::from_uuid(*id)
}

#[tokio::test]
async fn grant_signed_by_key_of_no_server_is_refused() {
    // The other server has no lease: it is not to be missed meanwhile.
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let a = fleet.builders[0].start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let path = format!("{agent}/messages");
    let to = member(&fleet).await;
    let (tenant, credential) = session_of(&client).await;
    let (key, added) = (SigningKey::generate(), ReplicaId::new());
    // A row of its own, which takes the key to authenticate.
    let row = "INSERT INTO replicas (id, url, public_key, mac) VALUES ($1, 'http://127.0.0.1:9', $2, $3)";
    let row = sqlx::query(row).bind(added.as_uuid()).bind(key.public().as_bytes().as_slice()).bind(vec![0_u8; 36]);
    sqlx::Executor::execute(&mut fleet.database.connect().await, row).await.expect("added");
    for from in [to, added, ReplicaId::new()] {
        let grant = ForwardingGrant { from, to, request_id: Uuid::now_v7(), tenant, credential };
        let grant = grant.write(&key, "GET", &path, Utc::now());
        assert_eq!(get_with_grant(&a, &path, &grant).await.problem(421), "forwarding_refused");
    }
}

/// Another server of the deployment, as far as the first can tell: it is in Postgres with a row that the key authenticates.
struct Peer {
    replicas: Replicas,
    to: ReplicaId,
}

impl Peer {
    /// Joins the fleet's first server.
    async fn join(fleet: &Fleet, url: &str) -> Self {
        let to = member(fleet).await;
        let options = Database::options(&fleet.database.url().parse().expect("a URL")).expect("options");
        let replicas = Replicas::new(ReplicasParts {
            id: ReplicaId::new(),
            url: url.to_owned(),
            database: Database::new(options, 1, Duration::from_secs(30)),
            redis: None,
            outbound: Outbound::new(None, Resolvers::default()),
            heartbeat: Duration::from_secs(60),
            timeout: Duration::from_secs(300),
            keys: KeyRing::new(&KEY),
            signing_key: SigningKey::generate(),
        });
        replicas.join().await.expect("joined");
        Self { replicas, to }
    }

    /// Forwards `GET path` to the first server.
    async fn forward(&self, server: &Server, path: &str, shown: (TenantId, ForwardedCredential)) -> Answer {
        let grant = self.replicas.grant(self.to, shown, Uuid::now_v7(), ("GET", path), Utc::now());
        get_with_grant(server, path, &grant).await
    }
}

#[tokio::test]
async fn owner_verifies_a_forwarded_session_itself() {
    // The other server has no lease: it is not to be missed meanwhile.
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let a = fleet.builders[0].start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let peer = Peer::join(&fleet, "http://127.0.0.1:9").await;
    let path = format!("{agent}/status");
    let other = a.operator().await;
    let (tenant, shown) = session_of(&other).await;
    let answer = peer.forward(&a, &path, (tenant, shown)).await;
    assert_eq!(answer.header("x-ratelimit-limit"), "", "limits were taken by the server that forwards: {answer:?}");
    assert_eq!(answer.ok()["status"], "stable");
    // Where requests are not forwarded, a grant is nothing.
    for elsewhere in ["/v1/agents", &agent, "/v1/auth/session", "/v1/api-keys"] {
        assert_eq!(peer.forward(&a, elsewhere, (tenant, shown)).await.problem(401), "unauthenticated", "{elsewhere}");
    }
    let ForwardedCredential::Session { user, issued_at, .. } = shown else { panic!("a session") };
    let invented = ForwardedCredential::Session { id: SessionId::random(), user, issued_at };
    let long_ago = ForwardedCredential::Session { id: SessionId::random(), user, issued_at: issued_at - TimeDelta::days(1) };
    for credential in [invented, long_ago] {
        assert_eq!(peer.forward(&a, &path, (tenant, credential)).await.problem(401), "unauthenticated");
    }
    let (_, foreign) = session_of(&a.operator().await).await;
    assert_eq!(peer.forward(&a, &path, (TenantId::new(), foreign)).await.problem(401), "unauthenticated", "another tenant");
    other.post_nothing("/v1/auth/logout").await.ok();
    assert_eq!(peer.forward(&a, &path, (tenant, shown)).await.problem(401), "unauthenticated", "logged out");
}

#[tokio::test]
async fn owner_verifies_a_forwarded_api_key_itself() {
    // The other server has no lease: it is not to be missed meanwhile.
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let a = fleet.builders[0].start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let peer = Peer::join(&fleet, "http://127.0.0.1:9").await;
    let path = format!("{agent}/status");
    let (tenant, _) = session_of(&client).await;
    let made = client.post("/v1/api-keys", json!({"name": "x"})).await.ok();
    let id: ApiKeyId = made["id"].as_str().expect("an id").parse().expect("a UUID");
    let text = URL_SAFE_NO_PAD.decode(&made["key"].as_str().expect("a key")[4..]).expect("base64url");
    let key = |secret: &[u8]| (tenant, ForwardedCredential::ApiKey { id, secret: SecretDigest::of(secret) });
    assert_eq!(peer.forward(&a, &path, key(&text[32..])).await.ok()["status"], "stable");
    assert_eq!(peer.forward(&a, &path, key(b"invented")).await.problem(401), "unauthenticated");
    client.delete(&format!("/v1/api-keys/{id}")).await.ok();
    assert_eq!(peer.forward(&a, &path, key(&text[32..])).await.problem(401), "unauthenticated", "revoked");
}

/// Writes that an agent runs on this server.
async fn move_agent(fleet: &Fleet, agent: &str, to: &Replicas) {
    let id: Uuid = agent.rsplit('/').next().expect("an id").parse().expect("a UUID");
    let update = sqlx::query("UPDATE agents SET replica_id = $1 WHERE id = $2").bind(to.id().as_uuid()).bind(id);
    sqlx::Executor::execute(&mut fleet.database.connect().await, update).await.expect("moved");
}

/// Accepts a connection, and returns what arrives on it.
async fn first_request(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut buffer = vec![0; 16_384];
    let read = stream.read(&mut buffer).await.expect("bytes");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// Returns a listener on this machine, and its URL.
async fn listener(host: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind((host, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, url)
}

/// A fleet's first and second server, and an agent of the first that is written to run on `peer` once the second is up.
async fn agent_elsewhere(fleet: &Fleet, url: &str) -> (Peer, [Server; 2], Client, String) {
    let a = fleet.builders[0].start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let peer = Peer::join(fleet, url).await;
    let b = fleet.builders[1].start().await;
    move_agent(fleet, &agent, &peer.replicas).await;
    let client = client.at(&b);
    (peer, [a, b], client, agent)
}

#[tokio::test]
async fn forwarded_request_carries_no_credential() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let (listener, url) = listener("127.0.0.1").await;
    let (_peer, _servers, client, agent) = agent_elsewhere(&fleet, &url).await;
    let status = client.request(Method::GET, &format!("{agent}/status")).header("cookie", "a=b");
    let arrived = tokio::select! {
        arrived = first_request(listener) => arrived.to_lowercase(),
        answer = client.send(status) => panic!("{answer:?}"),
    };
    assert!(arrived.contains("x-agentapi-forwarded: v2."), "{arrived}");
    let token = client.token.clone().expect("a token").to_lowercase();
    for absent in ["authorization", "cookie", &token] {
        assert!(!arrived.contains(absent), "{absent}: {arrived}");
    }
}

#[tokio::test]
async fn replica_address_outside_the_setting_is_not_called() {
    let fleet =
        Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s").env("AGENTAPI_REPLICA_ALLOWED_ADDRESSES", "10.0.0.0/8");
    // Not the servers' own host, which is 127.0.0.1.
    let (listener, url) = listener("127.0.0.2").await;
    let (_peer, _servers, client, agent) = agent_elsewhere(&fleet, &url).await;
    let status = format!("{agent}/status");
    tokio::select! {
        arrived = first_request(listener) => panic!("{arrived}"),
        answer = client.get(&status) => assert_eq!(answer.problem(502), "upstream_failed"),
    }
}

#[tokio::test]
async fn changed_replica_row_receives_no_request() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let a = fleet.builders[0].start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let (listener, url) = listener("127.0.0.1").await;
    let change = sqlx::query("UPDATE replicas SET url = $1").bind(url);
    sqlx::Executor::execute(&mut fleet.database.connect().await, change).await.expect("changed");
    let b = fleet.builders[1].start().await;
    let (client, status) = (client.at(&b), format!("{agent}/status"));
    tokio::select! {
        arrived = first_request(listener) => panic!("this arrived at another place: {arrived}"),
        // The first server hears that another one joined, finds its row changed, and writes it anew.
        () = async {
            let answer = client.get(&status).await;
            assert!(matches!(answer.status.as_u16(), 200 | 503), "{answer:?}");
        } => {}
    }
}

#[tokio::test]
async fn server_restores_its_own_row() {
    let (fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let change = sqlx::query("UPDATE replicas SET url = 'http://127.0.0.1:9'");
    sqlx::Executor::execute(&mut fleet.database.connect().await, change).await.expect("changed");
    let (client, status) = (client.at(&b), format!("{agent}/status"));
    eventually("rows are restored", || async {
        let urls: Vec<String> =
            sqlx::query_scalar("SELECT url FROM replicas").fetch_all(&mut fleet.database.connect().await).await.expect("URLs");
        urls.iter().all(|url| url != "http://127.0.0.1:9").then_some(())
    })
    .await;
    eventually("it is forwarded", || async { (client.get(&status).await.status == 200).then_some(()) }).await;
    assert_eq!(client.get(&agent).await.ok()["state"], "running", "no server was taken for dead");
}
