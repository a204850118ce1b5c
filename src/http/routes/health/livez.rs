//! `GET /livez`

/// Whether the process is alive.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "It is", body = String)))]
pub(super) async fn get_livez() -> &'static str {
    "ok"
}
