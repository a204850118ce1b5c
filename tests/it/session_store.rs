//! What every [`SessionStore`] does, whichever it is: one suite, run over each.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use agentapi::config::Config;
use agentapi::domain::{SessionId, TenantId, UserId};
use agentapi::redis::Redis;
use agentapi::session::{MemorySessionStore, NewSession, Owner, RedisSessionStore, SessionStore, StoredSession};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;

use crate::support::{TestRedis, Upstash, eventually};

const LIFE: Duration = Duration::from_secs(600);
const CAP: usize = 3;

#[tokio::test]
async fn the_in_process_store_conforms() {
    conforms(&MemorySessionStore::default()).await;
}

#[tokio::test]
async fn redis_conforms() {
    let redis = TestRedis::start().await;
    conforms(&store(&[("REDIS_URL", &redis.url())])).await;
}

#[tokio::test]
async fn redis_over_rest_conforms() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    conforms(&store(&upstash.variables())).await;
    assert!(!upstash.take_seen().is_empty());
}

/// The store that servers with these settings share.
fn store<S: AsRef<str>>(variables: &[(&str, S)]) -> RedisSessionStore {
    let own = |(name, value): &(&str, S)| ((*name).to_owned(), value.as_ref().to_owned());
    let variables: BTreeMap<_, _> = variables.iter().map(own).collect();
    RedisSessionStore::new(Redis::new(&Config::from_variables(&variables).expect("valid").redis).expect("an endpoint"))
}

async fn conforms<S: SessionStore>(store: &S) {
    a_session_is_kept_touched_and_listed(store).await;
    owners_are_kept_apart(store).await;
    a_record_is_replaced_only_where_there_is_one(store).await;
    the_oldest_ends_where_there_are_too_many(store).await;
    an_ended_or_expired_session_takes_nobodys_place(store).await;
    many_log_ins_at_once_never_exceed_the_cap(store).await;
}

fn owner() -> Owner {
    Owner { tenant: TenantId::new(), user: UserId::new() }
}

/// A session that began `age` seconds after the first of its kind.
fn session(owner: Owner, age: i64) -> NewSession {
    let now = Utc::now() + TimeDelta::seconds(age);
    // The later one began, the sooner it ends: what counts is when it began.
    let ends_at = now + TimeDelta::hours(12) - TimeDelta::minutes(age);
    // Sealed records are arbitrary bytes.
    NewSession { owner, id: SessionId::random(), record: "sealed".to_owned(), idle: LIFE, now, ends_at }
}

async fn open<S: SessionStore>(store: &S, new: &NewSession) -> Vec<SessionId> {
    store.create(new.clone(), CAP).await.expect("opened")
}

async fn ids<S: SessionStore>(store: &S, owner: Owner) -> HashSet<SessionId> {
    store.list(owner).await.expect("listed").iter().map(|stored| stored.id).collect()
}

async fn a_session_is_kept_touched_and_listed<S: SessionStore>(store: &S) {
    let new = session(owner(), 0);
    assert_eq!(store.touch(new.id, LIFE).await.expect("asked"), None);
    assert_eq!(open(store, &new).await, []);
    assert_eq!(store.touch(new.id, LIFE * 2).await.expect("asked"), Some(new.record.clone()));
    let listed = store.list(new.owner).await.expect("listed");
    let [StoredSession { id, record, idle_left }] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((*id, record), (new.id, &new.record));
    assert!(*idle_left > LIFE && *idle_left <= LIFE * 2, "a touch gives a new life: {idle_left:?}");
    store.touch(new.id, Duration::from_millis(1)).await.expect("asked");
    eventually("it expires", || async { ids(store, new.owner).await.is_empty().then_some(()) }).await;
    assert_eq!(store.touch(new.id, LIFE).await.expect("asked"), None);
    store.prune(Duration::from_secs(60)).await.expect("pruned");
}

async fn owners_are_kept_apart<S: SessionStore>(store: &S) {
    let (ours, theirs) = (session(owner(), 0), session(owner(), 0));
    open(store, &ours).await;
    open(store, &theirs).await;
    assert_eq!(ids(store, ours.owner).await, HashSet::from([ours.id]));
    let same_user_elsewhere = Owner { tenant: TenantId::new(), ..ours.owner };
    assert_eq!(ids(store, same_user_elsewhere).await, HashSet::new());
    assert_eq!(store.end(ours.owner, &[ours.id]).await.expect("ended"), 1);
    assert_eq!(store.end(ours.owner, &[ours.id]).await.expect("asked"), 0);
    assert_eq!(store.touch(ours.id, LIFE).await.expect("asked"), None);
    assert_eq!(ids(store, theirs.owner).await, HashSet::from([theirs.id]));
    if let Some(owners) = store.local_owners() {
        assert!(owners.contains(&theirs.owner) && !owners.contains(&ours.owner));
    }
}

async fn a_record_is_replaced_only_where_there_is_one<S: SessionStore>(store: &S) {
    let new = session(owner(), 0);
    store.replace(new.id, "made up".to_owned()).await.expect("asked");
    assert_eq!(store.touch(new.id, LIFE).await.expect("asked"), None);
    open(store, &new).await;
    store.replace(new.id, "resealed".to_owned()).await.expect("replaced");
    let listed = store.list(new.owner).await.expect("listed");
    assert_eq!(listed[0].record, "resealed");
    assert!(listed[0].idle_left > LIFE / 2, "its life stays as it is: {:?}", listed[0].idle_left);
}

async fn the_oldest_ends_where_there_are_too_many<S: SessionStore>(store: &S) {
    let owner = owner();
    let sessions: Vec<NewSession> = (0..4).map(|age| session(owner, age)).collect();
    for new in &sessions[..3] {
        assert_eq!(open(store, new).await, []);
    }
    assert_eq!(open(store, &sessions[3]).await, [sessions[0].id]);
    assert_eq!(store.touch(sessions[0].id, LIFE).await.expect("asked"), None);
    assert_eq!(ids(store, owner).await, sessions[1..].iter().map(|new| new.id).collect());
    // A lower cap ends as many as it takes.
    let last = session(owner, 9);
    let ended: HashSet<SessionId> = store.create(last.clone(), 1).await.expect("opened").into_iter().collect();
    assert_eq!(ended, sessions[1..].iter().map(|new| new.id).collect());
    assert_eq!(ids(store, owner).await, HashSet::from([last.id]));
}

async fn an_ended_or_expired_session_takes_nobodys_place<S: SessionStore>(store: &S) {
    let owner = owner();
    let sessions: Vec<NewSession> = (0..3).map(|age| session(owner, age)).collect();
    for new in &sessions {
        open(store, new).await;
    }
    store.end(owner, &[sessions[1].id]).await.expect("ended");
    assert_eq!(open(store, &session(owner, 3)).await, []);
    store.touch(sessions[2].id, Duration::from_millis(1)).await.expect("asked");
    eventually("it expires", || async {
        store.touch(sessions[2].id, Duration::from_millis(1)).await.ok()?.is_none().then_some(())
    })
    .await;
    assert_eq!(open(store, &session(owner, 4)).await, []);
    assert!(ids(store, owner).await.contains(&sessions[0].id));
}

async fn many_log_ins_at_once_never_exceed_the_cap<S: SessionStore>(store: &S) {
    let owner = owner();
    let sessions: Vec<NewSession> = (0..8).map(|age| session(owner, age)).collect();
    let results = join_all(sessions.iter().map(|new| store.create(new.clone(), CAP))).await;
    let ended: Vec<SessionId> = results.into_iter().flat_map(|result| result.expect("opened")).collect();
    let living = ids(store, owner).await;
    assert_eq!((living.len(), ended.len()), (CAP, sessions.len() - CAP));
    assert!(ended.iter().all(|id| !living.contains(id)));
}

#[tokio::test]
async fn record_is_replaced_in_a_full_redis() {
    let redis = TestRedis::start().await;
    let (store, new) = (store(&[("REDIS_URL", &redis.url())]), session(owner(), 0));
    open(&store, &new).await;
    let mut full = redis::cmd("CONFIG");
    full.arg("SET").arg("maxmemory").arg("1").query_async::<()>(&mut redis.connect().await).await.expect("set");
    assert!(store.create(session(owner(), 0), CAP).await.is_err(), "it is full");
    store.replace(new.id, "resealed".to_owned()).await.expect("replaced");
    assert_eq!(store.touch(new.id, LIFE).await.expect("asked").as_deref(), Some("resealed"));
}

/// Versions before scored sessions by their latest end.
#[tokio::test]
async fn what_an_older_version_put_into_the_index_is_older() {
    let redis = TestRedis::start().await;
    let (store, owner) = (store(&[("REDIS_URL", &redis.url())]), owner());
    let sessions: Vec<NewSession> = (0..5).map(|age| session(owner, age)).collect();
    let index = format!("user_sessions:{}:{}", owner.tenant, owner.user);
    for new in &sessions[..3] {
        open(&store, new).await;
    }
    let mut connection = redis.connect().await;
    for new in &sessions[..2] {
        let end = (new.now + TimeDelta::hours(12)).timestamp_millis();
        let mut rescore = redis::cmd("ZADD");
        rescore.arg(&index).arg("XX").arg(end).arg(new.id.to_string()).query_async::<()>(&mut connection).await.expect("scored");
    }
    // Their order among each other is kept, and both are older than whatever this version opened.
    for (new, oldest) in sessions[3..].iter().zip(&sessions) {
        assert_eq!(open(&store, new).await, [oldest.id]);
    }
    // A log-in at an older version clears what by its scores is past.
    let mut clear = redis::cmd("ZREMRANGEBYSCORE");
    let cleared: u64 =
        clear.arg(&index).arg("-inf").arg(Utc::now().timestamp_millis()).query_async(&mut connection).await.expect("cleared");
    assert_eq!(cleared, 0);
    assert_eq!(ids(&store, owner).await, sessions[2..].iter().map(|new| new.id).collect());
}

#[tokio::test]
async fn indexes_in_redis_are_pruned_by_one_server_at_a_time() {
    let redis = TestRedis::start().await;
    let native = || store(&[("REDIS_URL", &redis.url())]);
    pruned_by_one_at_a_time(&redis, &native(), &native()).await;
}

#[tokio::test]
async fn over_rest_too_indexes_are_pruned_by_one_server_at_a_time() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let rest = || store(&upstash.variables());
    pruned_by_one_at_a_time(&redis, &rest(), &rest()).await;
}

async fn pruned_by_one_at_a_time(redis: &TestRedis, one: &RedisSessionStore, two: &RedisSessionStore) {
    let mut connection = redis.connect().await;
    let (gone, lives) = (session(owner(), 0), session(owner(), 0));
    for new in [&gone, &lives] {
        open(one, new).await;
    }
    // What SCAN must not take for an index.
    redis::cmd("SET").arg("user_sessions:nonsense").arg(1).query_async::<()>(&mut connection).await.expect("set");
    redis::cmd("DEL").arg(format!("session:{}", gone.id)).query_async::<()>(&mut connection).await.expect("deleted");
    assert_eq!(one.prune(Duration::from_secs(600)).await.expect("pruned"), 1);
    assert_eq!(two.prune(Duration::from_secs(600)).await.expect("asked"), 0, "it is not its turn");
    let index = format!("user_sessions:{}:{}", gone.owner.tenant, gone.owner.user);
    let left: i64 = redis::cmd("EXISTS").arg(index).query_async(&mut connection).await.expect("a count");
    assert_eq!(left, 0);
    assert_eq!(ids(two, lives.owner).await, HashSet::from([lives.id]));
    redis::cmd("DEL").arg("session_pruning").query_async::<()>(&mut connection).await.expect("deleted");
    assert_eq!(two.prune(Duration::from_secs(600)).await.expect("pruned"), 0, "nothing is left to prune");
}
