//! The `OpenAI` Chat Completions protocol.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Answer, Turn, event_stream, id, streams, text_of};

pub(super) async fn completions(Json(request): Json<Value>) -> Response {
    let (mut message, stop) = match turn(&request).answer() {
        Answer::Text(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Answer::Tool { name, arguments } => {
            let call = json!({"index": 0, "id": id("call"), "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()}});
            (json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
    };
    let head = |object: &str, choice: Value| {
        json!({"id": id("chatcmpl"), "object": object, "created": 0, "model": request["model"], "choices": [choice],
            "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}})
    };
    if !streams(&request) {
        let choice = json!({"index": 0, "message": message.take(), "finish_reason": stop});
        return Json(head("chat.completion", choice)).into_response();
    }
    let chunk = |delta: Value, stop: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": stop});
        ("", head("chat.completion.chunk", choice).to_string())
    };
    event_stream([chunk(message, json!(null)), chunk(json!({}), json!(stop)), ("", "[DONE]".to_owned())])
}

fn turn(request: &Value) -> Turn {
    let mut turn = Turn::default();
    for tool in request["tools"].as_array().into_iter().flatten() {
        let function = &tool["function"];
        turn.tools.push((function["name"].as_str().unwrap_or_default().to_owned(), function["parameters"].clone()));
    }
    for message in request["messages"].as_array().into_iter().flatten() {
        let texts = text_of(&message["content"]);
        if message["role"] == "user" {
            for text in texts {
                turn.hear(text);
            }
        } else if message["role"] == "tool" {
            turn.ran = Some(texts.join("\n"));
        }
    }
    turn
}
