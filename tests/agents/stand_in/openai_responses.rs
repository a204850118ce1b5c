//! The `OpenAI` Responses protocol.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Answer, Turn, id, streams, text_of, typed_events};

pub(super) async fn responses(Json(request): Json<Value>) -> Response {
    let item = match turn(&request).answer() {
        Answer::Text(text) => json!({"type": "message", "id": id("msg"), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}),
        Answer::Tool { name, arguments } => json!({"type": "function_call", "id": id("fc"), "call_id": id("call"),
            "name": name, "arguments": arguments.to_string(), "status": "completed"}),
    };
    let usage = json!({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 20});
    let response = json!({"id": id("resp"), "object": "response", "created_at": 0, "status": "completed",
        "model": request["model"], "output": [item], "usage": usage});
    if !streams(&request) {
        return Json(response).into_response();
    }
    let mut begun = response.clone();
    (begun["status"], begun["output"], begun["usage"]) = (json!("in_progress"), json!([]), json!(null));
    let mut events = vec![
        ("response.created", json!({"response": begun})),
        ("response.output_item.added", json!({"output_index": 0, "item": started(&item)})),
    ];
    if let Some(text) = item["content"][0]["text"].as_str() {
        let delta = json!({"item_id": item["id"], "output_index": 0, "content_index": 0, "delta": text});
        events.push(("response.output_text.delta", delta));
    }
    events.push(("response.output_item.done", json!({"output_index": 0, "item": item})));
    events.push(("response.completed", json!({"response": response})));
    typed_events(events)
}

/// `item` before anything of it was said.
fn started(item: &Value) -> Value {
    let mut started = item.clone();
    started["status"] = json!("in_progress");
    if item["type"] == "message" {
        started["content"] = json!([]);
    } else {
        started["arguments"] = json!("");
    }
    started
}

fn turn(request: &Value) -> Turn {
    let mut turn = Turn::default();
    for tool in request["tools"].as_array().into_iter().flatten() {
        turn.tools.push((tool["name"].as_str().unwrap_or_default().to_owned(), tool["parameters"].clone()));
    }
    for item in request["input"].as_array().into_iter().flatten() {
        if item["role"] == "user" {
            for text in text_of(&item["content"]) {
                turn.hear(text);
            }
        } else if item["type"] == "function_call_output" {
            let output = &item["output"];
            turn.ran = Some(output.as_str().map_or_else(|| output.to_string(), str::to_owned));
        }
    }
    turn
}
