//! Redis over TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{ServerBuilder, TestDatabase, TestRedis, Upstash, eventually};

/// A certificate authority's certificate, and a certificate and key that it made for localhost.
fn certificates(folder: &std::path::Path) {
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

/// Speaks TLS with such a certificate. The authority's is then at `ca.pem` of `folder`.
pub(crate) fn acceptor(folder: &std::path::Path) -> tokio_rustls::TlsAcceptor {
    certificates(folder);
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
    let log = std::fs::read_to_string(builder.log_file()).expect("a log");
    assert!(log.contains("UnknownIssuer"), "{log}");
}

#[tokio::test]
async fn over_rest_too_a_private_authority_is_trusted_only_where_it_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = TestRedis::start().await;
    let upstash = Upstash::start_with(&redis, Some(acceptor(folder.path()))).await;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let builder = ServerBuilder::new(&TestDatabase::create().await).upstash(&upstash);
    let trusting = builder.sibling().env("SSL_CERT_FILE", &file("ca.pem")).start().await;
    trusting.operator().await.get("/v1/auth/session").await.ok();
    assert_eq!(trusting.anonymous().get("/status").await.status, 200);

    let wary = builder.start().await;
    let status = wary.anonymous().get("/status").await;
    assert_eq!((status.status.as_u16(), status.json()["checks"]["redis"]["status"].as_str()), (503, Some("down")));
    let log = std::fs::read_to_string(builder.log_file()).expect("a log");
    assert!(log.contains("no answer from Upstash") && log.contains("UnknownIssuer"), "{log}");
}
