//! `POST /upload`

use std::time::Duration;

use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::SingleAgent;
use super::reply::{Fault, Refusal, Schemas};
use crate::agent::MAX_UPLOAD_BYTES;

/// Longest body that is read to its end: what is over the size of a file is thrown away as it comes, so that the client, which may
/// look for the answer only once it has sent all, gets one.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How long a client may take to send a file.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Serialize)]
struct UploadResponseBody {
    ok: bool,
    #[serde(rename = "filePath")]
    file_path: String,
}

/// Puts a file of at most 10 MiB where the agent can read it. The agent is not told: name the path in a message.
pub(super) async fn post_upload(State(app): State<SingleAgent>, schemas: Schemas, request: Request) -> Response {
    match keep(&app, request).await {
        Ok(file_path) => schemas.reply("UploadResponseBody", UploadResponseBody { ok: true, file_path }),
        Err(refusal) => schemas.refuse(refusal),
    }
}

async fn keep(app: &SingleAgent, request: Request) -> Result<String, Refusal> {
    let form = Multipart::from_request(request, &()).await.map_err(|_| {
        let message = "cannot read multipart form: request Content-Type isn't multipart/form-data";
        unprocessable(message, "body")
    })?;
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "request body read timeout");
    let (name, content) = tokio::time::timeout(READ_TIMEOUT, read_file(form)).await.map_err(late)??;
    let kept = app.uploads.keep(&name, content).await;
    kept.map(|path| path.display().to_string()).map_err(|error| Refusal::failed(format!("failed to save file: {error}")))
}

/// Name and content of the form's one file.
async fn read_file(mut form: Multipart) -> Result<(String, Vec<u8>), Refusal> {
    let mut file = None;
    while let Some(mut field) = form.next_field().await.map_err(|error| refusal(&error))? {
        let Some(name) = field.file_name().filter(|_| field.name() == Some("file")).map(str::to_owned) else { continue };
        let mut content = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| refusal(&error))? {
            if content.len() <= MAX_UPLOAD_BYTES {
                content.extend_from_slice(&piece);
            }
        }
        if file.replace((name, content)).is_some() {
            return Err(unprocessable("Multiple files received but only one was expected", "file"));
        }
    }
    match file {
        Some((_, content)) if content.len() > MAX_UPLOAD_BYTES => Err(too_large()),
        Some(file) => Ok(file),
        None => Err(unprocessable("File required", "file")),
    }
}

fn refusal(error: &MultipartError) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    unprocessable(&format!("cannot read multipart form: {}", error.body_text()), "body")
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "file size exceeds 10MB limit")
}

fn unprocessable(message: &str, location: &str) -> Refusal {
    let fault = Fault { value: None::<Value>, ..Fault::at(location, message, Value::Null) };
    Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, vec![fault])
}
