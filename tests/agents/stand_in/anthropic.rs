//! The Anthropic Messages protocol.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Answer, Turn, id, streams, text_of, typed_events};

pub(super) async fn count_tokens() -> Json<Value> {
    Json(json!({"input_tokens": 10}))
}

pub(super) async fn messages(Json(request): Json<Value>) -> Response {
    let (block, stop) = match turn(&request).answer() {
        Answer::Text(text) => (json!({"type": "text", "text": text}), "end_turn"),
        Answer::Tool { name, arguments } => {
            (json!({"type": "tool_use", "id": id("toolu"), "name": name, "input": arguments}), "tool_use")
        }
    };
    let usage = json!({"input_tokens": 10, "output_tokens": 10});
    let message = json!({"id": id("msg"), "type": "message", "role": "assistant", "model": request["model"],
        "content": [block], "stop_reason": stop, "stop_sequence": null, "usage": usage});
    if !streams(&request) {
        return Json(message).into_response();
    }
    let mut begun = message;
    (begun["content"], begun["stop_reason"]) = (json!([]), json!(null));
    let mut empty = block.clone();
    let delta = if block["type"] == "text" {
        empty["text"] = json!("");
        json!({"type": "text_delta", "text": block["text"]})
    } else {
        empty["input"] = json!({});
        json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})
    };
    typed_events([
        ("message_start", json!({"message": begun})),
        ("content_block_start", json!({"index": 0, "content_block": empty})),
        ("content_block_delta", json!({"index": 0, "delta": delta})),
        ("content_block_stop", json!({"index": 0})),
        ("message_delta", json!({"delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage})),
        ("message_stop", json!({})),
    ])
}

fn turn(request: &Value) -> Turn {
    let mut turn = Turn::default();
    for tool in request["tools"].as_array().into_iter().flatten() {
        turn.tools.push((tool["name"].as_str().unwrap_or_default().to_owned(), tool["input_schema"].clone()));
    }
    for message in request["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "user") {
        for text in text_of(&message["content"]) {
            turn.hear(text);
        }
        let parts = message["content"].as_array().into_iter().flatten();
        for result in parts.filter(|part| part["type"] == "tool_result") {
            turn.ran = Some(text_of(&result["content"]).join("\n"));
        }
    }
    turn
}
