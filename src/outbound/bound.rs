//! How many calls may be under way. What is over it is refused at once: a queue would only make it later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::Response;
use tokio::sync::Semaphore;
use tower::{Layer, Service as TowerService};

use super::{Body, Call, OutboundError};
use crate::domain::Service;

/// Calls under way at once, those included whose answer is still being read: each holds a connection.
const MAX_CALLS: usize = 4096;

/// Calls to one service that wait for the head of their answer, so that one that hangs does not take all places.
const MAX_WAITING_PER_SERVICE: u32 = 256;

/// Bounds calls. Clones share the places.
#[derive(Clone)]
pub(super) struct BoundLayer {
    places: Arc<Semaphore>,
    waiting: Waiting,
}

/// Calls that wait for an answer, by service.
type Waiting = Arc<Mutex<HashMap<Service, u32>>>;

impl Default for BoundLayer {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_CALLS)), waiting: Waiting::default() }
    }
}

impl<S> Layer<S> for BoundLayer {
    type Service = Bound<S>;

    fn layer(&self, inner: S) -> Bound<S> {
        Bound { inner, bound: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Bound<S> {
    inner: S,
    bound: BoundLayer,
}

/// One of a service's places; free when dropped.
struct Place {
    waiting: Waiting,
    service: Service,
}

impl Place {
    fn take(waiting: &Waiting, service: Service) -> Option<Self> {
        let mut counts = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(service).or_default();
        if *count >= MAX_WAITING_PER_SERVICE {
            return None;
        }
        *count += 1;
        Some(Self { waiting: waiting.clone(), service })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.service) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.service);
            }
        }
    }
}

impl<S> TowerService<Call> for Bound<S>
where
    S: TowerService<Call, Response = Response<Body>, Error = OutboundError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<Response<Body>, OutboundError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if call.is_health_check {
            // It must work even if calls that hang take all places.
            return Box::pin(self.inner.call(call));
        }
        let place = Place::take(&self.bound.waiting, call.service);
        let (Some(place), Ok(permit)) = (place, self.bound.places.clone().try_acquire_owned()) else {
            return Box::pin(async { Err(OutboundError::Overloaded) });
        };
        let answer = self.inner.call(call);
        Box::pin(async move {
            let answer = answer.await;
            drop(place);
            Ok(answer?.map(|body| body.taking(permit)))
        })
    }
}
