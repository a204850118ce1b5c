//! `POST /v1/agents/{id}/upload`

use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::agent::MAX_UPLOAD_BYTES;
use crate::domain::{AgentId, Principal, is_control};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Code, Problem, ProblemBody};

/// A file for an agent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form to the API document; the form is read as a stream")]
pub(super) struct UploadForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Where the file is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadResponse {
    ok: bool,
    /// Its path on the agent's machine, to be named in a message.
    #[serde(rename = "filePath")]
    file_path: String,
}

/// Puts a file of at most 10 MiB where the agent can read it. The agent is not told: name the path in a message.
#[utoipa::path(post, path = "/v1/agents/{id}/upload", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "Where the file is", body = UploadResponse),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn upload(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    request: Request,
) -> Result<Json<UploadResponse>, Problem> {
    // Before the body is looked at: whose agent it is not learns nothing more.
    app.agents.live(&principal, id).await?;
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|rejection| Problem::field("body", rejection.body_text()))?;
    let (name, content) = read_file(form).await?;
    let file_path = app.agents.upload(&principal, id, &name, content).await?;
    Ok(Json(UploadResponse { ok: true, file_path }))
}

/// Name and content of the form's one file.
async fn read_file(mut form: Multipart) -> Result<(String, Vec<u8>), Problem> {
    let mut file = None;
    while let Some(field) = form.next_field().await.map_err(|error| refusal(&error))? {
        let Some(name) = field.file_name().filter(|_| field.name() == Some("file")).map(str::to_owned) else {
            return Err(Problem::field("body", "expected one file, in a part named file"));
        };
        if name.chars().any(is_control) {
            return Err(Problem::field("body.file", "expected a file name without control characters"));
        }
        let content = field.bytes().await.map_err(|error| refusal(&error))?;
        if content.len() > MAX_UPLOAD_BYTES {
            return Err(Problem::new(Code::PayloadTooLarge).with_detail("a file may have 10 MiB"));
        }
        if file.replace((name, content.to_vec())).is_some() {
            return Err(Problem::field("body.file", "expected one file, received several"));
        }
    }
    file.ok_or_else(|| Problem::field("body.file", "expected a file"))
}

fn refusal(error: &MultipartError) -> Problem {
    if error.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(Code::PayloadTooLarge).with_detail("a file may have 10 MiB");
    }
    Problem::field("body", error.body_text())
}
