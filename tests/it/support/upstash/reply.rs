//! Answers as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use redis::Value;
use serde_json::{Value as Json, json};

/// `{"result": …}` or `{"error": "…"}`.
pub(super) fn json(value: Value, base64: bool) -> Json {
    match value {
        Value::ServerError(error) => json!({"error": format!("{} {}", error.code(), error.details().unwrap_or_default())}),
        value => json!({"result": result(value, base64)}),
    }
}

fn result(value: Value, base64: bool) -> Json {
    let string = |bytes: &[u8]| if base64 { STANDARD.encode(bytes) } else { String::from_utf8_lossy(bytes).into_owned() };
    match value {
        Value::Nil => Json::Null,
        Value::Int(number) => number.into(),
        // Alone of all strings it is never encoded.
        Value::Okay => "OK".into(),
        Value::BulkString(bytes) => string(&bytes).into(),
        Value::SimpleString(text) => string(text.as_bytes()).into(),
        Value::Array(items) => items.into_iter().map(|item| result(item, base64)).collect(),
        other => panic!("RESP2 has no {other:?}"),
    }
}
