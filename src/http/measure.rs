//! The metrics of answered requests: counted by method, route and status, timed by route. And the counters of the gate.
//!
//! To find a counter by its labels, their texts are copied; so what was found once is kept. No client can make it grow: routes
//! and statuses are the server's, and methods that HTTP does not know count as one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// Counters that are kept by what they count.
pub(super) struct Counters<K>(RwLock<HashMap<K, Counter>>);

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash> Counters<K> {
    /// Counts one of `kind`, whose counter is made by `new` if there is none yet.
    pub(super) fn count(&self, kind: K, new: impl FnOnce(&K) -> Counter) {
        // As below, a panic leaves a counter too few at worst.
        if let Some(counter) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return counter.increment(1);
        }
        let counter = new(&kind);
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(kind).or_insert(counter).increment(1);
    }
}

/// The counters and timers in use, by route.
#[derive(Default)]
pub(super) struct RequestMetrics(RwLock<HashMap<String, RouteMetrics>>);

struct RouteMetrics {
    answered: HashMap<(&'static str, StatusCode), Counter>,
    seconds: Histogram,
}

impl RequestMetrics {
    /// Counts and times one answered request.
    pub(super) fn record(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        let kind = (name(method), status);
        if !self.record_known(kind, route, elapsed) {
            self.record_new(kind, route, elapsed);
        }
    }

    /// Returns whether there was such a request before.
    fn record_known(&self, kind: (&'static str, StatusCode), route: &str, elapsed: Duration) -> bool {
        // A panic while it was locked leaves a counter too few at worst, which is looked up again.
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(route) = routes.get(route) else { return false };
        let Some(answered) = route.answered.get(&kind) else { return false };
        answered.increment(1);
        route.seconds.record(elapsed);
        true
    }

    fn record_new(&self, kind: (&'static str, StatusCode), route: &str, elapsed: Duration) {
        let (method, status) = kind;
        let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.as_str().to_owned())];
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry(route.to_owned()).or_insert_with(|| RouteMetrics {
            answered: HashMap::new(),
            seconds: histogram!("agentapi_http_request_seconds", &labels[1..2]),
        });
        route.answered.entry(kind).or_insert_with(|| counter!("agentapi_http_requests_total", &labels)).increment(1);
        route.seconds.record(elapsed);
    }
}

/// The method's name, if HTTP knows it (RFC 9110, 9.3, and RFC 5789).
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn requests_are_counted_by_kind_and_clients_make_no_new_kinds() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = RequestMetrics::default();
        let record = |method: &str, status| {
            metrics.record(&method.parse().expect("a method"), "/v1/agents", status, Duration::ZERO);
        };
        metrics::with_local_recorder(&recorder, || {
            record("GET", StatusCode::OK);
            record("GET", StatusCode::OK);
            record("GET", StatusCode::NOT_FOUND);
            record("BREW", StatusCode::METHOD_NOT_ALLOWED);
            record("WHEN", StatusCode::METHOD_NOT_ALLOWED);
        });
        let text = recorder.handle().render();
        for (method, status, count) in [("GET", 200, 2), ("GET", 404, 1), ("other", 405, 2)] {
            let labels = format!("method=\"{method}\",route=\"/v1/agents\",status=\"{status}\"");
            let line = format!("agentapi_http_requests_total{{{labels}}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("agentapi_http_request_seconds_count{route=\"/v1/agents\"} 5\n"), "{text}");
    }
}
