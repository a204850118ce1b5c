//! The screens in an event stream.

use http_body_util::BodyExt;
use serde::Deserialize;

use crate::cli::Failure;
use crate::outbound::Body;

/// Longest event that is read: some times the largest screen.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
struct Screen {
    screen: String,
}

/// A stream of screens, as server-sent events (HTML, 9.2).
pub(super) struct ScreenEvents {
    body: Body,
    buffer: Vec<u8>,
    /// So many bytes of the buffer hold no end of an event.
    searched: usize,
}

impl ScreenEvents {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), searched: 0 }
    }

    /// The next screen; nothing once the stream has ended. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            while let Some(event) = self.event() {
                if let Some(screen) = parse(&event)? {
                    return Ok(Some(screen));
                }
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                return Err("the server sent an event that is too large".into());
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(format!("the connection to the agent is lost: {error}").into()),
            }
        }
    }

    /// Takes the next whole event out of what was received.
    fn event(&mut self) -> Option<Vec<u8>> {
        let from = self.searched.saturating_sub(1);
        let Some(end) = self.buffer[from..].windows(2).position(|pair| pair == b"\n\n") else {
            self.searched = self.buffer.len();
            return None;
        };
        self.searched = 0;
        Some(self.buffer.drain(..from + end + 2).collect())
    }
}

/// The screen of an event, if it is one of a screen.
fn parse(event: &[u8]) -> Result<Option<String>, Failure> {
    let text = std::str::from_utf8(event).map_err(|_| "the server sent an event that is no text")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (field("event:"), field("data:")) {
        (Some("screen"), Some(data)) => {
            let Screen { screen } =
                serde_json::from_str(data).map_err(|error| format!("the server sent a screen that cannot be read: {error}"))?;
            Ok(Some(screen))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &'static str, pieces: usize) -> ScreenEvents {
        let frames = text.as_bytes().chunks(pieces).map(|piece| Ok::<_, std::io::Error>(hyper::body::Frame::data(piece.into())));
        ScreenEvents::new(Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames))))
    }

    #[tokio::test]
    async fn screens_are_found_however_the_stream_is_cut() {
        let text = ": hello\n\nevent: other\ndata: {}\n\nevent: screen\ndata: {\"screen\":\"a\\nb\"}\n\n: beat\n\n\
                    data: {\"screen\":\"ü\"}\nevent: screen\n\nevent: screen\ndata: {\"sc";
        for pieces in [1, 2, 3, 7, 1000] {
            let mut screens = stream(text, pieces);
            assert_eq!(screens.next().await.expect("valid").as_deref(), Some("a\nb"));
            assert_eq!(screens.next().await.expect("valid").as_deref(), Some("ü"));
            assert_eq!(screens.next().await.expect("the stream ends").as_deref(), None);
        }
        assert!(stream("event: screen\ndata: {}\n\n", 9).next().await.is_err());
    }
}
