//! Redis and other services over TLS.

use std::path::Path;
use std::sync::Arc;

use agentapi::domain::{AgentId, Service};
use agentapi::outbound::{Body, Outbound, OutboundError, Resolvers};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::support::{ServerBuilder, TestDatabase, TestRedis, Upstash, eventually};

/// A certificate authority's certificate, and a certificate and key that it made for localhost.
pub(crate) fn certificates(folder: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let server = server.signed_by(&key, &authority).expect("a certificate");
    for (name, text) in [("ca.pem", authority.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())] {
        std::fs::write(folder.join(name), text).expect("written");
    }
}

/// Speaks TLS with that certificate.
pub(crate) fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    Arc::new(config).into()
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_only_there() {
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = crate::support::free_port().to_string();
    let redis = TestRedis::start_with(&[
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
    ])
    .await;
    let builder = ServerBuilder::new(&TestDatabase::create().await).redis(&redis);
    let builder = builder.env("REDIS_URL", &format!("rediss://localhost:{port}"));
    let trusting = builder.sibling().env("SSL_CERT_FILE", &file("ca.pem")).start().await;
    eventually("Redis is up", || async { (trusting.anonymous().get("/status").await.status == 200).then_some(()) }).await;
    trusting.operator().await.get("/v1/auth/session").await.ok();

    let wary = builder.start().await;
    let status = wary.anonymous().get("/status").await;
    assert_eq!((status.status.as_u16(), status.json()["checks"]["redis"]["status"].as_str()), (503, Some("down")));
    let log = builder.logged();
    assert!(log.contains("UnknownIssuer"), "{log}");

    // The certificate is for localhost, not for the address.
    let elsewhere = builder.sibling().env("SSL_CERT_FILE", &file("ca.pem"));
    let elsewhere = elsewhere.env("REDIS_URL", &format!("rediss://127.0.0.1:{port}"));
    is_refused_for_its_name(&elsewhere).await;
}

async fn is_refused_for_its_name(builder: &ServerBuilder) {
    let server = builder.start().await;
    assert_eq!(server.anonymous().get("/status").await.status, 503);
    let log = builder.logged();
    assert!(log.contains("not valid for name"), "{log}");
}

#[tokio::test]
async fn over_rest_too_a_private_authority_is_trusted_only_where_it_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let redis = TestRedis::start().await;
    let upstash = Upstash::start_with(&redis, Some(acceptor(folder.path()))).await;
    let builder = ServerBuilder::new(&TestDatabase::create().await).upstash(&upstash);
    let trusting = builder.sibling().env("SSL_CERT_FILE", &file("ca.pem")).start().await;
    trusting.operator().await.get("/v1/auth/session").await.ok();
    assert_eq!(trusting.anonymous().get("/status").await.status, 200);

    let wary = builder.start().await;
    let status = wary.anonymous().get("/status").await;
    assert_eq!((status.status.as_u16(), status.json()["checks"]["redis"]["status"].as_str()), (503, Some("down")));
    let log = builder.logged();
    assert!(log.contains("no answer from Upstash") && log.contains("UnknownIssuer"), "{log}");

    let elsewhere = builder.sibling().env("SSL_CERT_FILE", &file("ca.pem"));
    let other_name = upstash.url().replace("localhost", "127.0.0.1");
    is_refused_for_its_name(&elsewhere.env("UPSTASH_REDIS_REST_URL", &other_name)).await;
}

/// Calls a place over TLS. Returns the answer's status.
async fn call(url: &str) -> Result<u16, OutboundError> {
    let request = hyper::Request::get(url).body(Body::empty()).expect("a request");
    let answer = Outbound::new(None, Resolvers::default()).call(Service::Agent(AgentId::new()), request).await?;
    Ok(answer.status().as_u16())
}

/// Set for the process that trusts the authority: where to call.
const UPSTREAM: &str = "AGENTAPI_TEST_UPSTREAM";

#[tokio::test]
async fn outgoing_calls_trust_a_private_authority_only_where_it_is_named() {
    if let Ok(url) = std::env::var(UPSTREAM) {
        assert_eq!(call(&url).await, Ok(401));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let redis = TestRedis::start().await;
    // Any service would do; this one asks for a token.
    let upstream = Upstash::start_with(&redis, Some(acceptor(folder.path()))).await;
    let error = call(&upstream.url()).await.expect_err("not trusted");
    assert!(matches!(&error, OutboundError::Connect(why) if why.contains("UnknownIssuer")), "{error:?}");
    // The certificate is for localhost, not for the address.
    let other_name = upstream.url().replace("localhost", "127.0.0.1");
    // What is trusted is read from the environment once a process: another process is told otherwise.
    for (url, trusted) in [(upstream.url(), true), (other_name, false)] {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["tls::outgoing_calls_trust_a_private_authority_only_where_it_is_named", "--exact"]);
        let output = command.env(UPSTREAM, &url).env("SSL_CERT_FILE", folder.path().join("ca.pem")).output().await.expect("ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), trusted, "{url}: {said}");
        assert!(said.contains("running 1 test"), "{said}");
        assert!(trusted || said.contains("not valid for name"), "{said}");
    }
}
