//! Forwards event streams of another server in whole events.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use hyper::body::Bytes;

/// The end of an event in the streams of our servers.
const END: &[u8] = b"\n\n";

/// Longest beginning of an event that is held back. A longer event is forwarded in pieces.
const MAX_HELD: usize = 8 * 1024 * 1024;

/// A stream of events whose pieces each end with an event. If the stream breaks off, or `end` completes, the beginning of the next event is
/// dropped: clients connect again and resume after the last whole event.
pub(super) struct WholeEvents<S, F> {
    pieces: S,
    end: F,
    /// The beginning of an event.
    held: Vec<u8>,
}

impl<S, F> WholeEvents<S, F> {
    pub(super) const fn new(pieces: S, end: F) -> Self {
        Self { pieces, end, held: Vec::new() }
    }

    /// Takes in a piece. Returns the whole events that can be forwarded.
    fn take(&mut self, piece: Bytes) -> Option<Bytes> {
        if self.held.is_empty() && piece.ends_with(END) {
            return Some(piece);
        }
        // An end may have begun in what is held.
        let from = self.held.len().saturating_sub(END.len() - 1);
        self.held.extend_from_slice(&piece);
        let end = self.held[from..].windows(END.len()).rposition(|pair| pair == END).map(|place| from + place + END.len());
        let end = if self.held.len() > MAX_HELD { self.held.len() } else { end? };
        let rest = self.held.split_off(end);
        Some(std::mem::replace(&mut self.held, rest).into())
    }
}

impl<S, F, E> Stream for WholeEvents<S, F>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    F: Future<Output = ()> + Unpin,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Pin::new(&mut self.end).poll(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut self.pieces).poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => {
                    if let Some(whole) = self.take(piece) {
                        return Poll::Ready(Some(Ok(whole)));
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    /// The pieces that are forwarded of a stream that breaks off after `pieces`.
    fn forwarded(pieces: &[&str]) -> Vec<String> {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece.as_bytes()))).collect::<Vec<_>>();
        let broken = stream::iter(pieces.into_iter().chain([Err(())]));
        let events = WholeEvents::new(broken, std::future::pending()).collect::<Vec<_>>();
        let events = events.now_or_never().expect("it ends");
        events.into_iter().map(|event| String::from_utf8(event.expect("no error is forwarded").to_vec()).expect("text")).collect()
    }

    #[test]
    fn pieces_end_with_an_event() {
        assert_eq!(forwarded(&["a\n\n", "b\nc\n\n"]), ["a\n\n", "b\nc\n\n"]);
        assert_eq!(forwarded(&["a\n\nb", "\n", "\nc\n", "d"]), ["a\n\n", "b\n\n"]);
        assert_eq!(forwarded(&["a\n", "\n"]), ["a\n\n"]);
        assert_eq!(forwarded(&["a\n\nb\n\nc", "c\n\n"]), ["a\n\nb\n\n", "cc\n\n"]);
        assert!(forwarded(&["a", "\n"]).is_empty());
        assert!(forwarded(&[]).is_empty());
    }

    #[test]
    fn event_longer_than_the_limit_is_forwarded_in_pieces() {
        let piece = "x".repeat(MAX_HELD);
        let passed = forwarded(&[&piece, "y", "z\n\n"]);
        assert_eq!(passed.iter().map(String::len).collect::<Vec<_>>(), [MAX_HELD + 1, 3]);
    }

    #[test]
    fn stream_ends_after_a_whole_event() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let pieces = stream::iter([Ok::<_, ()>(Bytes::from_static(b"a\n\nb"))]).chain(stream::pending());
        let mut events = WholeEvents::new(pieces, receiver.map(drop));
        let mut next = || events.next().now_or_never();
        assert_eq!(next(), Some(Some(Ok(Bytes::from_static(b"a\n\n")))));
        assert_eq!(next(), None);
        sender.send(()).expect("it is waited for");
        assert_eq!(next(), Some(None));
    }
}
