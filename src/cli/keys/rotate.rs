//! `agentapi keys rotate`: nothing at rest is left that an old key sealed, so that the old key can be dropped.
//!
//! How far it has come is in the data itself: whatever is sealed names its key. So it can be killed at any point and run again.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::agent::reseal_env;
use crate::cli::{Failure, end_sessions, identity, open, operator};
use crate::config::Config;
use crate::domain::{KeyRing, TenantScope};
use crate::postgres::{Database, SealedEnv};
use crate::session::{RedisSessionStore, Resealed, reseal_records};

/// Environments sealed again by one transaction: few enough to lock each row but for a moment.
const BATCH: u16 = 50;

/// Runs the command.
pub(super) async fn run(settings: &Config) -> Result<(), Failure> {
    let keys = identity::key_ring_in_use(&settings.session, &settings.server.data_dir)?;
    let opened = open::database(settings).await?;
    let rotated = rotate(settings, &opened.database, &keys).await;
    opened.close().await?;
    rotated
}

async fn rotate(settings: &Config, database: &Database, keys: &KeyRing) -> Result<(), Failure> {
    let agents = environments(database, keys).await?;
    let sessions = match end_sessions::shared_store(settings)? {
        Some(store) => records(&store, keys).await?,
        None => Resealed::default(),
    };
    println!(
        "sealed again with key {}: environments of {} agents, records of {} sessions",
        keys.current(),
        agents.resealed,
        sessions.resealed
    );
    match agents.unknown + sessions.unknown {
        0 => Ok(()),
        _ => Err(format!(
            "{} environments and {} session records are sealed with keys that are neither TOKEN_ENCRYPTION_KEY nor in \
             TOKEN_ENCRYPTION_KEYS_PREVIOUS: they are left as they are",
            agents.unknown, sessions.unknown
        )
        .into()),
    }
}

/// The agents' environments, of every tenant.
async fn environments(database: &Database, keys: &KeyRing) -> Result<Resealed, Failure> {
    let mut scopes = Vec::new();
    let mut total = 0;
    for tenant in database.tenants().list().await? {
        let scope = operator::scope(tenant.id);
        let count = database.agents(scope).count_sealed_by_others(keys.current()).await?;
        total += count;
        scopes.extend((count > 0).then_some(scope));
    }
    // The bar is drawn on standard error, and only where that is a terminal.
    let style = ProgressStyle::with_template("agents   {bar:40} {pos}/{len} {per_sec} {eta}")?;
    let bar = ProgressBar::new(total).with_style(style);
    let mut done = Resealed::default();
    for scope in scopes {
        environments_of(database, keys, scope, &bar, &mut done).await?;
    }
    bar.finish();
    Ok(done)
}

async fn environments_of(
    database: &Database,
    keys: &KeyRing,
    scope: TenantScope,
    bar: &ProgressBar,
    done: &mut Resealed,
) -> Result<(), Failure> {
    let agents = database.agents(scope);
    let mut after = None;
    loop {
        let batch = agents.sealed_by_others(keys.current(), after, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = Some(last.agent);
        let read = batch.len() as u64;
        let reseal = |env: SealedEnv| {
            let sealed = reseal_env(keys, scope.tenant(), env.agent, &env.sealed).ok()??;
            Some((env, sealed))
        };
        let replacements: Vec<(SealedEnv, Vec<u8>)> = batch.into_iter().filter_map(reseal).collect();
        done.resealed += agents.replace_sealed(&replacements).await?;
        done.unknown += read - replacements.len() as u64;
        bar.inc(read);
    }
}

/// The records of living sessions. Each that is used is sealed again anyway; this is for those that lie idle.
async fn records(store: &RedisSessionStore, keys: &KeyRing) -> Result<Resealed, Failure> {
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("sessions {spinner} users seen: {pos}")?);
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut done = Resealed::default();
    let mut cursor = 0;
    loop {
        let (next, owners) = store.owners(cursor).await?;
        for owner in owners {
            let Resealed { resealed, unknown } = reseal_records(store, keys, owner).await?;
            done.resealed += resealed;
            done.unknown += unknown;
            bar.inc(1);
        }
        cursor = next;
        if cursor == 0 {
            bar.finish();
            return Ok(done);
        }
    }
}
