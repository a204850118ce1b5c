//! TLS towards others: whom to trust.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// TLS cannot be spoken: it says why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TlsUnavailable(String);

/// A client's settings that trust the system's certificate authorities, or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name. Reads
/// files.
///
/// # Errors
/// If no authority is trusted.
pub fn client_config() -> Result<Arc<ClientConfig>, TlsUnavailable> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        let why = found.errors.first().map_or_else(|| "none are installed".to_owned(), ToString::to_string);
        return Err(TlsUnavailable(format!("no certificate authority is trusted: {why}")));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsUnavailable(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
