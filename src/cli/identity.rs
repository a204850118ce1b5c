//! What a server keeps in its data directory to be the same server after a restart: its key and its name.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::cli::Failure;
use crate::config::{EncryptionKey, Session};
use crate::domain::{KeyRing, ReplicaId, random_bytes};

/// File with the generated key, as 64 hexadecimal digits, for the server's user alone.
const KEY_FILE: &str = "token-encryption-key";

/// File with the server's name: a UUID.
const REPLICA_FILE: &str = "replica-id";

/// The keys of the settings, or the one made at the first start.
pub(super) fn key_ring(settings: &Session, data_dir: &Path) -> Result<KeyRing, Failure> {
    if let Some(key) = &settings.token_encryption_key {
        return ring(key, settings);
    }
    let path = data_dir.join(KEY_FILE);
    let key = parse(&path, &read_or_make(&path, || hex::encode(random_bytes::<32>()))?)?;
    tracing::info!(file = %path.display(), "TOKEN_ENCRYPTION_KEY is not set: using the generated key; replicas need one in common");
    ring(&key, settings)
}

/// The keys that servers with these settings use; none is made.
pub(super) fn key_ring_in_use(settings: &Session, data_dir: &Path) -> Result<KeyRing, Failure> {
    if let Some(key) = &settings.token_encryption_key {
        return ring(key, settings);
    }
    let path = data_dir.join(KEY_FILE);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("TOKEN_ENCRYPTION_KEY is not set, and no server made a key: {}: {error}", path.display()))?;
    ring(&parse(&path, &text)?, settings)
}

fn parse(path: &Path, text: &str) -> Result<EncryptionKey, Failure> {
    text.trim().parse().map_err(|expected| format!("{}: expected {expected}", path.display()).into())
}

fn ring(key: &EncryptionKey, settings: &Session) -> Result<KeyRing, Failure> {
    let others = settings.token_encryption_keys_previous.iter().map(EncryptionKey::expose);
    KeyRing::with_others(key.expose(), others)
        .map_err(|error| format!("TOKEN_ENCRYPTION_KEYS_PREVIOUS: {error}, or it is the key in use").into())
}

/// The server's name, over restarts.
pub(super) fn replica(data_dir: &Path) -> Result<ReplicaId, Failure> {
    let path = data_dir.join(REPLICA_FILE);
    let text = read_or_make(&path, || ReplicaId::new().to_string())?;
    text.trim().parse().map_err(|_| format!("{}: expected a UUID", path.display()).into())
}

/// The file's text; if there is no file, it is made, whole or not at all.
fn read_or_make(path: &Path, make: impl FnOnce() -> String) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result.map_err(|error| format!("{}: {error}", path.display()).into()),
    }
    let text = make();
    let unfinished = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text)
}
