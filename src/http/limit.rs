//! Rate limits as clients see them: 429, and the headers that say what is left.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::{Code, Problem, whole_seconds};
use crate::rate_limit::{Limit, RateLimiter, Source, Verdict};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The verdict on a request that meets `limits`, if any limits are on.
pub(super) async fn take(app: &App, limits: Option<Vec<Limit>>, cost: u64) -> Option<Verdict> {
    Some(counted(app, app.limiter.as_ref()?.take(limits?, cost).await))
}

/// The refusal of a request that is known without asking Redis, if there is one.
pub(super) fn known_refusal(app: &App, limits: Option<&[Limit]>, cost: u64) -> Option<Verdict> {
    app.limiter.as_ref()?.known_refusal(limits?, cost).map(|verdict| counted(app, verdict))
}

/// What is counted of a verdict: whether it allows, who decided, by which policy.
pub(super) type Outcome = (bool, Source, &'static str);

/// Counts a verdict in the metrics.
pub(super) fn counted(app: &App, verdict: Verdict) -> Verdict {
    app.decisions().count((verdict.decision.allowed, verdict.source, verdict.policy()), |&(allowed, source, policy)| {
        let labels = [("outcome", if allowed { "allowed" } else { "denied" }), ("source", source.as_str()), ("policy", policy)];
        metrics::counter!("agentapi_rate_limit_decisions_total", &labels)
    });
    verdict
}

/// The answer to a request that is refused by `verdict`.
pub(super) fn refused(app: &App, verdict: &Verdict) -> Response {
    let refused = Problem::new(Code::RateLimited)
        .with_violated_policy(verdict.policy())
        .with_retry_after(verdict.decision.retry_after)
        .into_response();
    with_headers(refused, app, Some(verdict))
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and the older `X-RateLimit-*`, whose reset is in
/// seconds from now: all policies, and the tightest limit. An answer that has them already keeps its own.
pub(super) fn with_headers(mut response: Response, app: &App, verdict: Option<&Verdict>) -> Response {
    let (Some(verdict), Some(limiter)) = (verdict, &app.limiter) else { return response };
    let headers = response.headers_mut();
    if headers.contains_key(RATE_LIMIT) {
        return response;
    }
    let (decision, policy) = (verdict.decision, verdict.policy());
    // Who is refused is told when to come back.
    let reset = whole_seconds(if decision.allowed { decision.reset_after } else { decision.retry_after });
    insert(headers, RATE_LIMIT_POLICY, policies(verdict, limiter));
    insert(headers, RATE_LIMIT, format!("\"{policy}\";r={};t={reset}", decision.remaining));
    for (name, value) in [(LIMIT, decision.limit), (REMAINING, decision.remaining), (RESET, reset)] {
        headers.insert(name, HeaderValue::from(value));
    }
    response
}

fn policies(verdict: &Verdict, limiter: &RateLimiter) -> String {
    let mut text = String::new();
    for limit in &verdict.limits {
        let separator = if text.is_empty() { "" } else { ", " };
        let period = whole_seconds(limit.quota.period(limiter.algorithm()));
        // Writing to a text cannot fail.
        let _ = write!(text, "{separator}\"{}\";q={};w={period}", limit.policy, limit.quota.limit);
    }
    text
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
