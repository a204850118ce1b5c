//! Bodies of requests and of answers.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::circuit_breaker::SuccessfulProbe;

/// Whatever went wrong with a body.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A body: of nothing, of bytes that are there, or of bytes that come, which are asked for only as fast as they are taken.
#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// The place that the call takes for as long as its answer is read.
    _place: Option<OwnedSemaphorePermit>,
    /// The probe that began a stream, while its pieces count as successes.
    probe: Option<SuccessfulProbe>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Whole(Full<Bytes>, Bytes),
    Incoming(Incoming),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// One that comes from elsewhere: a request or an answer that is passed on.
    #[must_use]
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Kind::Stream(body.map_err(Into::into).boxed_unsync()).into()
    }

    /// The same once more, if it is kept.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.kind {
            Kind::Empty => Some(Self::empty()),
            Kind::Whole(_, bytes) => Some(bytes.clone().into()),
            Kind::Incoming(_) | Kind::Stream(_) => None,
        }
    }

    /// Takes a place until it is dropped.
    pub(super) fn taking(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Counts a success of `probe` for each piece.
    pub(super) fn count_pieces(self, probe: SuccessfulProbe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    fn poll_kind(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(body, _) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Kind::Incoming(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Kind::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }
}

impl From<Kind> for Body {
    fn from(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Kind::Whole(Full::new(bytes.clone()), bytes).into()
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Kind::Incoming(incoming).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.poll_kind(context);
        if matches!(&polled, Poll::Ready(Some(Ok(_)))) && self.probe.as_ref().is_some_and(|probe| !probe.count_success()) {
            self.probe = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Whole(body, _) => body.is_end_stream(),
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(body, _) => body.size_hint(),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Empty => "Body::Empty",
            Kind::Whole(..) => "Body::Whole",
            Kind::Incoming(_) => "Body::Incoming",
            Kind::Stream(_) => "Body::Stream",
        })
    }
}
