//! Commands to JSON, and JSON to what the native protocol would have answered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use redis::{Arg, Cmd, ErrorKind, RedisError, RedisResult, Value};
use serde_json::Value as Json;

/// Why an answer is not one. The text is for logs and says nothing of the answer.
pub(super) type Malformed = &'static str;

/// A command as a JSON array of strings, ready to be sent.
///
/// # Errors
/// If an argument is not text: the REST API takes JSON, which has no bytes. Callers store text.
pub(super) fn command(cmd: &Cmd) -> RedisResult<String> {
    let args: Option<Vec<&str>> = cmd
        .args_iter()
        .map(|arg| match arg {
            Arg::Simple(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
        .collect();
    let args = args.ok_or_else(|| RedisError::from((ErrorKind::Client, "Upstash REST carries text arguments only")))?;
    serde_json::to_string(&args).map_err(|_| RedisError::from((ErrorKind::Client, "a command cannot be written as JSON")))
}

/// The answer to one command: `{"result": …}` or `{"error": "…"}`, which becomes a [`Value::ServerError`].
pub(super) fn answer(json: Json) -> Result<Value, Malformed> {
    let Json::Object(mut fields) = json else { return Err("an answer is no object") };
    match (fields.remove("result"), fields.remove("error")) {
        (None, Some(Json::String(text))) => error_reply(&text),
        (Some(result), None) => result_value(result),
        _ => Err("an answer has neither a result nor an error"),
    }
}

/// The answers to several commands, each of which may be none.
pub(super) fn answers(json: Json, expected: usize) -> Result<Vec<Result<Value, Malformed>>, Malformed> {
    match json {
        Json::Array(items) if items.len() == expected => Ok(items.into_iter().map(answer).collect()),
        Json::Array(_) => Err("the number of answers is not that of the commands"),
        _ => Err("the answer to several commands is no array"),
    }
}

/// An error's text as the native protocol's parser understands it.
pub(super) fn error_reply(text: &str) -> Result<Value, Malformed> {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let first = line.split(' ').next().unwrap_or_default();
    let has_code = !first.is_empty() && first.chars().all(|c| c.is_ascii_uppercase());
    let line = if has_code { format!("-{line}\r\n") } else { format!("-ERR {line}\r\n") };
    redis::parse_redis_value(line.as_bytes()).map_err(|_| "an error is not understood")
}

/// Strings are base64, as was asked for, but for a plain `OK`, which no base64 can be: that comes in fours.
fn result_value(json: Json) -> Result<Value, Malformed> {
    match json {
        Json::Null => Ok(Value::Nil),
        Json::Bool(truth) => Ok(Value::Boolean(truth)),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Value::Int(whole)),
            (None, Some(fraction)) => Ok(Value::Double(fraction)),
            (None, None) => Err("a number is out of range"),
        },
        Json::String(text) if text == "OK" => Ok(Value::Okay),
        Json::String(text) => STANDARD.decode(text).map(Value::BulkString).map_err(|_| "a result is not base64"),
        Json::Array(items) => items.into_iter().map(result_value).collect::<Result<_, _>>().map(Value::Array),
        Json::Object(_) => Err("a result is an object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_strings_of_any_text_but_not_bytes() {
        let mut set = redis::cmd("SET");
        set.arg("k\"\n").arg("é\u{0}").arg(7).arg(&[1.5]);
        assert_eq!(command(&set).expect("text"), r#"["SET","k\"\n","é\u0000","7","1.5"]"#);
        let error = command(redis::cmd("SET").arg("k").arg(b"secret\xff")).expect_err("bytes");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn results_are_what_the_native_protocol_gives() {
        for (json, value) in [
            (json!("OK"), Value::Okay),
            (json!("T0s="), Value::BulkString(b"OK".to_vec())),
            (json!("/wA="), Value::BulkString(vec![0xff, 0])),
            (json!(""), Value::BulkString(Vec::new())),
            (json!(null), Value::Nil),
            (json!(-7), Value::Int(-7)),
            (json!([1, ["YQ=="], null]), {
                let inner = Value::Array(vec![Value::BulkString(b"a".to_vec())]);
                Value::Array(vec![Value::Int(1), inner, Value::Nil])
            }),
        ] {
            assert_eq!(answer(json!({"result": json})), Ok(value));
        }
    }

    #[test]
    fn errors_keep_their_code() {
        let code = |text: &str| answer(json!({"error": text})).expect("understood").extract_error().expect_err("an error");
        assert_eq!(code("NOSCRIPT No matching script.").kind(), ErrorKind::Server(redis::ServerErrorKind::NoScript));
        assert_eq!(code("WRONGPASS invalid or missing auth token").code(), Some("WRONGPASS"));
        assert_eq!(code("ERR max daily request limit exceeded").code(), Some("ERR"));
        assert_eq!(code("something\r\n+OK else").code(), Some("ERR"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for json in
            [json!([]), json!({}), json!({"result": 1, "error": "x"}), json!({"result": {"a": 1}}), json!({"result": "%"})]
        {
            assert!(answer(json.clone()).is_err(), "{json}");
        }
        for json in [json!([{"result": 1}]), json!({"result": 1}), json!("x")] {
            assert!(answers(json.clone(), 2).is_err(), "{json}");
        }
        assert_eq!(answers(json!([{"result": 1}, 2]), 2), Ok(vec![Ok(Value::Int(1)), Err("an answer is no object")]));
    }
}
