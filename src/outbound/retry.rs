//! Trying again: where a request may be sent twice, the service did not answer or said that it is not there, there is time, and
//! the budget allows it.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode, header};
use rand::Rng;
use tokio::time::{Instant, Sleep, sleep};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

use super::{Body, Call, OutboundError};

/// Attempts at most.
const MAX_ATTEMPTS: u32 = 3;

/// Wait before the second attempt; before each further one twice as long. Up to as much again is added by chance.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Of all calls of this process together, so many may be tried again, over some seconds.
const BUDGET_SHARE: f32 = 0.1;

/// So many a second may be tried again anyway.
const BUDGET_PER_SECOND: u32 = 5;

/// The seconds over which the budget is reckoned.
const BUDGET_TIME: Duration = Duration::from_secs(10);

/// Says what is tried again. Clones share one budget.
#[derive(Clone)]
pub(super) struct RetryPolicy(Arc<TpsBudget>);

impl Default for RetryPolicy {
    fn default() -> Self {
        Self(Arc::new(TpsBudget::new(BUDGET_TIME, BUDGET_PER_SECOND, BUDGET_SHARE)))
    }
}

impl Policy<Call, Response<Body>, OutboundError> for RetryPolicy {
    type Future = Sleep;

    fn retry(&mut self, call: &mut Call, result: &mut Result<Response<Body>, OutboundError>) -> Option<Sleep> {
        if !may_pass(result) {
            self.0.deposit();
            return None;
        }
        call.attempts += 1;
        let wait = FIRST_WAIT * 2_u32.pow(call.attempts - 1);
        let wait = wait + wait.mul_f64(rand::rng().random());
        // An attempt that is cut short counts as a failure of the service: it is not made unless it has some time.
        let in_time = Instant::now() + wait + call.timeouts.attempt / 2 <= call.deadline;
        if call.attempts >= MAX_ATTEMPTS || !in_time || !self.0.withdraw() {
            return None;
        }
        metrics::counter!("agentapi_outbound_retries_total", "kind" => call.service.kind()).increment(1);
        Some(sleep(wait))
    }

    fn clone_request(&mut self, call: &Call) -> Option<Call> {
        call.again()
    }
}

/// Whether what went wrong may have passed in a moment. An attempt that took all its time has had its chance.
fn may_pass(result: &Result<Response<Body>, OutboundError>) -> bool {
    match result {
        Ok(answer) => {
            let away = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
            away.contains(&answer.status()) && !answer.headers().contains_key(header::RETRY_AFTER)
        }
        Err(OutboundError::Connect(_) | OutboundError::Unresolved(_) | OutboundError::Broken(_)) => true,
        Err(
            OutboundError::CircuitOpen { .. }
            | OutboundError::HeldBack { .. }
            | OutboundError::Overloaded
            | OutboundError::Timeout
            | OutboundError::Refused(_)
            | OutboundError::Aborted
            | OutboundError::Invalid(_),
        ) => false,
    }
}
