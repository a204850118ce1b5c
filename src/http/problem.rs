//! Errors as clients see them: `application/problem+json` (RFC 9457). One table of codes.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::StoreUnavailable;
use crate::postgres::DatabaseError;

/// How long clients are asked to wait when something the server needs is away.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The type of problem that a rate limit's refusal is (draft-ietf-httpapi-ratelimit-headers).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, for programs. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        pub(super) enum Code {
            $(#[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// The code's text.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The code for an error that only has a status.
            pub(super) fn of_status(status: StatusCode) -> Self {
                // The first of a status is its most general one.
                [$(Self::$name),*].into_iter().find(|code| code.status() == status).unwrap_or(
                    if status.is_server_error() { Self::Internal } else { Self::InvalidRequest }
                )
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request", BAD_REQUEST, "The request cannot be read";
    InvalidHost = "invalid_host", BAD_REQUEST, "The Host header is not allowed";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Not signed in";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, "Tenant, e-mail address or password is wrong";
    Forbidden = "forbidden", FORBIDDEN, "This is not for users of this role";
    SessionRequired = "session_required", FORBIDDEN, "This is not for API keys";
    NotFound = "not_found", NOT_FOUND, "Not found";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    AgentBusy = "agent_busy", CONFLICT, "The agent is busy";
    AgentAsks = "agent_asks", CONFLICT, "The agent asks a question";
    AgentNotRunning = "agent_not_running", CONFLICT, "The agent is not running";
    ApprovalSettled = "approval_settled", CONFLICT, "This was answered already, or need not be any more";
    AgentHasNoScreen = "agent_has_no_screen", CONFLICT, "The agent has no screen";
    MessageBeingDelivered = "message_being_delivered", CONFLICT, "The agent is being given the message";
    IdempotencyKeyInUse = "idempotency_key_in_use", CONFLICT, "A request with this Idempotency-Key is being answered";
    QueueFull = "queue_full", CONFLICT, "As many messages wait for the agent as may";
    ApiKeyLimitReached = "api_key_limit_reached", CONFLICT, "The user has as many API keys as it may";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    AgentNotHere = "agent_not_here", MISDIRECTED_REQUEST, "The agent lives on another server";
    ForwardingRefused = "forwarding_refused", MISDIRECTED_REQUEST, "No server of this deployment forwarded the request";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not supported";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "The request is not valid";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another request";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    UpstreamFailed = "upstream_failed", BAD_GATEWAY, "A service that this needs did not answer";
    ServiceUnavailable = "service_unavailable", SERVICE_UNAVAILABLE, "The service is not available now";
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "Redis is not available now";
    DatabaseUnavailable = "database_unavailable", SERVICE_UNAVAILABLE, "Postgres is not available now";
    CircuitOpen = "circuit_open", SERVICE_UNAVAILABLE, "A service that this needs fails, and is not called for a while";
    AgentUnreachable = "agent_unreachable", SERVICE_UNAVAILABLE, "The remote agent cannot be reached now";
    AgentLimitReached = "agent_limit_reached", SERVICE_UNAVAILABLE, "This server runs as many agents as it may";
    DeadlineExceeded = "deadline_exceeded", GATEWAY_TIMEOUT, "The request took too long";
    AgentUnresponsive = "agent_unresponsive", GATEWAY_TIMEOUT, "The agent does not react";
}

/// A field that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct FieldError {
    /// Where it is: `body.type`, `query.limit`.
    #[schema(example = "body.type")]
    pub(super) location: String,
    /// What was expected.
    #[schema(example = "expected claude, codex or custom")]
    pub(super) message: String,
}

/// An error answer. Its body is written by the outermost layer, which knows the request's id.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) code: Code,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    violated_policy: Option<&'static str>,
    /// What is logged and never sent.
    pub(super) cause: Option<String>,
}

/// The body of an error answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// What kind of problem it is, where there is a common name for it: of a rate limit's refusal.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://iana.org/assignments/http-problem-types#quota-exceeded")]
    kind: Option<&'static str>,
    /// What went wrong, in general.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What went wrong this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What went wrong, for programs.
    code: Code,
    /// Names the request in the server's log.
    request_id: String,
    /// The fields at fault, if fields are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The rate limits that refused, by the names they have in `RateLimit-Policy`.
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["tenant"]))]
    violated_policies: Vec<&'static str>,
}

impl Problem {
    pub(super) const fn new(code: Code) -> Self {
        Self { code, detail: None, errors: Vec::new(), retry_after: None, violated_policy: None, cause: None }
    }

    /// A field of the request is wrong.
    pub(super) fn field(location: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { location: location.into(), message: message.into() };
        Self { errors: vec![error], ..Self::new(Code::ValidationFailed) }
    }

    /// A fault of ours; `cause` is for the log.
    pub(super) fn internal(cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(Code::Internal) }
    }

    pub(super) fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// With a detail, unless it has one.
    pub(super) fn or_detail(self, detail: &'static str) -> Self {
        Self { detail: self.detail.or(Some(detail.into())), ..self }
    }

    pub(super) fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// Names the rate limit that refused.
    pub(super) fn with_violated_policy(self, policy: &'static str) -> Self {
        Self { violated_policy: Some(policy), ..self }
    }

    pub(super) fn with_cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub(super) fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: self.violated_policy.map(|_| QUOTA_EXCEEDED),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.as_deref().map(str::to_owned),
            code: self.code,
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
            violated_policies: self.violated_policy.into_iter().collect(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(retry_after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        if self.code == Code::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreUnavailable> for Problem {
    fn from(error: StoreUnavailable) -> Self {
        Self::new(Code::StoreUnavailable).with_retry_after(RETRY_AFTER).with_cause(error.to_string())
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match &error {
            DatabaseError::Unavailable(cause) => {
                Self::new(Code::DatabaseUnavailable).with_retry_after(RETRY_AFTER).with_cause(cause.to_string())
            }
            DatabaseError::Unexpected(cause) => Self::internal(cause.to_string()),
            DatabaseError::Migrate(cause) => Self::internal(cause.to_string()),
            DatabaseError::Conflict(_) | DatabaseError::Corrupt(_) => Self::internal(error.to_string()),
        }
    }
}

/// Whole seconds, rounded up, at least one: a client that waits so long is not too early.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}
