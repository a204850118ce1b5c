//! A key's secret is kept nowhere.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::Key;
use crate::support::{ServerBuilder, TestDatabase, TestRedis, eventually};

#[tokio::test]
async fn no_key_is_logged_or_kept_and_redis_tells_not_even_its_digest() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("LOG_LEVEL", "trace").env("LOG_FORMAT", "json");
    let server = builder.start().await;
    let client = server.operator().await;
    let key = Key::make(&client).await;
    let (agent, wrong) = (key.at(&server).start_echo_agent().await, key.forged(40..41));
    key.at(&server).say(&agent, "hello").await;
    server.anonymous().with_token(&wrong).get("/v1/agents").await;
    let dump = eventually("it is in Redis", || async {
        key.at(&server).get("/v1/agents").await.ok();
        let mut connection = redis.connect().await;
        let keys: Vec<String> = redis::cmd("KEYS").arg("cache:*").query_async(&mut connection).await.expect("keys");
        let mut texts = Vec::new();
        for at in &keys {
            texts.extend(redis::cmd("GET").arg(at).query_async::<Option<String>>(&mut connection).await.expect("text"));
        }
        keys.iter().any(|at| at.contains(":api_key:")).then(|| [keys, texts].concat())
    })
    .await;
    let rows: Vec<String> = sqlx::query("SELECT row_to_json(api_keys)::text FROM api_keys")
        .fetch_all(&mut database.connect().await)
        .await
        .expect("rows")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let metrics = server.anonymous().get("/metrics").await.text;
    assert_eq!(server.terminate().await, Some(0));
    let log = builder.logged();
    let secret = &URL_SAFE_NO_PAD.decode(&key.text[4..]).expect("base64url")[32..];
    let digest = hex::encode(Sha256::digest(secret));
    assert!(rows[0].contains(&digest), "a digest, and nothing else: {rows:?}");
    // Any 20 characters of the secret's half, in the key's own spelling; its bytes in others.
    let parts: Vec<String> = [&key.text[48..68], &key.text[70..90], &wrong[48..68]].map(str::to_owned).to_vec();
    let spelled = [hex::encode(secret), hex::encode_upper(secret), URL_SAFE_NO_PAD.encode(secret), format!("{secret:?}")];
    let places = rows.iter().chain(&dump).map(String::as_str).chain([log.as_str(), &metrics]);
    for place in places {
        for told in parts.iter().chain(&spelled) {
            assert!(
                !place.contains(told.as_str()),
                "{told} is in {}",
                place.lines().find(|line| line.contains(told.as_str())).unwrap_or_default()
            );
        }
    }
    for text in dump.iter().map(String::as_str).chain([log.as_str()]) {
        assert!(!text.contains(&digest));
        let decoded = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        assert!(!decoded.windows(32).any(|bytes| bytes == Sha256::digest(secret).as_slice()));
    }
}
